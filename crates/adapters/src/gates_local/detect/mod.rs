//! Detection of gates: what a project's own files say about how it is checked, tested and measured.
//!
//! Always true: detection reads the manifests of the base commit and runs nothing; each gate carries the file that it was
//! found in; a tool that the project does not name is not assumed, so its gate stays undefined with a remedy. The language
//! that has tests comes first; targets of a Makefile or justfile fill what it leaves open.

mod go;
mod make;
mod node;
mod node_tests;
mod project;
mod python;
mod python_setup;
mod rust;

use std::collections::BTreeMap;

use mosaic_core::domain::gates::{GateDefinition, ReportSpec, SetupDefinition};
use mosaic_core::domain::ids::Word;
use mosaic_core::limits;

pub(super) use project::Project;

/// One detected gate.
#[derive(Debug, Clone)]
pub(super) struct Detected {
    /// The definition.
    pub definition: GateDefinition,
    /// The part of the project that it follows from, such as `package.json scripts.lint`.
    pub reason: String,
}

/// The detected command that makes trees ready.
#[derive(Debug, Clone)]
pub(super) struct DetectedSetup {
    /// The definition.
    pub definition: SetupDefinition,
    /// The part of the project that it follows from.
    pub reason: String,
}

/// Everything that was detected.
#[derive(Debug, Clone, Default)]
pub(super) struct Detection {
    /// The gates by name.
    pub gates: BTreeMap<Word, Detected>,
    /// The command that makes trees ready.
    pub setup: Option<DetectedSetup>,
    /// Remedies for gates that the project does not say enough about, by the gates' names.
    pub missing: BTreeMap<&'static str, String>,
    /// Warnings for a person.
    pub warnings: Vec<String>,
}

/// Findings about one language or tool.
#[derive(Debug, Default)]
struct Ecosystem {
    /// Name for people.
    name: &'static str,
    gates: Vec<Detected>,
    setup: Option<DetectedSetup>,
    missing: Vec<(&'static str, String)>,
}

impl Ecosystem {
    fn of(name: &'static str) -> Self {
        Self { name, ..Self::default() }
    }

    fn has(&self, gate: &str) -> bool {
        self.gates.iter().any(|one| one.definition.name.as_str() == gate)
    }

    /// Adds a gate that is judged by the exit status of its command.
    fn add(&mut self, gate: &str, run: impl Into<String>, reason: impl Into<String>) -> &mut GateDefinition {
        let definition = GateDefinition::of_command(word(gate), run.into());
        self.gates.push(Detected { definition, reason: reason.into() });
        let added = self.gates.len() - 1;
        &mut self.gates[added].definition
    }

    /// Adds a gate that reads what the tests gate wrote.
    fn add_reader(&mut self, gate: &str, report: ReportSpec, reason: impl Into<String>) {
        let made = self.add(gate, "", reason);
        made.run = None;
        made.reports = vec![report];
        made.needs = vec![word("tests")];
    }

    fn lacks(&mut self, gate: &'static str, remedy: impl Into<String>) {
        self.missing.push((gate, remedy.into()));
    }

    fn sets_up(
        &mut self,
        run: impl Into<String>,
        inputs: &[&str],
        outputs: &[&str],
        reason: impl Into<String>,
    ) {
        let paths = |paths: &[&str]| paths.iter().map(|path| (*path).to_owned()).collect();
        let definition = SetupDefinition {
            run: run.into(),
            timeout_ms: u64::try_from(limits::GATE.as_millis()).unwrap_or(u64::MAX),
            inputs: paths(inputs),
            outputs: paths(outputs),
        };
        self.setup = Some(DetectedSetup { definition, reason: reason.into() });
    }
}

/// Detects the gates of a project.
pub(super) fn detect(project: &Project) -> Detection {
    let languages = [rust::detect, go::detect, python::detect, node::detect];
    let mut found: Vec<Ecosystem> = languages.iter().filter_map(|detect| detect(project)).collect();
    // A manifest without tests is often there for a tool, such as a package.json for a formatter.
    found.sort_by_key(|ecosystem| !ecosystem.has("tests"));
    let mut detection = Detection::default();
    let mut found = found.into_iter();
    let first = found.next();
    for other in found.filter(|other| other.has("tests")) {
        let first = first.as_ref().map_or("", |first| first.name);
        detection.warnings.push(format!(
            "{} stands beside {first} and is not judged by detection: define gates that run both in .mosaic/config.toml",
            other.name
        ));
    }
    for ecosystem in first.into_iter().chain(make::detect(project)) {
        detection.take(ecosystem);
    }
    detection
}

impl Detection {
    /// Adds what is still open.
    fn take(&mut self, ecosystem: Ecosystem) {
        // A reader of the tests' reports belongs to the tests that write them.
        let writes_reports = !self.gates.contains_key(&word("tests"));
        for gate in ecosystem.gates {
            let name = gate.definition.name.clone();
            let is_orphan = !gate.definition.needs.is_empty() && !writes_reports;
            if is_orphan || self.gates.contains_key(&name) {
                continue;
            }
            self.missing.remove(name.as_str());
            self.gates.insert(name, gate);
        }
        for (gate, remedy) in ecosystem.missing {
            if !self.gates.contains_key(&word(gate)) {
                self.missing.entry(gate).or_insert(remedy);
            }
        }
        self.setup = self.setup.take().or(ecosystem.setup);
    }
}

/// Returns a report of a format in the gate's directory of reports, or `-` for its output.
fn report(format: &str, path: &str) -> ReportSpec {
    ReportSpec { format: word(format), path: path.to_owned(), min: None, min_changed: None }
}

fn word(name: &str) -> Word {
    name.parse().expect("names in this module are words")
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
