//! Annotations of GitHub Actions: commands in the output of a step, which the runner shows beside the changed lines.

use mosaic_api::{AgentGates, Finding, GateOutcome, GateResult};

use crate::sanitize;

/// Renders a judgement as annotations, one a line.
pub(super) fn render(gates: &AgentGates) -> String {
    let results = gates.report.iter().flat_map(|report| &report.results);
    let mut out: String = results.map(of_result).collect();
    for name in gates.plan.iter().flat_map(|plan| &plan.undefined) {
        out.push_str(&annotation("warning", None, name, "no definition: the gate was not run"));
    }
    out
}

fn of_result(result: &GateResult) -> String {
    match (result.outcome, result.findings.as_slice()) {
        (GateOutcome::Pass, _) => String::new(),
        (GateOutcome::Skip, _) => annotation("warning", None, &result.name, &result.summary),
        (_, []) => annotation("error", None, &result.name, &result.summary),
        (_, found) => {
            let one = |finding: &Finding| annotation("error", Some(finding), &result.name, &finding.message);
            found.iter().map(one).collect()
        }
    }
}

fn annotation(level: &str, finding: Option<&Finding>, title: &str, message: &str) -> String {
    let mut properties = Vec::new();
    if let Some(path) = finding.and_then(|finding| finding.path.as_deref()) {
        properties.push(format!("file={}", property(path)));
    }
    if let Some(line) = finding.and_then(|finding| finding.line).filter(|line| *line > 0) {
        properties.push(format!("line={line}"));
    }
    properties.push(format!("title={}", property(title)));
    format!("::{level} {}::{}\n", properties.join(","), data(message))
}

/// Escapes a message as the runner reads it back. Other control characters are shown, as on every screen: the runner's log is
/// one.
fn data(text: &str) -> String {
    sanitize::block(text).replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// Escapes the value of a property: these two end it.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn annotations_say_file_and_line_and_nothing_ends_them_early() {
        let gates = crate::samples::gates(json!({
            "plan": {"gates": [], "trusted": true, "definedBy": "x", "undefined": ["coverage"], "warnings": []},
            "report": {"commit": "9f31c2aaaa", "verdict": "failed", "results": [
                {"name": "types", "outcome": "pass", "durationMs": 1, "summary": "exit 0"},
                {"name": "lint", "outcome": "fail", "durationMs": 1, "summary": "x", "findings": [
                    {"source": "lint", "path": "a,b:c.rs", "line": 6, "message": "100% wrong\n::stop-commands::x\r\u{1b}[m"},
                    {"source": "lint", "message": "no place"}]},
                {"name": "tests", "outcome": "flaky", "durationMs": 1, "summary": "1 flaky test"},
                {"name": "slow", "outcome": "skip", "durationMs": 1, "summary": "needs tests"},
            ]},
        }));
        let expected = "\
::error file=a%2Cb%3Ac.rs,line=6,title=lint::100%25 wrong%0A::stop-commands::x\\x0d\\x1b[m
::error title=lint::no place
::error title=tests::1 flaky test
::warning title=slow::needs tests
::warning title=coverage::no definition: the gate was not run
";
        assert_eq!(render(&gates), expected);
    }
}
