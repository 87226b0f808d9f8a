//! The second run of a gate whose tests failed: tests that fail and then pass on the same tree are flaky, which is red, unless the
//! base commit tolerates exactly these tests for a while.

use mosaic_core::domain::gates::{Finding, GateDefinition, GateOutcome, Quarantined};
use mosaic_core::domain::ids::Timestamp;
use mosaic_core::limits;

use super::judged::Judged;
use crate::gate_reports::{self, Content};

/// Gates that run tests by the contract's names, whatever they report.
const TESTS: [&str; 2] = ["tests", "integration"];

/// Tells whether a failed gate is run once more: only tests can change their mind, and a gate that was not judged says nothing.
pub(super) fn is_worth_it(gate: &GateDefinition, first: &Judged) -> bool {
    let counts_tests =
        |format: &str| gate_reports::format(format).is_some_and(|f| f.content == Content::Tests);
    let runs_tests = TESTS.contains(&gate.name.as_str())
        || gate.reports.iter().any(|report| counts_tests(report.format.as_str()));
    first.outcome == GateOutcome::Fail && runs_tests
}

/// Decides by two runs on the same tree.
pub(super) fn decide(first: Judged, second: Judged, quarantine: &[Quarantined], now: Timestamp) -> Judged {
    match second.outcome {
        GateOutcome::Pass => flaky(first, second, quarantine, now),
        // Two different ways to fail are still a failure, and the agent gets the findings of the first run.
        GateOutcome::Fail => first,
        // A second run that could not be judged takes nothing back.
        _ => {
            let summary = format!("{}; run once more: {}", first.summary, second.summary);
            Judged { summary, ..first }
        }
    }
}

fn flaky(first: Judged, second: Judged, quarantine: &[Quarantined], now: Timestamp) -> Judged {
    let tolerated = tolerated(&first.findings, quarantine, now);
    let both = format!("first {}, then {}", first.summary, second.summary);
    if let Some(names) = tolerated {
        return Judged { summary: format!("{} (quarantined: {names}; {both})", second.summary), ..second };
    }
    let findings = first.findings.into_iter().map(|finding| Finding {
        message: format!("failed and then passed on the same tree: {}", finding.message),
        ..finding
    });
    let findings = findings.take(limits::FINDINGS).collect();
    Judged { outcome: GateOutcome::Flaky, summary: format!("flaky: {both}"), findings, ..second }
}

/// Returns the names of the tests that failed when all of them are tolerated today.
fn tolerated(failed: &[Finding], quarantine: &[Quarantined], now: Timestamp) -> Option<String> {
    let today = now.to_string();
    let today = today.get(..10)?;
    let name = |finding: &Finding| {
        let counts = |one: &&Quarantined| {
            let rest = finding.message.strip_prefix(one.test.as_str());
            one.expires.as_str() >= today && rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(':'))
        };
        quarantine.iter().find(counts).map(|one| one.test.clone())
    };
    let names: Vec<String> = failed.iter().map(name).collect::<Option<_>>()?;
    (!names.is_empty()).then(|| names.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(test: &str) -> Judged {
        let message = format!("{test}: expected 1, got 2");
        let finding = Finding { source: "tests".to_owned(), path: None, line: None, message, secret: None };
        Judged::new(GateOutcome::Fail, "1 failed").with(vec![finding])
    }

    fn passed() -> Judged {
        Judged::new(GateOutcome::Pass, "2 passed")
    }

    fn quarantined(test: &str, expires: &str) -> Vec<Quarantined> {
        let text = |text: &str| text.to_owned();
        vec![Quarantined { test: text(test), owner: text("a"), reason: text("b"), expires: text(expires) }]
    }

    /// Returns ten o'clock of 1 December 2026.
    fn now() -> Timestamp {
        (std::time::UNIX_EPOCH + std::time::Duration::from_secs(1796119200)).into()
    }

    #[test]
    fn a_test_that_changes_its_mind_is_red_and_both_runs_are_told() {
        let judged = decide(failed("a::b"), passed(), &[], now());
        assert_eq!(judged.outcome, GateOutcome::Flaky);
        assert_eq!(judged.summary, "flaky: first 1 failed, then 2 passed");
        assert!(judged.findings[0].message.contains("a::b"));
        assert_eq!(decide(failed("a"), failed("b"), &[], now()).outcome, GateOutcome::Fail);
        let broken = decide(failed("a"), Judged::error("timed out"), &[], now());
        assert_eq!(
            (broken.outcome, broken.summary.as_str()),
            (GateOutcome::Fail, "1 failed; run once more: timed out")
        );
    }

    #[test]
    fn only_a_quarantine_of_this_very_test_that_has_not_expired_tolerates_it() {
        let outcome =
            |test, quarantine: Vec<Quarantined>| decide(failed(test), passed(), &quarantine, now()).outcome;
        assert_eq!(outcome("a::b", quarantined("a::b", "2026-12-01")), GateOutcome::Pass);
        assert_eq!(outcome("a::b", quarantined("a::b", "2026-11-30")), GateOutcome::Flaky);
        assert_eq!(outcome("a::bc", quarantined("a::b", "2027-01-01")), GateOutcome::Flaky);
        let nameless = Judged::new(GateOutcome::Fail, "exit 1");
        assert_eq!(
            decide(nameless, passed(), &quarantined("", "2027-01-01"), now()).outcome,
            GateOutcome::Flaky
        );
    }
}
