//! The same as an ordinary user: this test starts itself once more under a user that is not root.

use std::process::Command;

use mosaic_core::domain::gates::{GateOutcome, Isolation};
use mosaic_testkit::require;

use super::testbed::{Testbed, gate};

/// A user that nobody is.
const ORDINARY: &str = "64321";

#[test]
fn an_ordinary_user_isolates_gates_by_namespaces() {
    let is_root = rustix::process::geteuid().is_root();
    let setpriv = Command::new("setpriv").arg("--version").output().is_ok();
    if !require::have("mounts", is_root && setpriv, "root and the program setpriv, to be an ordinary user") {
        return;
    }
    let place = tempfile::tempdir().unwrap();
    std::os::unix::fs::chown(place.path(), Some(64_321), Some(64_321)).unwrap();
    let mut command = Command::new("setpriv");
    command
        .args(["--reuid", ORDINARY, "--regid", ORDINARY, "--clear-groups"])
        .arg(std::env::current_exe().unwrap());
    command.args([
        "--ignored",
        "--exact",
        "gates_isolated::unprivileged::as_an_ordinary_user",
        "--nocapture",
    ]);
    let output = command.env("TMPDIR", place.path()).env("HOME", place.path()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && text.contains("1 passed"),
        "{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[tokio::test]
#[ignore = "run by an_ordinary_user_isolates_gates_by_namespaces, as another user"]
async fn as_an_ordinary_user() {
    assert!(!rustix::process::geteuid().is_root());
    let testbed = Testbed::new();
    testbed.file("stop.py", "import os, signal; os.kill(os.getppid(), signal.SIGSTOP)");
    let data = testbed.path();
    let look = format!(
        "test ! -e {0} && test ! -e /proc/1/status && {{ kill -STOP 1; kill -KILL 1; }} 2> /dev/null; ! cat /proc/$PPID/environ 2> /dev/null && \
         touch here /tmp/x && ! touch /usr/x 2> /dev/null && pwd",
        data.display()
    );
    testbed.file("look.sh", &look);
    let report =
        testbed.judge(vec![gate("looks", "sh look.sh"), gate("stops", "python3 stop.py; true")]).await;
    assert_eq!((report.isolation, &report.warnings), (Isolation::Strong, &Vec::new()));
    assert_eq!(report.results[0].outcome, GateOutcome::Pass, "{:?}", report.results[0]);
    assert_eq!(testbed.log("gate-1-looks"), "/src\n");
    assert!(report.results[1].summary.contains("stopped its shell"), "{:?}", report.results[1]);
}
