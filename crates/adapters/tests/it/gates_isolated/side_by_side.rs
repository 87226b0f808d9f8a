//! Several gates of one judgement: their order, their needs, and tests that change their mind.

use std::time::{Duration, Instant};

use mosaic_core::domain::gates::{GateDefinition, GateOutcome, GateReport, ReportSpec, Verdict};

use super::testbed::{Testbed, gate, with_report};

fn outcomes(report: &GateReport) -> Vec<(&str, GateOutcome)> {
    report.results.iter().map(|result| (result.name.as_str(), result.outcome)).collect()
}

fn needing(gate: GateDefinition, needs: &[&str]) -> GateDefinition {
    GateDefinition { needs: needs.iter().map(|need| need.parse().unwrap()).collect(), ..gate }
}

#[tokio::test]
async fn independent_gates_run_side_by_side_and_are_reported_in_the_order_of_the_plan() {
    let testbed = Testbed { at_once: 3, ..Testbed::new() }.weak();
    // Each waits until the other two run: one after the other none would end.
    let meet = |own: &str| {
        let place = testbed.path().join("meeting");
        std::fs::create_dir_all(&place).unwrap();
        let place = place.display();
        format!("touch {place}/{own}; while [ $(ls {place} | wc -l) -lt 3 ]; do sleep 0.02; done")
    };
    let gates = ["c", "a", "b"].map(|name| gate(name, &meet(name))).to_vec();
    let report = testbed.judge(gates).await;
    let pass = GateOutcome::Pass;
    assert_eq!(outcomes(&report), [("c", pass), ("a", pass), ("b", pass)]);
}

#[tokio::test]
async fn no_more_gates_than_the_bound_run_at_once() {
    let testbed = Testbed { at_once: 1, ..Testbed::new() }.weak();
    let lock = testbed.path().join("lock");
    let alone = format!("mkdir {0} && sleep 0.2 && rmdir {0}", lock.display());
    let report = testbed.judge(["a", "b", "c"].map(|name| gate(name, &alone)).to_vec()).await;
    assert_eq!(report.verdict, Verdict::Passed, "{report:?}");
}

#[tokio::test]
async fn a_gate_whose_need_failed_is_not_run_and_says_which() {
    let testbed = Testbed::new();
    let gates = vec![
        needing(gate("late", "true"), &["early"]),
        gate("early", "exit 1"),
        needing(gate("later", "true"), &["late"]),
        needing(gate("fine", "true"), &["other"]),
        gate("other", "true"),
    ];
    let report = testbed.judge(gates).await;
    let (pass, fail, skip) = (GateOutcome::Pass, GateOutcome::Fail, GateOutcome::Skip);
    let wanted = [("late", skip), ("early", fail), ("later", skip), ("fine", pass), ("other", pass)];
    assert_eq!(outcomes(&report), wanted);
    assert_eq!(report.results[0].summary, "not run: it needs early, which failed");
    assert_eq!(report.results[0].log, None);
    assert_eq!(report.results[2].summary, "not run: it needs late, which was not run");
}

#[tokio::test]
async fn a_gate_without_a_command_reads_the_reports_of_the_gate_it_needs() {
    let testbed = Testbed::new();
    let lcov = ReportSpec { min: Some(50.0), ..ReportSpec::new("lcov".parse().unwrap(), "l.info") };
    let coverage = GateDefinition { run: None, reports: vec![lcov], ..gate("coverage", "") };
    let tests = gate("tests", "printf 'SF:a\\nDA:1,1\\nDA:2,0\\nend_of_record\\n' > l.info");
    let report = testbed.judge(vec![needing(coverage, &["tests"]), tests]).await;
    assert_eq!(report.results[0].summary, "50.0% (floor 50%)");
    assert_eq!(report.verdict, Verdict::Passed);
}

#[tokio::test]
async fn tests_that_fail_and_then_pass_on_the_same_tree_are_flaky_and_red() {
    let testbed = Testbed::new().weak();
    let marker = testbed.path().join("second");
    let suite = |case: &str| format!("echo '<testsuite><testcase name=\"{case}</testsuite>' > r.xml");
    let (red, green) = (suite("sum\"><failure message=\"no\"/></testcase>"), suite("sum\"/>"));
    let run = format!("if [ -e {0} ]; then {green}; else touch {0}; {red}; exit 1; fi", marker.display());
    let report = testbed.judge(vec![with_report(gate("tests", &run), "r.xml"), gate("lint", "exit 1")]).await;
    let result = &report.results[0];
    assert_eq!((result.outcome, report.verdict), (GateOutcome::Flaky, Verdict::Failed), "{result:?}");
    assert!(
        result.summary.starts_with("flaky: first 1 failed") && result.summary.contains("then 1 passed"),
        "{result:?}"
    );
    assert_eq!(result.findings[0].message, "failed and then passed on the same tree: sum: no");
    assert!(testbed.path().join("logs/gate-1-tests-again").exists());
    assert!(!testbed.path().join("logs/gate-1-lint-again").exists(), "only tests change their mind");
}

#[tokio::test]
async fn tests_that_fail_twice_failed_and_an_error_is_not_repeated() {
    let testbed = Testbed::new();
    let hangs = GateDefinition { timeout_ms: 200, ..gate("integration", "sleep 60") };
    let report = testbed.judge(vec![gate("tests", "exit 1"), hangs]).await;
    assert_eq!(outcomes(&report), [("tests", GateOutcome::Fail), ("integration", GateOutcome::Error)]);
    let logs = |name: &str| testbed.path().join("logs").join(name).exists();
    assert!(logs("gate-1-tests-again") && !logs("gate-1-integration-again"));
}

#[tokio::test]
async fn the_log_of_a_gate_grows_while_it_runs() {
    let testbed = Testbed::new().weak();
    let go = testbed.path().join("go");
    let run = format!("echo first; while [ ! -e {} ]; do sleep 0.02; done; echo last", go.display());
    let log = testbed.path().join("logs/gate-1-checks");
    let look = async {
        let deadline = Instant::now() + Duration::from_secs(60);
        while std::fs::read_to_string(&log).unwrap_or_default() != "first\n" {
            assert!(Instant::now() < deadline, "nothing was written while it ran");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        std::fs::write(&go, "").unwrap();
    };
    let (result, ()) = tokio::join!(testbed.judge_one(gate("checks", &run)), look);
    assert_eq!(result.outcome, GateOutcome::Pass);
    assert_eq!(testbed.log("gate-1-checks"), "first\nlast\n");
}
