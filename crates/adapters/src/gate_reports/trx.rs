//! TRX, the XML of `dotnet test --logger trx`: results of tests and the counters of the run.

use super::malformed::Malformed;
use super::results::{CaseOutcome, Collector, FailedTest, MESSAGE_BYTES, Names, Tests};
use super::xml::{self, Element, Handler};

/// Reads a report.
pub(super) fn parse(bytes: &[u8]) -> Result<Tests, Malformed> {
    let mut reader = TrxReader {
        collector: Collector::new(Names::Ids),
        run: false,
        claims: Claims::default(),
        results: Vec::new(),
        into: None,
        fault: None,
    };
    xml::read(bytes, &mut reader)?;
    if !reader.run {
        return Err(Malformed::NotOfFormat("TRX report (no <TestRun>)"));
    }
    if let Some(fault) = reader.fault {
        return Err(fault);
    }
    let (listed, mut tests) = (reader.collector.cases(), reader.collector.tests);
    let claims = reader.claims;
    tests.failed = tests.failed.max(claims.failed);
    if claims.total > listed {
        tests.fault(format!("it has {} tests and lists {listed}", claims.total));
    }
    if let Some(outcome) = claims.outcome.filter(|_| tests.failed == 0) {
        tests.fault(format!("the run ended as `{outcome}`, and no test failed"));
    }
    Ok(tests)
}

struct TrxReader {
    collector: Collector,
    run: bool,
    claims: Claims,
    /// The results that are being read, each inside the one before: a test with rows of data has one for each.
    results: Vec<TestOutcome>,
    /// The text that is being read.
    into: Option<Part>,
    fault: Option<Malformed>,
}

#[derive(Default)]
struct Claims {
    total: u64,
    failed: u64,
    /// Outcome of the run, where it is none of a whole one.
    outcome: Option<String>,
}

struct TestOutcome {
    id: String,
    outcome: CaseOutcome,
    test: FailedTest,
    stack: String,
    rows: bool,
}

#[derive(Clone, Copy)]
enum Part {
    Message,
    Stack,
}

impl Handler for TrxReader {
    fn open(&mut self, element: &Element<'_>) {
        match element.name {
            "TestRun" => self.run = true,
            "UnitTestResult" => self.begin(element),
            "InnerResults" => {
                if let Some(result) = self.results.last_mut() {
                    result.rows = true;
                }
            }
            "Message" => self.into = Some(Part::Message),
            "StackTrace" => self.into = Some(Part::Stack),
            "ResultSummary" => {
                let outcome = element.get("outcome").unwrap_or_default();
                if !matches!(outcome, "" | "Completed" | "Passed" | "Warning") {
                    self.claims.outcome = Some(outcome.chars().take(64).collect());
                }
            }
            "Counters" => {
                let number =
                    |name| element.get(name).and_then(|count| count.trim().parse::<u64>().ok()).unwrap_or(0);
                self.claims.total = self.claims.total.max(number("total"));
                let failed = ["failed", "error", "timeout", "aborted"]
                    .map(number)
                    .into_iter()
                    .fold(0, u64::saturating_add);
                self.claims.failed = self.claims.failed.max(failed);
            }
            _ => {}
        }
    }

    fn close(&mut self, name: &str) {
        match name {
            "Message" | "StackTrace" => self.into = None,
            "UnitTestResult" => self.end(),
            _ => {}
        }
    }

    fn text(&mut self, text: &str) {
        let (Some(part), Some(result)) = (self.into, self.results.last_mut()) else { return };
        let into = match part {
            Part::Message => &mut result.test.message,
            Part::Stack => &mut result.stack,
        };
        if into.len() < MESSAGE_BYTES {
            into.extend(text.chars().take(MESSAGE_BYTES));
        }
    }
}

impl TrxReader {
    fn begin(&mut self, element: &Element<'_>) {
        let get = |name| element.get(name).unwrap_or_default().to_owned();
        let outcome = match element.get("outcome").unwrap_or_default() {
            "Passed" | "PassedButRunAborted" => CaseOutcome::Passed,
            "NotExecuted" | "Inconclusive" | "NotRunnable" | "Pending" | "Disconnected" => {
                CaseOutcome::Skipped
            }
            // Failed, Error, Timeout, Aborted, and a word that nobody knows.
            _ => CaseOutcome::Failed,
        };
        let test = FailedTest { name: get("testName"), ..FailedTest::default() };
        let id = element.get("executionId").map_or_else(|| get("testId"), str::to_owned);
        self.results.push(TestOutcome { id, outcome, test, stack: String::new(), rows: false });
    }

    fn end(&mut self) {
        let Some(mut result) = self.results.pop() else { return };
        let named = result.test.name.clone();
        // A test with rows sums them up; the counters of the run count it, too.
        if result.rows && result.outcome != CaseOutcome::Failed {
            return;
        }
        if result.test.message.trim().is_empty() {
            result.test.message = "failed".to_owned();
        }
        if let Some((path, line)) = place(&result.stack) {
            (result.test.path, result.test.line) = (Some(path), Some(line));
        }
        let id = if result.id.is_empty() { named } else { result.id };
        if let Err(why) = self.collector.add(&id, result.outcome, result.test) {
            self.fault.get_or_insert(why);
        }
    }
}

/// Reads the first place of a stack: `at Calc.Tests.Divides() in /tree/CalcTests.cs:line 12`.
fn place(stack: &str) -> Option<(String, u64)> {
    let (front, rest) = stack.split_once(":line ")?;
    let path = front.rsplit_once(" in ")?.1;
    Some((path.to_owned(), super::lines::number(rest)?.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLE: &str = r#"<?xml version="1.0" encoding="utf-8"?>
<TestRun id="r" name="root@h 2026-12-01" xmlns="http://microsoft.com/schemas/VisualStudio/TeamTest/2010">
  <Times creation="2026-12-01T00:00:00.0000000+00:00" />
  <Results>
    <UnitTestResult executionId="e1" testId="t1" testName="Calc.Tests.Adds" duration="00:00:00.0010000" outcome="Passed" />
    <UnitTestResult executionId="e2" testId="t2" testName="Calc.Tests.Divides" outcome="Failed">
      <Output><ErrorInfo><Message>Assert.Equal() Failure
Expected: 1</Message><StackTrace>   at Calc.Tests.Divides() in /tree/CalcTests.cs:line 12</StackTrace></ErrorInfo></Output>
    </UnitTestResult>
    <UnitTestResult executionId="e3" testId="t3" testName="Calc.Tests.Later" outcome="NotExecuted"><Output><ErrorInfo><Message>skip</Message></ErrorInfo></Output></UnitTestResult>
  </Results>
  <ResultSummary outcome="Failed"><Counters total="3" executed="2" passed="1" failed="1" error="0" timeout="0" aborted="0" /></ResultSummary>
</TestRun>"#;

    #[test]
    fn results_and_places_are_read() {
        let tests = parse(SAMPLE.as_bytes()).unwrap();
        assert_eq!((tests.passed, tests.failed, tests.skipped, tests.faults.len()), (1, 1, 1, 0));
        let failed = &tests.failures[0];
        assert_eq!((failed.id().as_str(), failed.line), ("Calc.Tests.Divides", Some(12)));
        assert_eq!(
            (failed.path.as_deref(), failed.message.as_str()),
            (Some("/tree/CalcTests.cs"), "Assert.Equal() Failure\nExpected: 1")
        );
    }

    #[test]
    fn a_run_that_contradicts_its_counters_is_a_fault() {
        let run = |results: &str, summary: &str| {
            format!("<TestRun><Results>{results}</Results>{summary}</TestRun>")
        };
        let passed = "<UnitTestResult executionId=\"e\" testName=\"a\" outcome=\"Passed\"/>";
        for (text, wanted) in [
            (run(&passed.repeat(2), ""), "`a` is reported more than once"),
            (
                run(passed, "<ResultSummary outcome=\"Completed\"><Counters total=\"4\"/></ResultSummary>"),
                "has 4 tests and lists 1",
            ),
            (run(passed, "<ResultSummary outcome=\"Aborted\"/>"), "ended as `Aborted`"),
        ] {
            let tests = parse(text.as_bytes()).unwrap();
            assert!(tests.faults.iter().any(|fault| fault.contains(wanted)), "{text}: {:?}", tests.faults);
        }
        assert_eq!(
            parse(
                run(passed, "<ResultSummary><Counters total=\"1\" failed=\"1\"/></ResultSummary>").as_bytes()
            )
            .unwrap()
            .failed,
            1
        );
        assert_eq!(
            parse(run("<UnitTestResult testName=\"a\" outcome=\"Great\"/>", "").as_bytes()).unwrap().failed,
            1
        );
        assert!(parse(b"<testsuite/>").is_err());
    }
}
