//! Results of tests in the form that gates are judged by, and their collection from a report, case by case.
//!
//! Always true: of any number of cases only counts, fingerprints of ids and the first failures are kept, and a case that
//! is reported twice never adds to what passed.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;

use mosaic_core::domain::outcome::cut;
use mosaic_core::limits;

use super::malformed::Malformed;

/// Longest part of a failure's text that becomes a message, in bytes.
pub(super) const MESSAGE_BYTES: usize = 2048;
/// Longest id of a test that is kept, in bytes.
const ID_BYTES: usize = 512;
/// Faults of one report that are told; the rest says the same.
const FAULTS: usize = 8;

/// The content of a report.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Tests {
    /// Test cases that passed at their first try.
    pub(crate) passed: u64,
    /// Test cases that failed or broke; at least as many as the report claims.
    pub(crate) failed: u64,
    /// Test cases that were not run.
    pub(crate) skipped: u64,
    /// Test cases that failed and passed when the runner tried them again.
    pub(crate) flaky: u64,
    /// The failed ones, at most [`limits::FINDINGS`].
    pub(crate) failures: Vec<FailedTest>,
    /// The flaky ones, at most [`limits::FINDINGS`].
    pub(crate) flakes: Vec<FailedTest>,
    /// Contradictions, for people: each of them means that the report is not what a whole run of the runner writes.
    pub(crate) faults: Vec<String>,
    /// Reason why tests were left out after the first failure, as a fragment.
    pub(crate) stopped_early: Option<&'static str>,
}

/// A test that failed or was flaky.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct FailedTest {
    /// Binary, package, class or file that the runner names with it; may be empty.
    pub(crate) group: String,
    /// Its own name.
    pub(crate) name: String,
    /// File in the repository, when the report names one. It may be absolute or below a package's name.
    pub(crate) path: Option<String>,
    /// Line number from 1, when the report names one.
    pub(crate) line: Option<u64>,
    /// Message of the failure.
    pub(crate) message: String,
}

impl FailedTest {
    /// Returns the id that people see.
    pub(crate) fn id(&self) -> String {
        match self.group.is_empty() || self.name.starts_with(&self.group) {
            true => self.name.clone(),
            false => format!("{} {}", self.group, self.name),
        }
    }
}

impl Tests {
    /// Returns one line for people.
    pub(crate) fn summary(&self) -> String {
        let failed = if self.failed > 0 { format!("{} failed, ", self.failed) } else { String::new() };
        let flaky = if self.flaky > 0 { format!(", {} flaky", self.flaky) } else { String::new() };
        format!("{failed}{} passed, {} skipped{flaky}", self.passed, self.skipped)
    }

    /// Returns the number of cases that were run.
    pub(crate) fn ran(&self) -> u64 {
        self.passed.saturating_add(self.failed).saturating_add(self.flaky)
    }

    /// Adds a contradiction.
    pub(super) fn fault(&mut self, fault: impl Into<String>) {
        if self.faults.len() < FAULTS {
            self.faults.push(cut(fault.into(), MESSAGE_BYTES));
        }
    }
}

/// Outcome of one case. The order is that of their weight: of two results of one title the later one in it counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) enum CaseOutcome {
    /// Not run.
    Skipped,
    /// Ran and was satisfied.
    #[default]
    Passed,
    /// Failed, then passed.
    Flaky,
    /// Ran and was not satisfied, or broke.
    Failed,
}

/// Meaning of a name that comes twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Names {
    /// The runner never gives it twice, so that the report is forged or put together from two runs.
    Ids,
    /// Authors may give several tests one title: they count once, with the worst of their outcomes.
    Titles,
    /// Each try of a test is a case of its own, also a failed one that looks like a passed one: a test that passed at last was
    /// flaky.
    Tries,
}

/// Collects cases.
pub(super) struct Collector {
    pub(super) tests: Tests,
    names: Names,
    /// Fingerprints instead of names: a million long names would cost more than the report.
    seen: HashMap<u64, CaseOutcome>,
    hasher: RandomState,
    cases: usize,
}

impl Collector {
    pub(super) fn new(names: Names) -> Self {
        Self { tests: Tests::default(), names, seen: HashMap::new(), hasher: RandomState::new(), cases: 0 }
    }

    /// Adds a case; its scope tells apart cases of one name, such as those of two binaries.
    pub(super) fn add(
        &mut self,
        scope: &str,
        outcome: CaseOutcome,
        case: FailedTest,
    ) -> Result<(), Malformed> {
        self.cases += 1;
        if self.cases > limits::REPORT_TESTS {
            return Err(Malformed::TooMuch { most: limits::REPORT_TESTS, of: "test cases" });
        }
        let key = self.hasher.hash_one((scope, &case.group, &case.name));
        match self.seen.insert(key, outcome) {
            None => self.count(outcome, case),
            Some(earlier) if self.names == Names::Ids => {
                let id = cut(case.id(), ID_BYTES);
                self.tests.fault(format!(
                    "the test `{id}` is reported more than once, so the report is forged or of two runs"
                ));
                self.seen.insert(key, earlier.max(outcome));
                // What failed counts either way; what passed once more does not.
                if outcome == CaseOutcome::Failed {
                    self.count(outcome, case);
                }
            }
            Some(earlier) => {
                let least =
                    if self.names == Names::Tries { CaseOutcome::Flaky } else { CaseOutcome::Skipped };
                let worst = earlier.max(outcome).max(least);
                self.seen.insert(key, worst);
                if worst > earlier {
                    *self.number(earlier) -= 1;
                    self.count(worst, case);
                }
            }
        }
        Ok(())
    }

    /// Returns the number of results that were added, repeated ones among them.
    pub(super) fn cases(&self) -> u64 {
        self.cases as u64
    }

    fn number(&mut self, outcome: CaseOutcome) -> &mut u64 {
        match outcome {
            CaseOutcome::Passed => &mut self.tests.passed,
            CaseOutcome::Failed => &mut self.tests.failed,
            CaseOutcome::Skipped => &mut self.tests.skipped,
            CaseOutcome::Flaky => &mut self.tests.flaky,
        }
    }

    fn count(&mut self, outcome: CaseOutcome, case: FailedTest) {
        *self.number(outcome) += 1;
        let list = match outcome {
            CaseOutcome::Failed => &mut self.tests.failures,
            CaseOutcome::Flaky => &mut self.tests.flakes,
            CaseOutcome::Passed | CaseOutcome::Skipped => return,
        };
        if list.len() < limits::FINDINGS {
            list.push(bounded(case));
        }
    }
}

/// Returns a test of which every part is bounded.
pub(super) fn bounded(case: FailedTest) -> FailedTest {
    FailedTest {
        group: cut(case.group, ID_BYTES),
        name: cut(case.name, ID_BYTES),
        path: case.path.filter(|path| path.len() <= 4096),
        line: case.line.filter(|line| *line > 0),
        message: cut(case.message.trim().to_owned(), MESSAGE_BYTES),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn case(name: &str) -> FailedTest {
        FailedTest { name: name.to_owned(), ..FailedTest::default() }
    }

    #[test]
    fn an_id_that_comes_twice_is_a_fault_and_counts_once() {
        let mut collector = Collector::new(Names::Ids);
        for outcome in [CaseOutcome::Passed, CaseOutcome::Passed, CaseOutcome::Failed] {
            collector.add("", outcome, case("a")).unwrap();
        }
        collector.add("other binary", CaseOutcome::Passed, case("a")).unwrap();
        let tests = collector.tests;
        assert_eq!((tests.passed, tests.failed, tests.faults.len()), (2, 1, 2));
        assert!(tests.faults[0].contains("`a` is reported more than once"), "{:?}", tests.faults);
    }

    #[test]
    fn a_test_that_was_tried_again_is_flaky_at_least() {
        let mut collector = Collector::new(Names::Tries);
        let [passed, failed] = [CaseOutcome::Passed, CaseOutcome::Failed];
        for (name, outcome) in [("a", passed), ("b", passed), ("b", passed), ("c", passed), ("c", failed)] {
            collector.add("", outcome, case(name)).unwrap();
        }
        let tests = collector.tests;
        assert_eq!((tests.passed, tests.flaky, tests.failed, tests.faults.len()), (1, 1, 1, 0));
    }

    #[test]
    fn of_one_title_the_worst_outcome_counts_once() {
        let mut collector = Collector::new(Names::Titles);
        for outcome in [CaseOutcome::Passed, CaseOutcome::Failed, CaseOutcome::Passed] {
            collector.add("", outcome, case("a")).unwrap();
        }
        let tests = collector.tests;
        assert_eq!((tests.passed, tests.failed, tests.faults.len()), (0, 1, 0));
    }
}
