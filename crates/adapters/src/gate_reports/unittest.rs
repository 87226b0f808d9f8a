//! Printed output of Python's `unittest`: the tests that failed with their tracebacks, `Ran N tests` and the line of numbers.

use mosaic_core::limits;

use super::lines;
use super::malformed::Malformed;
use super::results::{FailedTest, Tests, bounded};

/// Reads the printed lines of one or more runs.
pub(super) fn parse(bytes: &[u8]) -> Result<Tests, Malformed> {
    let mut reader = UnittestReader::default();
    for line in lines::of(bytes) {
        reader.line(&line);
    }
    reader.settle();
    if reader.runs == 0 {
        return Err(Malformed::NotOfFormat("output of unittest (no \"Ran … tests in …\")"));
    }
    if reader.ran.is_some() {
        reader.tests.fault("a run has no OK or FAILED, so it was ended from within");
    }
    Ok(reader.tests)
}

#[derive(Default)]
struct UnittestReader {
    tests: Tests,
    runs: u64,
    /// Tests of the run whose numbers are still to come.
    ran: Option<u64>,
    /// The failure whose traceback is being read.
    told: Option<FailedTest>,
}

impl UnittestReader {
    fn line(&mut self, line: &str) {
        if let Some((test, method)) = head(line) {
            self.settle();
            self.told =
                Some(FailedTest { group: test.to_owned(), name: method.to_owned(), ..FailedTest::default() });
        } else if let Some(ran) = ran(line) {
            self.settle();
            if self.ran.is_some() {
                self.tests.fault("a run has no OK or FAILED, so it was ended from within");
            }
            (self.runs, self.ran) = (self.runs + 1, Some(ran));
        } else if let Some(ran) = self.ran.filter(|_| !line.trim().is_empty()) {
            if let Some(sums) = sums(line.trim()) {
                self.ran = None;
                self.end(ran, &sums);
            }
        } else if let Some(test) = &mut self.told {
            trace(test, line);
        }
    }

    fn settle(&mut self) {
        if let Some(mut test) = self.told.take()
            && self.tests.failures.len() < limits::FINDINGS
        {
            if test.message.is_empty() {
                test.message.push_str("failed");
            }
            self.tests.failures.push(bounded(test));
        }
    }

    fn end(&mut self, ran: u64, sums: &Sums) {
        let tests = &mut self.tests;
        tests.failed = tests.failed.saturating_add(sums.failed);
        tests.skipped = tests.skipped.saturating_add(sums.skipped);
        // A fixture of a class that breaks is an error of no test, so that errors can outnumber them.
        tests.passed =
            tests.passed.saturating_add(ran.saturating_sub(sums.failed).saturating_sub(sums.skipped));
    }
}

#[derive(Default)]
struct Sums {
    failed: u64,
    skipped: u64,
}

/// Reads `FAIL: test_b (tests.test_calc.TestCalc.test_b)`; of a subtest its parameters follow.
fn head(line: &str) -> Option<(&str, &str)> {
    let rest = line.strip_prefix("FAIL: ").or(line.strip_prefix("ERROR: "))?;
    let (method, rest) = rest.split_once(" (")?;
    let (place, parameters) = rest.split_once(')')?;
    // Python 3.11 and later repeat the method behind its class.
    let class = place.strip_suffix(method).map_or(place, |class| class.trim_end_matches('.'));
    let _ = parameters;
    Some((class, method))
}

/// Takes a line of a traceback: the last place, and the text that follows it at the margin.
fn trace(test: &mut FailedTest, line: &str) {
    if let Some((path, rest)) = line.strip_prefix("  File \"").and_then(|rest| rest.split_once("\", line ")) {
        // Frames of the library itself stand below the test's.
        if !path.contains("/unittest/") {
            (test.path, test.line) = (Some(path.to_owned()), lines::number(rest).map(|(line, _)| line));
        }
    } else if !line.starts_with([' ', '=', '-']) && !line.is_empty() && !line.starts_with("Traceback") {
        lines::append(&mut test.message, line);
    }
}

/// Reads `Ran 3 tests in 0.001s`.
fn ran(line: &str) -> Option<u64> {
    let (count, rest) = lines::number(line.strip_prefix("Ran ")?)?;
    (rest.starts_with(" tests in ") || rest.starts_with(" test in ")).then_some(count)
}

/// Reads `FAILED (failures=1, errors=1, skipped=1)`, `OK (skipped=1)` or `NO TESTS RAN`.
fn sums(line: &str) -> Option<Sums> {
    let (word, counts) = line.split_once(" (").unwrap_or((line, ""));
    let mut sums = Sums::default();
    for part in counts.trim_end_matches(')').split(", ") {
        let Some((name, count)) = part.split_once('=') else { continue };
        let (count, _) = lines::number(count)?;
        match name {
            "failures" | "errors" | "unexpected successes" => sums.failed += count,
            "skipped" | "expected failures" => sums.skipped += count,
            _ => {}
        }
    }
    match word {
        "OK" | "NO TESTS RAN" => Some(sums),
        // It says that something failed, whatever the numbers say.
        "FAILED" => Some(Sums { failed: sums.failed.max(1), ..sums }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Tests {
        parse(text.as_bytes()).expect("it is read")
    }

    const FAILED: &str = "test_add (tests.test_calc.TestCalc.test_add) ... ok
test_bad (tests.test_calc.TestCalc.test_bad) ... FAIL
test_later (tests.test_calc.TestCalc.test_later) ... skipped 'not yet'

======================================================================
FAIL: test_bad (tests.test_calc.TestCalc.test_bad)
----------------------------------------------------------------------
Traceback (most recent call last):
  File \"/tree/tests/test_calc.py\", line 12, in test_bad
    self.assertEqual(1, 2)
AssertionError: 1 != 2

----------------------------------------------------------------------
Ran 3 tests in 0.001s

FAILED (failures=1, skipped=1)
";

    #[test]
    fn numbers_and_failures_are_read() {
        let tests = read(FAILED);
        assert_eq!((tests.passed, tests.failed, tests.skipped, tests.faults.len()), (1, 1, 1, 0));
        let failed = &tests.failures[0];
        assert_eq!(failed.id(), "tests.test_calc.TestCalc test_bad");
        assert_eq!(
            (failed.path.as_deref(), failed.line, failed.message.as_str()),
            (Some("/tree/tests/test_calc.py"), Some(12), "AssertionError: 1 != 2")
        );
    }

    #[test]
    fn several_runs_are_added_up_and_each_needs_its_end() {
        let ok = "..\n----------------------------------------------------------------------\nRan 2 tests in 0.000s\n\nOK\n";
        assert_eq!(read(&format!("{ok}{ok}")).passed, 4);
        let none = "\n----------------------------------------------------------------------\nRan 0 tests in 0.000s\n\nNO TESTS RAN\n";
        assert_eq!(read(none).ran(), 0);
        let cut = format!("{ok}Ran 2 tests in 0.000s\n");
        assert!(!read(&cut).faults.is_empty());
        assert_eq!(read("Ran 1 test in 0.1s\n\nFAILED\n").failed, 1);
        assert!(parse(b"OK\n").is_err());
    }
}
