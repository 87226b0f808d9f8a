//! The JSON report of mocha (`--reporter json`): lists of what passed, failed and is pending.

use serde::Deserialize;
use serde::de::MapAccess;

use super::jest::message_line;
use super::json::{self, Each, Fields};
use super::malformed::Malformed;
use super::results::{CaseOutcome, Collector, FailedTest, Names, Tests};

/// Reads a report, or the output of a command that printed it.
pub(super) fn parse(bytes: &[u8]) -> Result<Tests, Malformed> {
    json::within(bytes, document)
}

fn document(bytes: &[u8]) -> Result<Tests, Malformed> {
    let mut report =
        Report { collector: Collector::new(Names::Titles), stats: None, lists: 0, passes: 0, failures: 0 };
    json::document(bytes, &mut report)?;
    let Some(stats) = report.stats.filter(|_| report.lists >= 2) else {
        return Err(Malformed::NotOfFormat(
            "JSON report of mocha (no \"stats\" with \"passes\" and \"failures\")",
        ));
    };
    let mut tests = report.collector.tests;
    tests.failed = tests.failed.max(stats.failures);
    if stats.passes > report.passes || stats.failures > report.failures {
        let listed = format!("lists {} and {}", report.passes, report.failures);
        tests.fault(format!(
            "it has {} passed and {} failed tests and {listed}",
            stats.passes, stats.failures
        ));
    }
    Ok(tests)
}

struct Report {
    collector: Collector,
    stats: Option<Stats>,
    lists: u8,
    passes: u64,
    failures: u64,
}

#[derive(Deserialize)]
struct Stats {
    passes: u64,
    failures: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Test {
    #[serde(default)]
    full_title: String,
    file: Option<String>,
    current_retry: Option<u64>,
    err: Option<Thrown>,
}

#[derive(Deserialize, Default)]
struct Thrown {
    message: Option<String>,
    stack: Option<String>,
}

impl Fields for Report {
    fn field<'de, M: MapAccess<'de>>(&mut self, key: &str, map: &mut M) -> Result<(), M::Error> {
        let outcome = match key {
            "stats" => {
                self.stats = Some(map.next_value()?);
                return Ok(());
            }
            "passes" => CaseOutcome::Passed,
            "failures" => CaseOutcome::Failed,
            "pending" => CaseOutcome::Skipped,
            _ => return json::skip(map),
        };
        self.lists = self.lists.saturating_add(u8::from(outcome != CaseOutcome::Skipped));
        let (collector, mut count) = (&mut self.collector, 0);
        map.next_value_seed(Each::new(|test| {
            count += 1;
            add(collector, outcome, test)
        }))?;
        match outcome {
            CaseOutcome::Passed => self.passes += count,
            CaseOutcome::Failed => self.failures += count,
            _ => {}
        }
        Ok(())
    }
}

fn add(collector: &mut Collector, outcome: CaseOutcome, test: Test) -> Result<(), Malformed> {
    let outcome = match outcome {
        CaseOutcome::Passed if test.current_retry.is_some_and(|retry| retry > 0) => CaseOutcome::Flaky,
        other => other,
    };
    let Thrown { message, stack } = test.err.unwrap_or_default();
    let path = test.file.unwrap_or_default();
    let line = stack.as_deref().and_then(|stack| message_line(stack, &path));
    let message = message.filter(|text| !text.is_empty()).or(stack).unwrap_or_else(|| match outcome {
        CaseOutcome::Flaky => "failed, and passed when mocha ran it again".to_owned(),
        _ => "failed".to_owned(),
    });
    let path_told = (!path.is_empty()).then(|| path.clone());
    let case = FailedTest { group: String::new(), name: test.full_title, path: path_told, line, message };
    collector.add(&path, outcome, case)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLE: &str = r#"{
  "stats": {"suites": 1, "tests": 4, "passes": 2, "pending": 1, "failures": 1, "start": "2026-12-01T00:00:00.000Z", "end": "2026-12-01T00:00:00.006Z", "duration": 6},
  "tests": [{"title": "adds", "fullTitle": "calc adds", "file": "/tree/test/calc.js", "currentRetry": 0, "err": {}}],
  "pending": [{"title": "later", "fullTitle": "calc later", "file": "/tree/test/calc.js", "currentRetry": 0, "err": {}}],
  "failures": [{"title": "divides", "fullTitle": "calc divides", "file": "/tree/test/calc.js", "duration": 1, "currentRetry": 0,
    "err": {"stack": "AssertionError [ERR_ASSERTION]: 1 == 2\n    at Context.<anonymous> (/tree/test/calc.js:9:12)", "message": "1 == 2", "code": "ERR_ASSERTION"}}],
  "passes": [{"title": "adds", "fullTitle": "calc adds", "file": "/tree/test/calc.js", "currentRetry": 0, "speed": "fast", "err": {}},
    {"title": "shakes", "fullTitle": "calc shakes", "file": "/tree/test/calc.js", "currentRetry": 1, "speed": "fast", "err": {}}]
}"#;

    #[test]
    fn tests_failures_and_retries_are_read() {
        let tests = parse(SAMPLE.as_bytes()).unwrap();
        assert_eq!(
            (tests.passed, tests.failed, tests.skipped, tests.flaky, tests.faults.len()),
            (1, 1, 1, 1, 0)
        );
        let failed = &tests.failures[0];
        assert_eq!(
            (failed.name.as_str(), failed.line, failed.message.as_str()),
            ("calc divides", Some(9), "1 == 2")
        );
        let printed = format!("\n> calc@1.0.0 test\n> mocha --reporter json\n\n{SAMPLE}\n");
        assert_eq!(parse(printed.as_bytes()).unwrap(), tests);
    }

    #[test]
    fn lists_that_are_shorter_than_their_numbers_are_a_fault() {
        let cut = r#"{"stats": {"passes": 3, "failures": 0}, "passes": [], "failures": []}"#;
        assert!(parse(cut.as_bytes()).unwrap().faults[0].contains("3 passed"));
        assert_eq!(
            parse(br#"{"stats": {"passes": 0, "failures": 2}, "passes": [], "failures": []}"#)
                .unwrap()
                .failed,
            2
        );
        assert!(parse(br#"{"stats": {"passes": 3, "failures": 0}}"#).is_err());
    }
}
