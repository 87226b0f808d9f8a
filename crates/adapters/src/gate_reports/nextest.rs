//! cargo-nextest: its JUnit report, in which retries are `flakyFailure` and `rerunFailure`, or what it prints.

use std::collections::BTreeMap;

use mosaic_core::limits;

use super::junit;
use super::lines;
use super::malformed::Malformed;
use super::results::{CaseOutcome, Collector, FailedTest, Names, Tests};

/// Reads a JUnit report or the printed lines.
pub(super) fn parse(bytes: &[u8]) -> Result<Tests, Malformed> {
    let start = bytes.iter().position(|byte| !byte.is_ascii_whitespace()).unwrap_or(0);
    match bytes[start..].starts_with(b"<") || bytes[start..].starts_with("\u{feff}<".as_bytes()) {
        true => junit::parse_counted(bytes, Names::Ids),
        false => NextestReader::new().read(bytes),
    }
}

struct NextestReader {
    collector: Collector,
    runs: u64,
    /// The run that has no summary yet.
    open: Option<BTreeMap<String, Tries>>,
    /// The failed test whose output is being read.
    told: Option<String>,
}

/// The tries of one test.
#[derive(Default)]
struct Tries {
    passed: u64,
    failed: u64,
    /// Highest number of a try.
    last: u64,
    test: FailedTest,
}

impl NextestReader {
    fn new() -> Self {
        Self { collector: Collector::new(Names::Ids), runs: 0, open: None, told: None }
    }

    fn read(mut self, bytes: &[u8]) -> Result<Tests, Malformed> {
        for line in lines::of(bytes) {
            self.line(&line)?;
        }
        self.cut();
        match self.runs {
            0 => Err(Malformed::NotOfFormat("output of cargo nextest (no \"Starting … tests\")")),
            _ => Ok(self.collector.tests),
        }
    }

    fn cut(&mut self) {
        if self.open.take().is_some() {
            self.collector.tests.fault("a run has no `Summary`, so it was cut off");
        }
    }

    fn line(&mut self, line: &str) -> Result<(), Malformed> {
        let trimmed = line.trim();
        let starting = trimmed.strip_prefix("Starting ").and_then(lines::number);
        if starting.is_some_and(|(_, rest)| rest.starts_with(" test")) {
            self.cut();
            (self.runs, self.open) = (self.runs + 1, Some(BTreeMap::new()));
        } else if let Some((_, summary)) =
            trimmed.strip_prefix("Summary [").and_then(|rest| rest.split_once("] "))
        {
            if let Some(tries) = self.open.take() {
                self.end(tries, summary)?;
            }
        } else if let Some(tries) = &mut self.open {
            match attempt(trimmed) {
                Some(attempt) if tries.len() < limits::REPORT_TESTS => {
                    let tries = tries.entry(attempt.test.to_owned()).or_default();
                    tries.last = tries.last.max(attempt.number);
                    let count = if attempt.passed { &mut tries.passed } else { &mut tries.failed };
                    *count += 1;
                    self.told = (!attempt.passed).then(|| attempt.test.to_owned());
                }
                Some(_) => return Err(Malformed::TooMuch { most: limits::REPORT_TESTS, of: "tests" }),
                None => self.tell(trimmed),
            }
        }
        Ok(())
    }

    /// Takes a line of a failed try's output: the place of its panic, and what stands between that and the backtrace.
    fn tell(&mut self, text: &str) {
        let Some(tries) = self.told.as_ref().and_then(|name| self.open.as_mut()?.get_mut(name)) else {
            return;
        };
        let test = &mut tries.test;
        let panic = text.strip_prefix("thread '").and_then(|rest| rest.split_once(" panicked at "));
        if let Some((path, number)) = panic.and_then(|(_, place)| lines::place(place)) {
            (test.path, test.line) = (Some(path), Some(number));
            test.message.clear();
        } else if matches!(text, "stack backtrace:") || text.starts_with("note: ") {
            self.told = None;
        } else if test.line.is_some() && !text.is_empty() {
            lines::append(&mut test.message, text);
        }
    }

    /// Ends a run: `3 tests run: 2 passed (1 flaky), 1 failed, 1 skipped`. One that was cancelled says `2/3 tests run`.
    fn end(&mut self, tries: BTreeMap<String, Tries>, summary: &str) -> Result<(), Malformed> {
        let listed = tries.len() as u64;
        for (name, tries) in tries {
            let outcome = match (tries.passed, tries.failed) {
                (0, _) => CaseOutcome::Failed,
                (_, 0) => CaseOutcome::Passed,
                _ => CaseOutcome::Flaky,
            };
            let (group, own) = name.split_once(' ').unwrap_or(("", &name));
            if tries.passed > 1 || tries.passed + tries.failed > tries.last {
                self.collector
                    .tests
                    .fault(format!("the test `{name}` has more results than tries, so the output is forged"));
            }
            let message =
                if tries.test.message.is_empty() { "failed".to_owned() } else { tries.test.message };
            let test = FailedTest { group: group.to_owned(), name: own.to_owned(), message, ..tries.test };
            self.collector.add(&self.runs.to_string(), outcome, test)?;
        }
        let tests = &mut self.collector.tests;
        let Some((run, rest)) = lines::number(summary) else { return Ok(()) };
        let wanted = rest.strip_prefix('/').and_then(lines::number).map(|(wanted, _)| wanted);
        if wanted.is_some_and(|wanted| wanted > run) {
            tests.stopped_early =
                Some("nextest left tests out after the first that failed (run it with --no-fail-fast)");
            if tests.failed == 0 {
                tests.fault("tests were left out although none failed");
            }
        }
        if listed != run {
            tests.fault(format!("{run} tests were run and {listed} are listed"));
        }
        let counts = rest.split_once(": ").map(|(_, counts)| counts).unwrap_or_default();
        let skipped =
            counts.split(", ").find_map(|part| Some(lines::number(part.strip_suffix(" skipped")?)?.0));
        tests.skipped = tests.skipped.saturating_add(skipped.unwrap_or(0));
        Ok(())
    }
}

/// A line about one try of one test.
struct Attempt<'a> {
    number: u64,
    passed: bool,
    test: &'a str,
}

/// Reads `PASS [   0.005s] (1/3) calc tests::adds` and `TRY 1 FAIL [   0.003s] (───) calc tests::flaky`.
fn attempt(line: &str) -> Option<Attempt<'_>> {
    let (number, rest) = match line.strip_prefix("TRY ").and_then(lines::number) {
        Some((number, rest)) => (number, rest.trim_start()),
        None => (1, line),
    };
    let (status, rest) = rest.split_once(" [")?;
    let (time, rest) = rest.split_once("] ")?;
    let seconds = time.trim().strip_suffix('s')?;
    seconds.parse::<f64>().ok()?;
    let passed = match status.trim() {
        "PASS" | "LEAK" => true,
        "FAIL" | "TIMEOUT" | "TMT" | "ABORT" | "EXECFAIL" | "LEAK-FAIL" | "FAIL + LEAK" => false,
        signal if signal.starts_with("SIG") => false,
        _ => return None,
    };
    let rest = rest.trim_start();
    let test = match rest.strip_prefix('(').and_then(|rest| rest.split_once(") ")) {
        Some((_, test)) => test.trim_start(),
        None => rest,
    };
    Some(Attempt { number, passed, test })
}

#[cfg(test)]
mod tests {
    use super::*;

    const RETRIED: &str = "────────────
 Nextest run ID a8ec0443-a60e-4125-916a-322427ea2341 with nextest profile: default
    Starting 4 tests across 2 binaries (1 test skipped)
        PASS [   0.011s] (1/4) calc tests::adds
  TRY 1 FAIL [   0.315s] (───) calc tests::breaks
  stdout ───

    running 1 test
    test tests::breaks ... FAILED

  stderr ───

    thread 'tests::breaks' (21034) panicked at src/lib.rs:10:27:
    assertion `left == right` failed: sums
      left: 2
     right: 3
    note: run with `RUST_BACKTRACE=1` environment variable to display a backtrace

  TRY 1 FAIL [   0.296s] (───) calc tests::shakes
  stderr ───

    thread 'tests::shakes' (21052) panicked at src/lib.rs:15:59:
    once

  TRY 2 PASS [   0.025s] (2/4) calc tests::shakes
        PASS [   0.021s] (3/4) calc::it adds
  TRY 2 FAIL [   0.343s] (4/4) calc tests::breaks
────────────
     Summary [   0.662s] 4 tests run: 3 passed (1 flaky), 1 failed, 1 skipped
   FLAKY 2/2 [   0.025s] (2/4) calc tests::shakes
  TRY 2 FAIL [   0.343s] (4/4) calc tests::breaks
error: test run failed
";

    #[test]
    fn tries_are_put_together_and_the_list_after_the_summary_is_no_result() {
        let tests = parse(RETRIED.as_bytes()).unwrap();
        assert_eq!((tests.passed, tests.failed, tests.flaky, tests.skipped), (2, 1, 1, 1));
        assert_eq!(tests.faults, Vec::<String>::new());
        let failed = &tests.failures[0];
        assert_eq!((failed.id().as_str(), failed.line), ("calc tests::breaks", Some(10)));
        assert!(failed.message.starts_with("assertion `left == right` failed: sums"), "{}", failed.message);
        assert_eq!(
            (tests.flakes[0].name.as_str(), tests.flakes[0].message.as_str()),
            ("tests::shakes", "once")
        );
    }

    #[test]
    fn a_run_that_is_cut_or_lists_other_tests_than_it_ran_is_a_fault() {
        let run =
            |lines: &str, summary: &str| format!("    Starting 2 tests across 1 binary\n{lines}{summary}");
        let pass = "        PASS [   0.011s] calc a\n";
        for (text, wanted) in [
            (run(pass, ""), "no `Summary`"),
            (
                run(pass, "     Summary [   0.1s] 2 tests run: 2 passed, 0 skipped\n"),
                "2 tests were run and 1 are listed",
            ),
            (
                run(&pass.repeat(2), "     Summary [   0.1s] 1 test run: 1 passed, 0 skipped\n"),
                "more results than tries",
            ),
            (
                run(pass, "     Summary [   0.1s] 1/2 tests run: 1 passed, 0 skipped\n"),
                "left out although none failed",
            ),
        ] {
            let tests = parse(text.as_bytes()).unwrap();
            assert!(tests.faults.iter().any(|fault| fault.contains(wanted)), "{text}: {:?}", tests.faults);
        }
    }

    #[test]
    fn a_junit_report_that_lists_fewer_tests_than_it_has_is_cut() {
        let text = "<testsuites tests=\"2\"><testsuite name=\"calc\" tests=\"2\"><testcase name=\"a\" classname=\"calc\"/></testsuite></testsuites>";
        assert_eq!(parse(text.as_bytes()).unwrap().faults.len(), 1);
    }
}
