//! The effective profile of a tree with the reason of each line, for people: what is run, where it comes from, what is missing
//! and how it is defined.

use mosaic_core::domain::gates::{GateDefinition, SetupDefinition};
use mosaic_core::domain::ids::{Timestamp, Word};
use mosaic_core::domain::outcome::Failure;
use mosaic_core::domain::spec::GateProfile;
use mosaic_core::ports::gatekeeper::BaseFiles;

use super::effective::{self, Effective, FILE, Origin};

/// One line of a profile.
#[derive(Debug, Clone)]
pub struct ExplainedGate {
    /// The gate's name.
    pub name: Word,
    /// The definition; `None` when it is missing or declared as `none`.
    pub definition: Option<GateDefinition>,
    /// The base declares that there is no such gate.
    pub declared_none: bool,
    /// Where the definition comes from, or how one is made.
    pub reason: String,
}

/// An explained profile.
#[derive(Debug, Clone)]
pub struct Explained {
    /// The setup with where it comes from.
    pub setup: Option<(SetupDefinition, String)>,
    /// The profile's gates in running order.
    pub gates: Vec<ExplainedGate>,
    /// Commands of gates that the file defines and the profile does not ask for, by name.
    pub other: Vec<(String, String)>,
    /// Warnings.
    pub warnings: Vec<String>,
    /// The digest that trust is given to.
    pub digest: String,
}

/// Explains a profile. Fails with `BadInput` when the tree's definitions cannot be read.
pub async fn explain(
    files: &dyn BaseFiles,
    label: &str,
    profile: GateProfile,
    custom: &[Word],
    now: Timestamp,
) -> Result<Explained, Failure> {
    let effective = effective::read(files, label, now).await?;
    let names = super::plan::names_of(profile, custom, &effective.config);
    let plan = effective.plan(&names, label);
    let gates = names.iter().map(|name| {
        let definition = plan.gates.iter().find(|gate| gate.name == *name).cloned();
        let declared_none = plan.declared_none.contains(name);
        ExplainedGate {
            name: name.clone(),
            definition,
            declared_none,
            reason: reason(&effective, name, declared_none),
        }
    });
    let setup = effective.setup().map(|(setup, origin)| (setup.clone(), origin_text(&origin)));
    let others = effective.config.gates.iter().filter(|(name, _)| !names.contains(name));
    let other = others.filter_map(|(name, gate)| Some((name.to_string(), gate.run.clone()?))).collect();
    Ok(Explained {
        setup,
        gates: gates.collect(),
        other,
        warnings: plan.warnings,
        digest: effective.digest.clone(),
    })
}

fn origin_text(origin: &Origin<'_>) -> String {
    match origin {
        Origin::File => FILE.to_owned(),
        Origin::Detected(reason) => (*reason).to_owned(),
    }
}

fn reason(effective: &Effective, name: &Word, declared_none: bool) -> String {
    if declared_none {
        return FILE.to_owned();
    }
    if let Some((_, origin)) = effective.gate(name) {
        return origin_text(&origin);
    }
    let remedy = effective.detection.missing.get(name.as_str()).cloned();
    remedy.unwrap_or_else(|| match name.as_str() {
        "ai-review" => format!("define {name} under [gates] in {FILE}, or declare {name} = \"none\""),
        _ => format!("define {name} under [gates] in {FILE}"),
    })
}

/// Writes the detected definitions as a `.mosaic/config.toml` for review. `None` when nothing was detected.
pub async fn initial_definition(files: &dyn BaseFiles, now: Timestamp) -> Result<Option<String>, Failure> {
    let effective = effective::read(files, "this tree", now).await?;
    let detection = &effective.detection;
    if detection.gates.is_empty() {
        return Ok(None);
    }
    let mut out = String::from(
        "# How work on this repository is judged. Read from the base commit, never from an agent's branch.\n",
    );
    if let Some(setup) = &detection.setup {
        let list = |paths: &[String]| paths.iter().map(|path| quoted(path)).collect::<Vec<_>>().join(", ");
        out.push_str(&format!("\n[setup]  # {}\nrun = {}\n", setup.reason, quoted(&setup.definition.run)));
        out.push_str(&format!("inputs = [{}]\n", list(&setup.definition.inputs)));
        out.push_str(&format!("outputs = [{}]\n", list(&setup.definition.outputs)));
    }
    out.push_str("\n[gates]\n");
    for name in GateProfile::Strict.gates() {
        match name.parse::<Word>().ok().and_then(|word| detection.gates.get(&word)) {
            Some(gate) => {
                out.push_str(&format!("# {}\n{name} = {}\n", gate.reason, inline(&gate.definition)))
            }
            None => {
                let remedy = detection.missing.get(name).map_or("nothing was found", String::as_str);
                out.push_str(&format!("# {name}: {remedy}\n"));
            }
        }
    }
    Ok(Some(out))
}

/// Writes a definition as a value.
fn inline(gate: &GateDefinition) -> String {
    let mut parts: Vec<String> = gate.run.iter().map(|run| format!("run = {}", quoted(run))).collect();
    if gate.reports.is_empty() && gate.needs.is_empty() {
        return quoted(gate.run.as_deref().unwrap_or_default());
    }
    let report = |report: &mosaic_core::domain::gates::ReportSpec| {
        format!("{{ format = {}, path = {} }}", quoted(report.format.as_str()), quoted(&report.path))
    };
    let reports: Vec<String> = gate.reports.iter().map(report).collect();
    if !reports.is_empty() {
        parts.push(format!("reports = [{}]", reports.join(", ")));
    }
    if !gate.needs.is_empty() {
        let needs: Vec<String> = gate.needs.iter().map(|need| quoted(need.as_str())).collect();
        parts.push(format!("needs = [{}]", needs.join(", ")));
    }
    format!("{{ {} }}", parts.join(", "))
}

/// Writes a TOML basic string.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            c if c.is_control() => out.push_str(&format!("\\u{:04x}", c as u32)),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}
