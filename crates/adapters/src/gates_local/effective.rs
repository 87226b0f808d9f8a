//! The effective definitions of a commit: what `.mosaic/config.toml` says, and detection for what it leaves open.

use std::collections::BTreeMap;

use mosaic_core::domain::gates::{GateDefinition, GatePlan, Quarantined, SetupDefinition};
use mosaic_core::domain::ids::{Timestamp, Word};
use mosaic_core::domain::outcome::{Failure, FailureKind};
use mosaic_core::ports::gatekeeper::BaseFiles;
use sha2::{Digest, Sha256};

use super::config::{self, Config};
use super::detect::{self, Detection, Project};
use super::reports::{self, FLOOR};

/// Where the definitions stand in a repository.
pub(super) const FILE: &str = ".mosaic/config.toml";

/// Definitions of a commit.
pub(super) struct Effective {
    /// Content of the file; empty when there is none.
    pub config: Config,
    /// Detected definitions that are used; none when the file does not want them.
    pub detection: Detection,
    /// The file exists.
    pub has_file: bool,
    /// The digest that trust is given to.
    pub digest: String,
    quarantine: Vec<Quarantined>,
}

/// Where one definition comes from.
pub(super) enum Origin<'a> {
    /// The file.
    File,
    /// Detection, with its reason.
    Detected(&'a str),
}

/// Reads them. Fails with `BadInput` when the file cannot be used.
pub(super) async fn read(files: &dyn BaseFiles, base: &str, now: Timestamp) -> Result<Effective, Failure> {
    let unusable = |why: config::ConfigError| {
        let advice = "mend it on the base branch and spawn again";
        Failure::new(FailureKind::BadInput, format!("{FILE} at {base} cannot be used: {why}; {advice}"))
    };
    let bytes = files.read(FILE).await?;
    let mut config = bytes.as_deref().map(config::parse).transpose().map_err(unusable)?.unwrap_or_default();
    let entries = std::mem::take(&mut config.quarantine);
    let quarantine = config::valid_quarantine(entries, now, &mut config.warnings).map_err(unusable)?;
    let (detection, scripts) = match config.ignores_detection {
        true => (Detection::default(), Vec::new()),
        false => detected(files, &config).await?,
    };
    let digest = digest(bytes.as_deref(), &detection, &scripts);
    Ok(Effective { config, detection, has_file: bytes.is_some(), digest, quarantine })
}

/// Detects what the file leaves open, and reads the texts that commands run by name.
async fn detected(
    files: &dyn BaseFiles,
    config: &Config,
) -> Result<(Detection, Vec<(String, String)>), Failure> {
    let project = Project::read(files).await?;
    let mut detection = detect::detect(&project);
    let is_open = |name: &Word| !config.gates.contains_key(name) && !config.declared_none.contains(name);
    detection.gates.retain(|name, _| is_open(name));
    // What the tests of the file write is not what a detected gate would read.
    let own_tests = config.gates.keys().any(|name| name.as_str() == "tests");
    detection.gates.retain(|_, gate| !own_tests || gate.definition.needs.is_empty());
    detection.missing.retain(|name, _| name.parse().is_ok_and(|name| is_open(&name)));
    // A file that defines all of its gates ran them without a setup before; detection must not add a step that can fail.
    let is_used =
        detection.gates.keys().any(|name| name.as_str() != "build" && name.as_str() != "integration");
    if config.has_no_setup || config.setup.is_some() || (!config.gates.is_empty() && !is_used) {
        detection.setup = None;
    }
    let written = config.gates.values().chain(detection.gates.values().map(|gate| &gate.definition));
    let setups = config.setup.iter().chain(detection.setup.iter().map(|setup| &setup.definition));
    let commands: Vec<&str> = written
        .filter_map(|gate| gate.run.as_deref())
        .chain(setups.map(|setup| setup.run.as_str()))
        .collect();
    let scripts = project.scripts_of(&commands);
    let scripts = scripts.into_iter().map(|(path, text)| (path.to_owned(), text.to_owned())).collect();
    Ok((detection, scripts))
}

/// Returns the digest of everything that decides which commands are run. It is the file's own where the file alone decides.
fn digest(file: Option<&[u8]>, detection: &Detection, scripts: &[(String, String)]) -> String {
    let is_alone = detection.gates.is_empty() && detection.setup.is_none() && scripts.is_empty();
    if let (Some(file), true) = (file, is_alone) {
        return super::config_digest(file);
    }
    let mut hash = Sha256::new();
    let mut part = |bytes: &[u8]| {
        hash.update((bytes.len() as u64).to_le_bytes());
        hash.update(bytes);
    };
    part(b"effective gates 1");
    part(file.unwrap_or_default());
    for (name, gate) in &detection.gates {
        part(name.as_str().as_bytes());
        part(format!("{:?}", gate.definition).as_bytes());
    }
    part(detection.setup.as_ref().map_or(&[][..], |setup| setup.definition.run.as_bytes()));
    for (path, text) in scripts {
        part(path.as_bytes());
        part(text.as_bytes());
    }
    base16ct::lower::encode_string(&hash.finalize())
}

impl Effective {
    /// Returns a gate with its origin; `None` when nobody defines it.
    pub(super) fn gate(&self, name: &Word) -> Option<(&GateDefinition, Origin<'_>)> {
        let written = self.config.gates.get(name).map(|gate| (gate, Origin::File));
        written.or_else(|| {
            let gate = self.detection.gates.get(name)?;
            Some((&gate.definition, Origin::Detected(&gate.reason)))
        })
    }

    /// Returns the setup with its origin.
    pub(super) fn setup(&self) -> Option<(&SetupDefinition, Origin<'_>)> {
        let written = self.config.setup.as_ref().map(|setup| (setup, Origin::File));
        written.or_else(|| {
            let setup = self.detection.setup.as_ref()?;
            Some((&setup.definition, Origin::Detected(&setup.reason)))
        })
    }

    /// Makes the plan of these gates; whether it is trusted is another question.
    pub(super) fn plan(&self, names: &[Word], base: &str) -> GatePlan {
        let mut plan = GatePlan::default();
        let mut all = Vec::new();
        names.iter().for_each(|name| self.with_needs(name, &mut Vec::new(), &mut all));
        for name in &all {
            match self.gate(name) {
                Some((definition, _)) => plan.gates.push(floored(definition.clone())),
                None if self.config.declared_none.contains(name) => plan.declared_none.push(name.clone()),
                None => plan.undefined.push(name.clone()),
            }
        }
        // A need that the base declares as `none` is not waited for, and one that nobody defines makes the verdict incomplete.
        let planned: Vec<Word> = plan.gates.iter().map(|gate| gate.name.clone()).collect();
        plan.gates.iter_mut().for_each(|gate| gate.needs.retain(|need| planned.contains(need)));
        plan.setup = self.setup().map(|(setup, _)| setup.clone());
        plan.quarantine = self.quarantine.clone();
        plan.defined_by = self.defined_by(&plan, base);
        plan.warnings = self.config.warnings.clone();
        plan.warnings.extend(self.detection.warnings.iter().cloned());
        plan
    }

    /// Adds a gate after the gates that it needs, asked for or not: without them it has no report to read. A circle, which the
    /// reader of the file refuses, ends where it began.
    fn with_needs(&self, name: &Word, on_the_way: &mut Vec<Word>, all: &mut Vec<Word>) {
        if all.contains(name) || on_the_way.contains(name) {
            return;
        }
        on_the_way.push(name.clone());
        for need in self.gate(name).map_or(&[][..], |(definition, _)| &definition.needs) {
            if !self.config.declared_none.contains(need) {
                self.with_needs(need, on_the_way, all);
            }
        }
        on_the_way.pop();
        all.push(name.clone());
    }

    /// Returns where the plan's gates come from, for people.
    fn defined_by(&self, plan: &GatePlan, base: &str) -> String {
        let mut detected: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        let mut is_written = self.has_file && plan.gates.is_empty();
        for gate in &plan.gates {
            match self.gate(&gate.name) {
                Some((_, Origin::Detected(reason))) => {
                    detected.entry(reason).or_default().push(gate.name.as_str());
                }
                _ => is_written = true,
            }
        }
        let named = |(reason, gates): (&str, Vec<&str>)| format!("{} from {reason}", gates.join(", "));
        let detected: Vec<String> = detected.into_iter().map(named).collect();
        match (is_written, detected.is_empty()) {
            (true, true) => format!("{base}:{FILE}"),
            (true, false) => format!("{base}:{FILE}; detected: {}", detected.join("; ")),
            (false, false) => format!("detection at {base}: {}", detected.join("; ")),
            (false, true) => format!("nothing ({base} has no {FILE})"),
        }
    }
}

/// Applies the floor of coverage. Not in the reader of the file: what it asks for stays visible in its warning, and a
/// repository cannot lower the contract's floor.
fn floored(mut gate: GateDefinition) -> GateDefinition {
    let is_floored = gate.name.as_str() == "coverage";
    for report in gate.reports.iter_mut().filter(|report| reports::measures_coverage(report)) {
        let own = report.min.unwrap_or(FLOOR);
        report.min = Some(if is_floored { own.max(FLOOR) } else { own });
    }
    gate
}
