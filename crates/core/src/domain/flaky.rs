//! Tests that failed and then passed on the same tree, as the findings of a gate name them.

use super::gates::{GateOutcome, GateResult};
use super::outcome::cut;
use crate::limits;

/// Returns the names of the tests that were flaky in a run of a gate, each once, at most [`limits::FLAKY_TESTS`].
pub fn flaky_tests(result: &GateResult) -> Vec<String> {
    // The findings of a failure are those of tests that failed, whatever else was flaky.
    let is_flaky = result.outcome == GateOutcome::Flaky;
    let mut names = Vec::new();
    for finding in result.findings.iter().filter(|_| is_flaky) {
        let Some(name) = named(&finding.message) else { continue };
        let name = cut(name.to_owned(), limits::TEST_NAME_BYTES);
        if names.len() < limits::FLAKY_TESTS && !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// Start of a finding about a test that was flaky in two runs of a gate.
const AGAIN: &str = "failed and then passed on the same tree: ";

/// Returns the test that a finding names: what stands before the first colon and space of its first line.
fn named(message: &str) -> Option<&str> {
    let first = message.strip_prefix(AGAIN).unwrap_or(message).lines().next()?;
    let name = first.split_once(": ").map_or(first, |(name, _)| name).trim();
    (!name.is_empty()).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::gates::Finding;

    fn result(outcome: GateOutcome, messages: &[&str]) -> GateResult {
        let finding = |message: &&str| Finding {
            source: "tests".to_owned(),
            path: None,
            line: None,
            message: (*message).to_owned(),
            secret: None,
        };
        let name = "tests".parse().expect("it is a word");
        let findings = messages.iter().map(finding).collect();
        GateResult { findings, ..GateResult::new(name, outcome, "x") }
    }

    #[test]
    fn a_flaky_result_names_its_tests_once_each() {
        let messages = [
            "calc a::b: expected 1\nmore: text",
            "failed and then passed on the same tree: calc a::b: 2",
            "",
            "c",
        ];
        assert_eq!(flaky_tests(&result(GateOutcome::Flaky, &messages)), ["calc a::b", "c"]);
        assert!(flaky_tests(&result(GateOutcome::Fail, &messages)).is_empty());
        let many: Vec<String> = (0..50).map(|n| format!("test {n}: x")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert_eq!(flaky_tests(&result(GateOutcome::Flaky, &many)).len(), limits::FLAKY_TESTS);
    }
}
