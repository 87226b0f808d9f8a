//! Gates that misbehave: each is named, bounded and red, and nothing of it is left.

use std::path::PathBuf;
use std::process::Command;

use mosaic_core::domain::gates::{GateDefinition, GateOutcome, GateResult};
use mosaic_core::limits;
use mosaic_testkit::require;

use super::testbed::{Testbed, can_isolate, gate, with_report};

/// Judges by one gate and checks that nothing of it is left.
async fn red(testbed: &Testbed, gate: GateDefinition) -> GateResult {
    let result = testbed.judge_one(gate).await;
    assert!(matches!(result.outcome, GateOutcome::Error | GateOutcome::Fail), "{result:?}");
    assert_eq!(testbed.survivors(), Vec::<PathBuf>::new(), "nothing is left");
    testbed.fresh();
    result
}

#[tokio::test]
async fn a_gate_that_hangs_is_ended_with_everything_that_it_started() {
    if !can_isolate() {
        return;
    }
    let testbed = Testbed::new();
    let hangs =
        GateDefinition { timeout_ms: 500, ..gate("checks", "trap '' TERM; setsid sleep 600 & sleep 600") };
    assert_eq!(red(&testbed, hangs).await.summary, "timed out after 500ms");
}

#[tokio::test]
async fn a_gate_that_prints_without_end_judges_nothing() {
    let testbed = Testbed::new();
    let floods = format!("head -c {} /dev/zero | tr '\\0' x", limits::GATE_OUTPUT_BYTES + 1);
    let result = red(&testbed, gate("checks", &floods)).await;
    assert!(result.summary.starts_with("printed "), "{}", result.summary);
    let log = std::fs::metadata(testbed.path().join("logs/gate-1-checks")).unwrap().len();
    // The supervisor's mark for what is left out comes on top.
    assert!(log <= limits::GATE_LOG_BYTES + 1024, "{log}");
}

#[tokio::test]
async fn a_gate_that_leaves_daemons_judges_nothing_and_loses_them() {
    if !can_isolate() {
        return;
    }
    let testbed = Testbed::new();
    let daemon = "setsid sh -c '(sleep 600 &) ; exec sleep 600' > /dev/null 2>&1 & exit 0";
    let result = red(&testbed, gate("checks", daemon)).await;
    assert!(result.summary.starts_with("left processes running"), "{}", result.summary);
    // One that ends by itself in a moment is no daemon.
    let passing = testbed.judge_one(gate("checks", "(sleep 0.2 &) ; exit 0")).await;
    assert_eq!(passing.outcome, GateOutcome::Pass, "{passing:?}");
}

#[tokio::test]
async fn a_gate_whose_child_kills_its_parents_is_red() {
    if !can_isolate() {
        return;
    }
    let testbed = Testbed::new();
    testbed.file("kill.py", "import os, signal; os.kill(os.getppid(), signal.SIGKILL)");
    assert_eq!(red(&testbed, gate("checks", "python3 kill.py; true")).await.summary, "ended by signal 9");
    testbed.file("kill.py", "import os, signal; os.kill(-1, signal.SIGKILL)");
    assert_eq!(red(&testbed, gate("checks", "python3 kill.py; true")).await.summary, "ended by signal 9");
}

#[tokio::test]
async fn a_gate_that_stops_everything_it_reaches_is_red() {
    if !can_isolate() {
        return;
    }
    let testbed = Testbed::new();
    for whom in ["os.getppid()", "-1", "0"] {
        testbed.file("stop.py", &format!("import os, signal; os.kill({whom}, signal.SIGSTOP)"));
        let run = if whom == "0" { "python3 stop.py" } else { "python3 stop.py; true" };
        let result = red(&testbed, gate("checks", run)).await;
        assert!(result.summary.contains("stopped its shell"), "{whom}: {}", result.summary);
    }
}

#[tokio::test]
async fn a_fork_bomb_is_bounded_for_its_user() {
    if !can_isolate() {
        return;
    }
    let testbed = Testbed { most_processes: 200, ..Testbed::new() };
    testbed.file(
        "bomb.py",
        "import os, time\nwhile True:\n    try: os.fork()\n    except OSError: time.sleep(0.05)\n",
    );
    let bomb = GateDefinition { timeout_ms: 3000, ..gate("checks", "python3 bomb.py") };
    let result = red(&testbed, bomb).await;
    assert_eq!(result.outcome, GateOutcome::Error, "{result:?}");
    // Below the supervisor's own bound the kernel refuses what is beyond the user's.
    let testbed = Testbed { most_processes: 1000, ..testbed };
    testbed.file(
        "count.py",
        "import os, sys, time\nn = 0\ntry:\n    while True:\n        if os.fork() == 0: time.sleep(600)\n        n += 1\n\
         except OSError:\n    print(n)\n    sys.stdout.flush()\n    os.kill(-1, 9)\n",
    );
    red(&testbed, gate("count", "python3 count.py")).await;
    let forked: u32 = testbed.log("gate-1-count").trim().parse().unwrap();
    assert!(forked < 256, "{forked}");
}

#[tokio::test]
async fn a_pipe_in_the_place_of_a_report_holds_nobody() {
    let testbed = Testbed::new();
    let result = red(&testbed, with_report(gate("checks", "mkfifo r.xml"), "r.xml")).await;
    assert_eq!(result.summary, "report r.xml is not a regular file");
}

/// A small disk that is unmounted at the end.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn mount() -> Option<Self> {
        let place = tempfile::tempdir().ok()?;
        let done =
            Command::new("mount").args(["-t", "tmpfs", "-o", "size=96m", "tmpfs"]).arg(place.path()).status();
        done.is_ok_and(|done| done.success()).then_some(Self(place))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let done = Command::new("umount").arg("-l").arg(self.0.path()).status();
        assert!(done.is_ok_and(|done| done.success()), "the small disk is unmounted");
    }
}

#[tokio::test]
async fn a_gate_that_fills_the_disk_is_ended_before_it_is_full() {
    let disk = SmallDisk::mount();
    if !require::have("mounts", disk.is_some(), "the right to mount") {
        return;
    }
    let disk = disk.unwrap();
    let testbed = Testbed::in_place(tempfile::tempdir_in(disk.0.path()).unwrap());
    // Slowly enough that it stands at the bound when it is looked at: it goes on until somebody ends it.
    testbed.file(
        "fill.py",
        "import time\nf = open('big', 'wb')\nfor _ in range(60): f.write(b'x' * (1 << 20)); f.flush()\ntime.sleep(600)\n",
    );
    let result = red(&testbed, gate("checks", "python3 fill.py")).await;
    assert!(result.summary.contains("filled the disk"), "{}", result.summary);
    // One that is faster meets the end of the disk itself, and its end can be recorded all the same.
    let result = red(&testbed, gate("checks", "cat /dev/zero > big")).await;
    assert!(result.summary.contains("filled the disk"), "{}", result.summary);
    drop(testbed);
}
