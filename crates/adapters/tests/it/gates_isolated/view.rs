//! The view of a gate: nothing that tells that it is judged, and everything that it needs.

use mosaic_core::domain::gates::{GateDefinition, GateOutcome};

use super::testbed::{Testbed, can_isolate, gate};

#[tokio::test]
async fn nothing_that_a_gate_sees_says_that_it_is_judged() {
    if !can_isolate() {
        return;
    }
    let testbed = Testbed::new();
    let look = "env; pwd; cat /proc/self/mountinfo /proc/self/cgroup /proc/mounts; cat /proc/$PPID/cmdline /proc/1/cmdline; \
                ps -ef; hostname; whoami; id; ls -la / /src /home /home/user /tmp /run /var /dev; df; cat /etc/passwd; \
                cat /proc/*/comm; tr '\\0' ' ' < /proc/self/environ";
    let result = testbed.judge_one(gate("checks", &format!("{look}; true"))).await;
    assert_eq!(result.outcome, GateOutcome::Pass, "{result:?}");
    let log = testbed.log("gate-1-checks").to_lowercase();
    assert!(log.contains("\n/src\n"), "{log}");
    for telling in ["mosaic", "judge", "gate", "shim", &testbed.agent.to_string()] {
        // The path of the data directory in the table of mounts is the file system's own and cannot be hidden; below it stands the
        // agent's directory, of which this is the one exception.
        let lines = log.lines().filter(|line| line.contains(telling) && !line.contains("/agents/"));
        assert_eq!(lines.collect::<Vec<_>>(), Vec::<&str>::new(), "{telling}");
    }
    for telling in ["mosaic", "judge", "gate", "shim"] {
        assert!(!log.contains(telling), "{telling} in {log}");
    }
}

#[tokio::test]
async fn a_gate_gets_the_variables_it_asks_for_and_writes_where_programs_write() {
    if !can_isolate() {
        return;
    }
    let testbed = Testbed::new();
    let run = "test \"$ASKED_FOR\" = given && test -z \"${NOT_ASKED_FOR+x}\" && echo err > /dev/stderr && echo out > /dev/stdout && \
               touch here /tmp/x /var/tmp/y \"$HOME/z\" /dev/shm/s && test -w . && ! touch /usr/x 2>/dev/null && \
               test \"$(stat -c %u .)\" = \"$(id -u)\" && python3 -c 'import multiprocessing as m; m.Lock(); import pty; pty.openpty()'";
    let asks =
        GateDefinition { env: vec!["ASKED_FOR".to_owned(), "SECRET".to_owned()], ..gate("checks", run) };
    let result = testbed.judge_one(asks).await;
    assert_eq!(result.outcome, GateOutcome::Pass, "{result:?}");
    assert_eq!(testbed.log("gate-1-checks"), "err\nout\n");
}

#[tokio::test]
async fn git_works_in_the_checkout_of_another_user() {
    if !can_isolate() {
        return;
    }
    let testbed = Testbed::new();
    let git = |args: &[&str]| {
        let done = std::process::Command::new("git").args(args).current_dir(testbed.tree()).output().unwrap();
        assert!(done.status.success(), "{done:?}");
    };
    testbed.file("a.txt", "one\n");
    git(&["init", "-q"]);
    git(&["add", "-A"]);
    git(&["-c", "user.name=a", "-c", "user.email=a@b.c", "commit", "-qm", "judged"]);
    // The objects are borrowed, as those of a real checkout are, from a directory that only root may enter.
    let store = testbed.path().join("store");
    std::fs::create_dir(&store).unwrap();
    std::fs::rename(testbed.tree().join(".git/objects"), store.join("objects")).unwrap();
    std::fs::create_dir_all(testbed.tree().join(".git/objects/info")).unwrap();
    std::fs::write(
        testbed.tree().join(".git/objects/info/alternates"),
        format!("{}\n", store.join("objects").display()),
    )
    .unwrap();
    let closed = std::os::unix::fs::PermissionsExt::from_mode(0o700);
    std::fs::set_permissions(&store, closed).unwrap();
    let run = "git status --porcelain && git log -1 --format=%s && git diff-files --name-only && \
               cat .git/objects/info/alternates";
    let result = testbed.judge_one(gate("checks", run)).await;
    assert_eq!(result.outcome, GateOutcome::Pass, "{result:?}");
    assert_eq!(testbed.log("gate-1-checks"), "judged\n/var/lib/objects/0\n");
}
