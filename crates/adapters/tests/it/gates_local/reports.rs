//! Gates judged by reports: printed ones, ones in the directory that a run gets for them, forged ones, and tolerated failures.

use mosaic_core::domain::gates::TestCounts;
use mosaic_core::limits;

use super::*;

const PASSED: &str = "running 1 test\\ntest a ... ok\\n\\ntest result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out\\n";
const FAILED: &str = "running 2 tests\\ntest a ... ok\\ntest b ... FAILED\\n\\nfailures:\\n\\n---- b stdout ----\\nthread QbQ panicked at src/lib.rs:3:5:\\nno\\n\\n\
                      failures:\\n    b\\n\\ntest result: FAILED. 1 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out\\n";

/// Defines a gate that prints this text as libtest would, and ends with this code.
fn prints(text: &str, code: u8) -> String {
    let text = text.replace('Q', "\\047");
    format!("{{ run = '''printf \"{text}\"; exit {code}''', libtest = '-' }}")
}

#[tokio::test]
async fn a_report_is_read_from_the_output_and_agrees_with_the_exit_status() {
    let world = World::new();
    let passed = world.judge_one(&prints(PASSED, 0)).await;
    assert_eq!((passed.outcome, passed.summary.as_str()), (GateOutcome::Pass, "1 passed, 0 skipped"));
    assert_eq!(passed.tests, Some(TestCounts { passed: 1, failed: 0, skipped: 0, flaky: 0 }));
    for code in [0, 101] {
        let failed = world.judge_one(&prints(FAILED, code)).await;
        assert_eq!(failed.outcome, GateOutcome::Fail, "{failed:?}");
        assert_eq!(
            (failed.findings[0].line, failed.findings[0].message.as_str()),
            (Some(3), "b: no"),
            "{failed:?}"
        );
    }
    let contradicted = world.judge_one(&prints(PASSED, 1)).await;
    assert_eq!(contradicted.outcome, GateOutcome::Fail);
    assert!(
        contradicted.summary.starts_with("failed although its reports show no failure"),
        "{contradicted:?}"
    );
    for (text, why) in [
        ("", "no output"),
        ("running 1 test\\n", "cut off"),
        (
            "running 0 tests\\n\\ntest result: ok. 0 passed; 0 failed; 0 ignored; 0 measured; 3 filtered out\\n",
            "no test",
        ),
    ] {
        let red = world.judge_one(&prints(text, 0)).await;
        assert!(matches!(red.outcome, GateOutcome::Fail | GateOutcome::Error), "{why}: {red:?}");
    }
}

#[tokio::test]
async fn output_that_is_larger_than_its_bound_is_no_report() {
    let world = World::new();
    let run = format!(
        "head -c {} /dev/zero | tr \"\\\\0\" x; printf \"\\\\n{}\"",
        limits::PRINTED_REPORT_BYTES,
        PASSED.replace('\\', "\\\\")
    );
    let result =
        world.judge_one(&format!("{{ run = \"{}\", libtest = '-' }}", run.replace('"', "\\\""))).await;
    assert_eq!(result.outcome, GateOutcome::Error, "{result:?}");
    assert!(result.summary.contains("a part of it is missing"), "{}", result.summary);
}

#[tokio::test]
async fn a_run_gets_a_new_directory_for_its_reports_outside_of_the_checkout() {
    let world = World::new();
    let good = "<testsuite><testcase name=\"a\"/></testsuite>";
    let gate =
        |run: &str| format!("{{ run = \"{}\", junit = '{{reports}}/j.xml' }}", run.replace('"', "\\\""));
    let writes = format!("echo {{reports}}; echo '{good}' > {{reports}}/j.xml; test ! -e j.xml");
    let mut seen = BTreeSet::new();
    for _ in 0..2 {
        let result = world.judge_one(&gate(&writes)).await;
        assert_eq!(
            (result.outcome, result.summary.as_str()),
            (GateOutcome::Pass, "1 passed, 0 skipped"),
            "{result:?}"
        );
        let log = std::fs::read_to_string(world.home.path().join("logs/gate-1-gate")).unwrap();
        let path = log.lines().last().unwrap().to_owned();
        assert!(!Path::new(&path).starts_with(world.tree()) && !path.contains("mosaic-report"), "{path}");
        assert!(seen.insert(path), "each run has its own");
        std::fs::remove_file(world.home.path().join("logs/gate-1-gate")).unwrap();
    }
    // Neither a file in the checkout nor one of another run stands for it.
    std::fs::write(world.tree().join("j.xml"), good).unwrap();
    let none = world.judge_one(&gate("true")).await;
    assert_eq!(none.outcome, GateOutcome::Error, "{none:?}");
    assert!(none.summary.starts_with("no report: "), "{}", none.summary);
}

#[tokio::test]
async fn a_report_from_before_the_run_is_forged() {
    let world = World::new();
    let committed = world.tree().join("good.xml");
    std::fs::write(&committed, "<testsuite><testcase name=\"a\"/></testsuite>").unwrap();
    let hour_ago = SystemTime::now() - Duration::from_secs(3600);
    std::fs::File::options().write(true).open(&committed).unwrap().set_modified(hour_ago).unwrap();
    let result = world.judge_one("{ run = 'mv good.xml j.xml', junit = 'j.xml' }").await;
    assert_eq!(result.outcome, GateOutcome::Error, "{result:?}");
    assert!(result.summary.contains("older than the run"), "{}", result.summary);
    let twice = "<testsuite><testcase name=\"a\"/><testcase name=\"a\"/></testsuite>";
    let result = world
        .judge_one(&format!(
            "{{ run = '''printf \"%s\" \"{}\" > j.xml''', junit = 'j.xml' }}",
            twice.replace('"', "\\\"")
        ))
        .await;
    assert_eq!(result.outcome, GateOutcome::Fail, "{result:?}");
    assert!(result.findings[0].message.contains("`a` is reported more than once"), "{result:?}");
}

fn quarantined(test: &str, expires: &str) -> Vec<Quarantined> {
    let text = |text: &str| text.to_owned();
    vec![Quarantined {
        test: text(test),
        owner: text("ann"),
        reason: text("network"),
        expires: text(expires),
    }]
}

#[tokio::test]
async fn a_quarantined_failure_is_named_and_not_red_until_its_day_is_over() {
    let mut world = World::new();
    world.quarantine = quarantined("b", "9999-12-31");
    for code in [0, 101] {
        let result = world.judge_one(&prints(FAILED, code)).await;
        assert_eq!(result.outcome, GateOutcome::Pass, "{result:?}");
        assert!(result.summary.contains("(quarantined: b)") && result.findings.is_empty(), "{result:?}");
    }
    world.quarantine = quarantined("b", "2020-01-01");
    assert_eq!(world.judge_one(&prints(FAILED, 101)).await.outcome, GateOutcome::Fail);
    world.quarantine = quarantined("a", "9999-12-31");
    assert_eq!(world.judge_one(&prints(FAILED, 101)).await.outcome, GateOutcome::Fail);
}

#[tokio::test]
async fn a_test_that_only_its_retry_passed_is_flaky() {
    let mut world = World::new();
    let gate = "{ run = '''printf \"%s\" \"<testsuite><testcase name=\\\"a\\\"/><testcase name=\\\"b\\\"><flakyFailure message=\\\"once\\\"/></testcase></testsuite>\" > j.xml''', junit = 'j.xml' }";
    let result = world.judge_one(gate).await;
    assert_eq!(
        (result.outcome, result.findings[0].message.as_str()),
        (GateOutcome::Flaky, "b: once"),
        "{result:?}"
    );
    assert_eq!(result.tests.map(|tests| (tests.passed, tests.flaky)), Some((1, 1)));
    world.quarantine = quarantined("b", "9999-12-31");
    let result = world.judge_one(gate).await;
    assert_eq!(result.outcome, GateOutcome::Pass, "{result:?}");
}

#[tokio::test]
async fn changed_lines_have_a_floor_of_their_own() {
    let mut world = World::new();
    let gate = |min: u32| {
        let report = "SF:a.sh\\\\nDA:1,1\\\\nDA:2,1\\\\nDA:3,0\\\\nend_of_record\\\\n";
        format!(
            "{{ run = \"printf '{report}' > l\", reports = [{{ format = 'lcov', path = 'l', min = 50, min-changed = {min} }}] }}"
        )
    };
    let unknown = world.judge_one(&gate(50)).await;
    assert_eq!(unknown.outcome, GateOutcome::Error, "{unknown:?}");
    let lines =
        |ranges: &[(u64, u64)]| Some(vec![ChangedLines { path: "a.sh".to_owned(), ranges: ranges.to_vec() }]);
    world.changed = lines(&[(2, 3)]);
    let half = world.judge_one(&gate(50)).await;
    assert_eq!(
        (half.outcome, half.coverage.and_then(|coverage| coverage.changed)),
        (GateOutcome::Pass, Some(50.0))
    );
    assert_eq!(half.summary, "66.6% (floor 50%), changed lines 50.0% (floor 50%)");
    let low = world.judge_one(&gate(80)).await;
    assert_eq!(
        (low.outcome, low.findings[0].message.as_str()),
        (GateOutcome::Fail, "1 of 2 changed lines ran, at least 80% must")
    );
    world.changed = lines(&[(9, 9)]);
    let none = world.judge_one(&gate(80)).await;
    assert_eq!(
        (none.outcome, none.coverage.and_then(|coverage| coverage.changed)),
        (GateOutcome::Pass, None)
    );
}
