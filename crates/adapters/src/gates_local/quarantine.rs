//! The decision about test results: what failed or was flaky makes a gate red, unless the base's configuration quarantines the
//! test, for a while and by name.

use mosaic_core::domain::gates::{GateOutcome, Quarantined};
use mosaic_core::domain::ids::Timestamp;

use crate::gate_reports::{FailedTest, Tests};

/// Names of quarantined tests that a summary lists; the rest is counted.
const NAMED: usize = 3;

/// The tests whose results are tolerated now.
#[derive(Debug, Clone, Default)]
pub(super) struct Quarantine(Vec<Quarantined>);

impl Quarantine {
    /// Keeps those whose last day is not over. A day that is none tolerates nothing.
    pub(super) fn at(tests: &[Quarantined], now: Timestamp) -> Self {
        let now = now.to_rfc3339();
        let today = now.get(..10).unwrap_or_default();
        let holds = |day: &str| Timestamp::from_rfc3339(&format!("{day}T00:00:00Z")).is_ok() && day >= today;
        Self(tests.iter().filter(|test| holds(&test.expires)).cloned().collect())
    }

    fn holds(&self, test: &FailedTest) -> bool {
        self.0.iter().any(|quarantined| names(&quarantined.test, test))
    }
}

/// Tells whether a name is that of a test: its id as findings show it, its own name, or both parts in a way that runners and
/// people write them.
fn names(wanted: &str, test: &FailedTest) -> bool {
    let FailedTest { group, name, .. } = test;
    if wanted == name || wanted == test.id() {
        return true;
    }
    let joined = ["::", ".", "#", "/", " > ", " "].iter().any(|by| wanted == format!("{group}{by}{name}"));
    // pytest's own id, of which its JUnit report makes a class: tests/test_a.py::TestC::test_b.
    let of_python = wanted.split_once(".py::").is_some_and(|(file, rest)| {
        let (class, own) =
            rest.rsplit_once("::").map_or((String::new(), rest), |(class, own)| (format!(".{class}"), own));
        own == name && *group == format!("{}{}", file.replace('/', "."), class.replace("::", "."))
    });
    !group.is_empty() && (joined || of_python)
}

/// A decision about the tests of one report.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TestDecision {
    /// Outcome for the gate.
    pub(super) outcome: GateOutcome,
    /// One line for people.
    pub(super) summary: String,
    /// Messages of findings that no single test stands for.
    pub(super) faults: Vec<String>,
    /// The failed and flaky tests that count, in this order.
    pub(super) counted: Vec<FailedTest>,
}

/// Decides about tests.
pub(super) fn decide(tests: &Tests, quarantine: &Quarantine) -> TestDecision {
    let part = |list: &[FailedTest]| -> (Vec<FailedTest>, Vec<FailedTest>) {
        list.iter().cloned().partition(|test| quarantine.holds(test))
    };
    let (tolerated, failed) = part(&tests.failures);
    let (shaky, flaky) = part(&tests.flakes);
    // Those that are counted and not listed have no name that could be in quarantine.
    let open = tests.failed.saturating_sub(tolerated.len() as u64);
    let open_flaky = tests.flaky.saturating_sub(shaky.len() as u64);
    let mut faults: Vec<String> =
        tests.faults.iter().map(|fault| format!("the report cannot be believed: {fault}")).collect();
    let mut summary = tests.summary();
    let outcome = if !faults.is_empty() {
        summary.push_str("; the report contradicts itself");
        GateOutcome::Fail
    } else if open > 0 {
        GateOutcome::Fail
    } else if tests.ran() == 0 {
        summary = format!("no test ran, {} skipped", tests.skipped);
        faults.push("no test ran: the report has no test case that was run".to_owned());
        GateOutcome::Fail
    } else if let Some(why) = tests.stopped_early.filter(|_| !tolerated.is_empty()) {
        // The tests that were left out might have failed, too, and nothing tolerates that.
        faults.push(format!("only quarantined tests failed, but {why}"));
        GateOutcome::Fail
    } else if tests.passed == 0 && tests.flaky == 0 {
        faults.push("every test that ran failed, and all of them are quarantined".to_owned());
        GateOutcome::Fail
    } else if open_flaky > 0 {
        GateOutcome::Flaky
    } else {
        GateOutcome::Pass
    };
    let quarantined: Vec<String> = tolerated.iter().chain(&shaky).map(FailedTest::id).collect();
    if !quarantined.is_empty() {
        summary.push_str(&format!(" (quarantined: {})", listed(&quarantined)));
    }
    let counted = failed.into_iter().chain(flaky).collect();
    TestDecision { outcome, summary, faults, counted }
}

fn listed(names: &[String]) -> String {
    let shown = names.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(NAMED) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(group: &str, name: &str) -> FailedTest {
        FailedTest { group: group.to_owned(), name: name.to_owned(), ..FailedTest::default() }
    }

    fn quarantine(test: &str, expires: &str) -> Quarantine {
        let text = |text: &str| text.to_owned();
        let one =
            Quarantined { test: text(test), owner: text("ann"), reason: text("net"), expires: text(expires) };
        Quarantine::at(&[one], Timestamp::from_rfc3339("2026-12-01T23:59:59Z").unwrap())
    }

    fn tests(passed: u64, failures: &[FailedTest], flakes: &[FailedTest]) -> Tests {
        Tests {
            passed,
            failed: failures.len() as u64,
            flaky: flakes.len() as u64,
            failures: failures.to_vec(),
            flakes: flakes.to_vec(),
            ..Tests::default()
        }
    }

    #[test]
    fn a_quarantine_holds_until_its_last_day_is_over() {
        for (expires, held) in [
            ("2026-12-01", true),
            ("2027-01-31", true),
            ("2026-11-30", false),
            ("9999", false),
            ("zzzz-zz-zz", false),
        ] {
            assert_eq!(quarantine("a", expires).holds(&failed("", "a")), held, "{expires}");
        }
    }

    #[test]
    fn a_test_is_named_by_its_id_or_as_runners_join_it() {
        let test = failed("tests.test_a.TestC", "test_b");
        for name in [
            "test_b",
            "tests.test_a.TestC test_b",
            "tests.test_a.TestC.test_b",
            "tests.test_a.TestC::test_b",
            "tests/test_a.py::TestC::test_b",
        ] {
            assert!(names(name, &test), "{name}");
        }
        for name in ["test_bb", "TestC.test_b", "tests/test_a.py::test_b", "", "tests.test_a.TestC"] {
            assert!(!names(name, &test), "{name}");
        }
    }

    #[test]
    fn only_quarantined_failures_are_tolerated_and_they_are_named() {
        let (a, b) = (failed("", "a"), failed("", "b"));
        let held = quarantine("a", "2026-12-31");
        let decided = decide(&tests(3, std::slice::from_ref(&a), &[]), &held);
        assert_eq!(
            (decided.outcome, decided.summary.as_str()),
            (GateOutcome::Pass, "1 failed, 3 passed, 0 skipped (quarantined: a)")
        );
        assert_eq!(decide(&tests(3, &[a.clone(), b.clone()], &[]), &held).outcome, GateOutcome::Fail);
        assert_eq!(decide(&tests(3, &[], std::slice::from_ref(&a)), &held).outcome, GateOutcome::Pass);
        assert_eq!(decide(&tests(3, &[], &[a.clone(), b]), &held).outcome, GateOutcome::Flaky);
        assert_eq!(
            decide(&tests(3, &[], std::slice::from_ref(&a)), &Quarantine::default()).outcome,
            GateOutcome::Flaky
        );
        // A failure that is only counted has no name to be tolerated by.
        let hidden = Tests { failed: 2, ..tests(3, std::slice::from_ref(&a), &[]) };
        assert_eq!(decide(&hidden, &held).outcome, GateOutcome::Fail);
        // And tests that were left out because of a tolerated one are not tolerated.
        let early =
            Tests { stopped_early: Some("tests were left out"), ..tests(3, std::slice::from_ref(&a), &[]) };
        assert_eq!(decide(&early, &held).outcome, GateOutcome::Fail);
        assert_eq!(decide(&tests(0, &[a], &[]), &held).outcome, GateOutcome::Fail);
    }

    #[test]
    fn no_test_and_a_report_that_contradicts_itself_are_red() {
        assert_eq!(decide(&tests(0, &[], &[]), &Quarantine::default()).outcome, GateOutcome::Fail);
        let forged = Tests { faults: vec!["twice".to_owned()], ..tests(3, &[], &[]) };
        let decided = decide(&forged, &Quarantine::default());
        assert_eq!((decided.outcome, decided.faults.len()), (GateOutcome::Fail, 1));
    }
}
