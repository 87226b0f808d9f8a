//! Tests that failed and then passed on the same tree, as the findings of a gate name them.

use super::gates::{GateOutcome, GateResult};
use super::outcome::cut;
use crate::limits;

/// Returns the names of the tests that were flaky in a run of a gate, each once, at most [`limits::FLAKY_TESTS`].
pub fn flaky_tests(result: &GateResult) -> Vec<String> {
    let is_flaky = result.outcome == GateOutcome::Flaky || result.tests.is_some_and(|tests| tests.flaky > 0);
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

/// Returns the test that a finding names: what stands before the first colon and space of its first line.
fn named(message: &str) -> Option<&str> {
    let first = message.lines().next()?;
    let name = first.split_once(": ").map_or(first, |(name, _)| name).trim();
    (!name.is_empty()).then_some(name)
}
