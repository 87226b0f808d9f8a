//! A judgement as SARIF 2.1.0 (OASIS): a rule for each gate, a result for each finding of one that did not pass.

use mosaic_api::{AgentGates, Finding, GateOutcome, GateReport, GateResult};
use serde::Serialize;

const SCHEMA: &str = "https://json.schemastore.org/sarif-2.1.0.json";
/// Name of the root of the repository, against which paths are given.
const ROOT: &str = "%SRCROOT%";

/// The document. Fields are those of the standard; `§` says where it has them.
#[derive(Serialize)]
struct Log<'a> {
    #[serde(rename = "$schema")]
    schema: &'static str,
    version: &'static str,
    runs: [Run<'a>; 1],
}

/// §3.14
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Run<'a> {
    tool: Tool<'a>,
    invocations: [Invocation; 1],
    results: Vec<Outcome<'a>>,
    column_kind: &'static str,
}

/// §3.18
#[derive(Serialize)]
struct Tool<'a> {
    driver: Driver<'a>,
}

/// §3.19
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Driver<'a> {
    name: &'static str,
    version: &'a str,
    rules: Vec<Rule<'a>>,
}

/// §3.49
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Rule<'a> {
    id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    short_description: Option<Message>,
}

/// §3.20
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Invocation {
    execution_successful: bool,
    tool_execution_notifications: Vec<Notification>,
}

/// §3.58
#[derive(Serialize)]
struct Notification {
    level: &'static str,
    message: Message,
}

/// §3.27
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Outcome<'a> {
    rule_id: &'a str,
    rule_index: usize,
    level: &'static str,
    message: Message,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    locations: Vec<Location>,
}

/// §3.11
#[derive(Serialize)]
struct Message {
    text: String,
}

/// §3.28
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Location {
    physical_location: PhysicalLocation,
}

/// §3.29
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PhysicalLocation {
    artifact_location: ArtifactLocation,
    #[serde(skip_serializing_if = "Option::is_none")]
    region: Option<Region>,
}

/// §3.4
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ArtifactLocation {
    uri: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    uri_base_id: Option<&'static str>,
}

/// §3.30
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Region {
    start_line: u64,
}

/// Writes a report as SARIF.
pub(crate) fn write(gates: &AgentGates, report: &GateReport, version: &str) -> serde_json::Result<String> {
    let rules = report.results.iter().map(|result| Rule {
        id: &result.name,
        short_description: result.command.clone().filter(|run| !run.is_empty()).map(|text| Message { text }),
    });
    let is_red = |outcome| matches!(outcome, GateOutcome::Fail | GateOutcome::Error | GateOutcome::Flaky);
    let red = report.results.iter().enumerate().filter(|(_, result)| is_red(result.outcome));
    let run = Run {
        tool: Tool { driver: Driver { name: "mosaic", version, rules: rules.collect() } },
        invocations: [Invocation {
            execution_successful: !report.results.iter().any(|one| one.outcome == GateOutcome::Error),
            tool_execution_notifications: notifications(gates, report),
        }],
        results: red.flat_map(|(index, result)| outcomes(index, result)).collect(),
        // The parsers count no columns; the standard wants a unit all the same.
        column_kind: "unicodeCodePoints",
    };
    serde_json::to_string_pretty(&Log { schema: SCHEMA, version: "2.1.0", runs: [run] })
}

/// Returns what a gate found; a gate that did not pass and says nothing more has its summary.
fn outcomes(index: usize, result: &GateResult) -> Vec<Outcome<'_>> {
    let one = |text: &str, locations| Outcome {
        rule_id: &result.name,
        rule_index: index,
        level: "error",
        message: Message { text: if text.is_empty() { result.outcome.to_string() } else { text.to_owned() } },
        locations,
    };
    match result.findings.as_slice() {
        [] => vec![one(&result.summary, Vec::new())],
        found => found.iter().map(|finding| one(&finding.message, place(finding))).collect(),
    }
}

fn place(finding: &Finding) -> Vec<Location> {
    let Some(path) = finding.path.as_deref().filter(|path| !path.is_empty()) else { return Vec::new() };
    // A path that begins with a slash is one of the judging machine and not of the repository.
    let (uri, uri_base_id) = match path.starts_with('/') {
        true => (format!("file://{}", encoded(path)), None),
        false => (encoded(path), Some(ROOT)),
    };
    let region = finding.line.filter(|line| *line > 0).map(|start_line| Region { start_line });
    vec![Location {
        physical_location: PhysicalLocation {
            artifact_location: ArtifactLocation { uri, uri_base_id },
            region,
        },
    }]
}

/// Says which gates of the profile were not judged: without a result of their own they would look as if they had passed.
fn notifications(gates: &AgentGates, report: &GateReport) -> Vec<Notification> {
    let say = |level, text| Notification { level, message: Message { text } };
    let plan = gates.plan.iter();
    let undefined = plan.clone().flat_map(|plan| &plan.undefined);
    let undefined = undefined.map(|name| say("warning", format!("the gate {name} has no definition")));
    let none = plan.flat_map(|plan| &plan.declared_none);
    let none = none.map(|name| say("note", format!("the base declares the gate {name} as none")));
    let skipped = report.results.iter().filter(|result| result.outcome == GateOutcome::Skip);
    let skipped = skipped
        .map(|result| say("warning", format!("the gate {} was not run: {}", result.name, result.summary)));
    let warnings = report.warnings.iter().map(|text| say("warning", text.clone()));
    skipped.chain(undefined).chain(none).chain(warnings).collect()
}

/// Encodes a path as a reference (RFC 3986): a colon in its first segment would otherwise begin with a scheme.
fn encoded(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    for byte in path.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                out.push(char::from(byte))
            }
            byte => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::encoded;

    #[test]
    fn paths_are_references() {
        assert_eq!(encoded("src/a b:ü#?.rs"), "src/a%20b%3A%C3%BC%23%3F.rs");
    }
}
