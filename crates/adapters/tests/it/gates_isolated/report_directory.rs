//! The directory that a run gets for its reports, as the isolated command sees it.

use mosaic_core::domain::gates::{GateDefinition, GateOutcome, ReportSpec, Verdict};

use super::testbed::{Testbed, gate, with_report};

const GOOD: &str = "<testsuite><testcase name=\"a\"/></testsuite>";

#[tokio::test]
async fn an_isolated_run_writes_into_its_own_directory_and_nothing_else_is_read() {
    let testbed = Testbed::new();
    let run = format!("case {{reports}} in /tmp/*) ;; *) exit 7;; esac; echo '{GOOD}' > {{reports}}/j.xml");
    let result = testbed.judge_one(with_report(gate("tests", &run), "{reports}/j.xml")).await;
    assert_eq!(
        (result.outcome, result.summary.as_str()),
        (GateOutcome::Pass, "1 passed, 0 skipped"),
        "{result:?}"
    );
    testbed.fresh();
    // Another directory in its place, and a link in it, are not what the run was given.
    let swapped = format!(
        "mv {{reports}} /tmp/moved && mkdir {{reports}} && echo '{GOOD}' > {{reports}}/j.xml && ln -s {{reports}}/j.xml /tmp/moved/j.xml"
    );
    let result = testbed.judge_one(with_report(gate("lint", &swapped), "{reports}/j.xml")).await;
    assert_eq!(result.outcome, GateOutcome::Error, "{result:?}");
}

#[tokio::test]
async fn a_later_gate_reads_what_the_run_wrote_into_its_directory_and_places_are_those_of_the_repository() {
    let testbed = Testbed::new();
    testbed.file("a.sh", "true\nfalse\n");
    let lcov = ReportSpec { min: Some(60.0), ..ReportSpec::new("lcov".parse().unwrap(), "{reports}/l") };
    let coverage = GateDefinition { run: None, reports: vec![lcov], ..gate("coverage", "") };
    let tests = gate("tests", "printf \"SF:$PWD/a.sh\\nDA:1,1\\nDA:2,0\\nend_of_record\\n\" > {reports}/l");
    let report = testbed.judge(vec![tests, coverage]).await;
    let result = &report.results[1];
    assert_eq!((result.summary.as_str(), report.verdict), ("50.0% < 60%", Verdict::Failed), "{report:?}");
    assert_eq!((result.findings[0].path.as_deref(), result.findings[0].line), (Some("a.sh"), Some(2)));
}
