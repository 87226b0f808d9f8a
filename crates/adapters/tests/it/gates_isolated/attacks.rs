//! Attacks of judged code on what judges it.

use mosaic_core::domain::gates::{GateOutcome, Isolation};

use super::testbed::{Testbed, can_isolate, gate, with_report};

/// A test runner that is honest: it imports the code, writes a red report and leaves the verdict to the report.
const RUNNER: &str = r#"
import code_under_test, time
open("report.xml", "w").write('<testsuite><testcase name="a"><failure message="red"/></testcase></testsuite>')
"#;

/// The code under test: leaves a process of its own behind, which stops the shell of the gate, waits for the report, forges it and
/// lets the shell go on.
const FORGER: &str = r#"
import os, signal, time
shell = os.getppid()
if os.fork() == 0:
    os.setsid()
    os.kill(shell, signal.SIGSTOP)
    open("stopped", "w").close()
    while not (os.path.exists("report.xml") and os.path.getsize("report.xml") > 50):
        time.sleep(0.01)
    open("report.xml", "w").write('<testsuite><testcase name="a"/></testsuite>')
    os.kill(shell, signal.SIGCONT)
    os._exit(0)
while not os.path.exists("stopped"):
    time.sleep(0.01)
"#;

fn attacked(testbed: &Testbed) {
    testbed.file("runner.py", RUNNER);
    // A module called `code` belongs to the standard library.
    testbed.file("code_under_test.py", FORGER);
}

#[tokio::test]
async fn code_that_stops_its_judges_shell_and_forges_the_report_passes_only_where_nothing_keeps_it_away() {
    let control = Testbed::new().weak();
    attacked(&control);
    let forged = with_report(gate("checks", "python3 runner.py; true"), "report.xml");
    let report = control.judge(vec![forged.clone()]).await;
    assert_eq!(report.isolation, Isolation::Weak);
    assert_eq!(report.results[0].outcome, GateOutcome::Pass, "the attack works: {:?}", report.results[0]);
    if !can_isolate() {
        return;
    }
    let testbed = Testbed::new();
    attacked(&testbed);
    let report = testbed.judge(vec![forged]).await;
    assert_eq!((report.isolation, &report.warnings), (Isolation::Strong, &Vec::new()));
    let result = &report.results[0];
    assert_eq!(result.outcome, GateOutcome::Error, "{result:?}");
    assert!(result.summary.contains("stopped its shell"), "{}", result.summary);
    assert_eq!(testbed.survivors(), Vec::<std::path::PathBuf>::new());
}

#[tokio::test]
async fn a_forger_that_the_shell_outlives_changes_nothing_after_the_end() {
    if !can_isolate() {
        return;
    }
    let testbed = Testbed::new();
    // It writes once more when the command is over and the report is about to be read.
    testbed.file(
        "late.sh",
        "setsid sh -c 'while :; do echo \"<testsuite><testcase name=\\\"a\\\"/></testsuite>\" > r.xml; done' &\n",
    );
    let red = "sh late.sh; echo '<testsuite><testcase name=\"a\"><failure/></testcase></testsuite>' > r.xml; exit 1";
    let result = testbed.judge_one(with_report(gate("checks", red), "r.xml")).await;
    assert_eq!(result.outcome, GateOutcome::Fail, "{result:?}");
    assert!(testbed.survivors().is_empty());
}

#[tokio::test]
async fn the_shell_cannot_be_traced_and_its_judge_cannot_be_seen() {
    if !can_isolate() {
        return;
    }
    let testbed = Testbed::new();
    let look = "sh=$PPID; test ! -e /proc/1/status && test ! -e /proc/$sh/mem && ! kill -STOP 1 2>/dev/null && \
                ! kill -KILL 1 2>/dev/null && ! cat /proc/$sh/environ 2>/dev/null";
    testbed.file("look.sh", look);
    // A second shell: the first one is what must not be reached.
    let result = testbed.judge_one(gate("checks", "sh look.sh && echo unreached")).await;
    assert_eq!(
        (result.outcome, testbed.log("gate-1-checks").as_str()),
        (GateOutcome::Pass, "unreached\n"),
        "{result:?}"
    );
}

#[tokio::test]
async fn the_servers_data_and_other_trees_are_not_there() {
    if !can_isolate() {
        return;
    }
    let testbed = Testbed::new();
    std::fs::write(testbed.path().join("secret"), "canary").unwrap();
    let data = testbed.path();
    let looks = format!(
        "test ! -e {0} && test ! -e /root/.ssh && test -z \"$(ls -A /home/user)\" && id -u",
        data.display()
    );
    let result = testbed.judge_one(gate("checks", &looks)).await;
    assert_eq!(result.outcome, GateOutcome::Pass, "{result:?}");
    let uid: u32 = testbed.log("gate-1-checks").trim().parse().unwrap();
    assert!(uid >= 1_000_000, "it is a user of its own: {uid}");
}
