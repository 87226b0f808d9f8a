//! The JSON report of jest (`--json`), which vitest's reporter `json` writes, too: files with their assertions.

use mosaic_core::limits;
use serde::Deserialize;
use serde::de::MapAccess;

use super::json::{self, AtMost, Each, Fields};
use super::lines;
use super::malformed::Malformed;
use super::results::{CaseOutcome, Collector, FailedTest, Names, Tests};

/// Reads a report, or the output of a command that printed it.
pub(super) fn parse(bytes: &[u8]) -> Result<Tests, Malformed> {
    json::within(bytes, document)
}

fn document(bytes: &[u8]) -> Result<Tests, Malformed> {
    let mut report =
        Report { collector: Collector::new(Names::Titles), claims: Claims::default(), files: false };
    json::document(bytes, &mut report)?;
    if !report.files {
        return Err(Malformed::NotOfFormat("JSON report of jest or vitest (no \"testResults\")"));
    }
    let (listed, mut tests) = (report.collector.cases(), report.collector.tests);
    let claims = report.claims;
    // What its own numbers say stands, when it lists less.
    tests.failed = tests.failed.max(claims.failed);
    if claims.total.is_some_and(|total| total > listed) {
        let total = claims.total.unwrap_or_default();
        tests.fault(format!("it has {total} tests and lists {listed}"));
    }
    if claims.interrupted {
        tests.fault("the run was interrupted");
    }
    if claims.success == Some(false) && tests.failed == 0 {
        tests.fault("it says that the run failed, and lists no failed test");
    }
    Ok(tests)
}

struct Report {
    collector: Collector,
    claims: Claims,
    files: bool,
}

/// Numbers and verdict of the report about itself.
#[derive(Default)]
struct Claims {
    total: Option<u64>,
    failed: u64,
    success: Option<bool>,
    interrupted: bool,
}

/// One file of tests.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct File {
    name: Option<String>,
    status: Option<String>,
    message: Option<String>,
    #[serde(default)]
    assertion_results: AtMost<Assertion, { limits::REPORT_TESTS }>,
}

/// One test.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Assertion {
    #[serde(default)]
    ancestor_titles: AtMost<String, 256>,
    #[serde(default)]
    title: String,
    status: String,
    #[serde(default)]
    failure_messages: Option<AtMost<String, 256>>,
    location: Option<Location>,
    /// Number of tries, of jest.
    invocations: Option<u64>,
    /// Errors of the tries before the last, of jest.
    #[serde(default)]
    retry_reasons: Option<AtMost<String, 256>>,
}

#[derive(Deserialize)]
struct Location {
    line: u64,
}

impl Fields for Report {
    fn field<'de, M: MapAccess<'de>>(&mut self, key: &str, map: &mut M) -> Result<(), M::Error> {
        match key {
            "testResults" => {
                self.files = true;
                let collector = &mut self.collector;
                return map.next_value_seed(Each::new(|file| add(collector, file)));
            }
            "numTotalTests" => self.claims.total = Some(map.next_value()?),
            "numFailedTests" => self.claims.failed = self.claims.failed.max(map.next_value()?),
            "success" => self.claims.success = Some(map.next_value()?),
            "wasInterrupted" => self.claims.interrupted |= map.next_value::<bool>()?,
            _ => return json::skip(map),
        }
        Ok(())
    }
}

fn add(collector: &mut Collector, file: File) -> Result<(), Malformed> {
    let path = file.name.unwrap_or_default();
    let failed_before = collector.tests.failed;
    for assertion in file.assertion_results.0 {
        let messages = assertion.failure_messages.map(|messages| messages.0).unwrap_or_default();
        let retries = assertion.retry_reasons.map(|reasons| reasons.0).unwrap_or_default();
        // A test that passed and has failures had them at an earlier try: vitest keeps them.
        let retried = assertion.invocations.is_some_and(|tries| tries > 1)
            || !retries.is_empty()
            || !messages.is_empty();
        let outcome = match assertion.status.as_str() {
            "passed" if retried => CaseOutcome::Flaky,
            "passed" => CaseOutcome::Passed,
            "failed" => CaseOutcome::Failed,
            "skipped" | "pending" | "todo" | "disabled" => CaseOutcome::Skipped,
            _ => return Err(Malformed::Document("has a test with an unknown status")),
        };
        let message = messages.into_iter().chain(retries).next().unwrap_or_else(|| match outcome {
            CaseOutcome::Flaky => "failed, and passed when it was run again".to_owned(),
            _ => "failed".to_owned(),
        });
        let line = message_line(&message, &path).or(assertion.location.map(|location| location.line));
        let mut titles = assertion.ancestor_titles.0;
        titles.retain(|title| !title.is_empty());
        titles.push(assertion.title);
        let name = titles.join(" > ");
        let test = FailedTest { group: String::new(), name, path: some(&path), line, message };
        collector.add(&path, outcome, test)?;
    }
    // A file that could not be loaded has no assertion of its own.
    if file.status.as_deref() == Some("failed") && collector.tests.failed == failed_before {
        let message = file
            .message
            .filter(|text| !text.trim().is_empty())
            .unwrap_or_else(|| "the file failed".to_owned());
        let test = FailedTest {
            name: format!("{path} (file)"),
            path: some(&path),
            message,
            ..FailedTest::default()
        };
        collector.add(&path, CaseOutcome::Failed, test)?;
    }
    Ok(())
}

fn some(path: &str) -> Option<String> {
    (!path.is_empty()).then(|| path.to_owned())
}

/// Returns the line of the file's own frame in a stack: `at Object.<anonymous> (/tree/a.test.js:5:17)`.
pub(super) fn message_line(message: &str, path: &str) -> Option<u64> {
    if path.is_empty() {
        return None;
    }
    let after = message.find(&format!("{path}:")).map(|at| &message[at + path.len() + 1..])?;
    lines::number(after).map(|(line, _)| line)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Tests {
        parse(text.as_bytes()).expect("it is read")
    }

    const JEST: &str = r#"{"numFailedTestSuites":1,"numFailedTests":1,"numPassedTests":2,"numPendingTests":1,"numTodoTests":0,"numTotalTests":4,"openHandles":[],"success":false,"wasInterrupted":false,
"testResults":[{"assertionResults":[
{"ancestorTitles":["calc"],"duration":2,"failureMessages":[],"fullName":"calc adds","invocations":1,"location":null,"numPassingAsserts":1,"retryReasons":[],"status":"passed","title":"adds"},
{"ancestorTitles":["calc"],"failureMessages":["Error: expect(received).toBe(expected)\n    at Object.toBe (/tree/calc.test.js:5:17)"],"fullName":"calc divides","invocations":1,"location":null,"retryReasons":[],"status":"failed","title":"divides"},
{"ancestorTitles":["calc"],"failureMessages":[],"fullName":"calc shakes","invocations":2,"location":null,"retryReasons":["Error: once"],"status":"passed","title":"shakes"},
{"ancestorTitles":[],"failureMessages":[],"fullName":"later","location":null,"status":"pending","title":"later"}],
"endTime":2,"message":"","name":"/tree/calc.test.js","startTime":1,"status":"failed","summary":""}]}"#;

    #[test]
    fn tests_failures_and_retries_of_jest_are_read() {
        let tests = read(JEST);
        assert_eq!(
            (tests.passed, tests.failed, tests.skipped, tests.flaky, tests.faults.len()),
            (1, 1, 1, 1, 0)
        );
        let failed = &tests.failures[0];
        assert_eq!((failed.name.as_str(), failed.line), ("calc > divides", Some(5)));
        assert_eq!(failed.path.as_deref(), Some("/tree/calc.test.js"));
        assert_eq!(
            (tests.flakes[0].name.as_str(), tests.flakes[0].message.as_str()),
            ("calc > shakes", "Error: once")
        );
        let printed = format!("> calc@1.0.0 test\n> jest --json\n\n{}\n", JEST.replace('\n', ""));
        assert_eq!(read(&printed), tests);
    }

    #[test]
    fn a_passed_test_of_vitest_with_failures_is_flaky() {
        let text = r#"{"numTotalTests":1,"numFailedTests":0,"success":true,"testResults":[{"assertionResults":[{"ancestorTitles":["calc"],"fullName":"calc a","status":"passed","title":"a","duration":1,"failureMessages":["AssertionError: expected 1 to be 2"],"meta":{}}],"status":"passed","message":"","name":"/tree/a.test.ts"}]}"#;
        assert_eq!(read(text).flaky, 1);
    }

    #[test]
    fn a_file_that_cannot_be_loaded_has_failed() {
        let text = r#"{"numTotalTests":0,"numFailedTests":0,"success":false,"testResults":[{"assertionResults":[],"message":"Test suite failed to run","name":"/tree/a.test.js","status":"failed"}]}"#;
        let tests = read(text);
        assert_eq!((tests.failed, tests.failures[0].message.as_str()), (1, "Test suite failed to run"));
    }

    #[test]
    fn what_contradicts_itself_is_a_fault() {
        let one = r#"{"status":"passed","title":"a"}"#;
        for (fields, wanted) in [
            (r#""numTotalTests":5,"success":true"#, "has 5 tests and lists 1"),
            (r#""success":false"#, "lists no failed test"),
            (r#""wasInterrupted":true"#, "interrupted"),
        ] {
            let tests =
                read(&format!(r#"{{{fields},"testResults":[{{"name":"a","assertionResults":[{one}]}}]}}"#));
            assert!(tests.faults.iter().any(|fault| fault.contains(wanted)), "{fields}: {:?}", tests.faults);
        }
        let claimed = read(r#"{"numFailedTests":3,"testResults":[]}"#);
        assert_eq!(claimed.failed, 3);
        assert!(parse(b"{}").is_err());
        assert!(parse(br#"{"testResults":[{"assertionResults":[{"status":"great"}]}]}"#).is_err());
    }

    #[test]
    fn one_title_that_comes_twice_in_a_file_counts_once() {
        let one = r#"{"status":"passed","title":"a"},{"status":"passed","title":"a"}"#;
        let tests = read(&format!(
            r#"{{"numTotalTests":2,"testResults":[{{"name":"a","assertionResults":[{one}]}}]}}"#
        ));
        assert_eq!((tests.passed, tests.faults.len()), (1, 0));
    }
}
