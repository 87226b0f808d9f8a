//! `mosaic gates run`: the gates of a commit without an agent and without a server.

use std::process::{Output, Stdio};

use mosaic_testkit::git_fixture::Fixture;
use serde_json::Value;

use super::support::{Home, Marker, until};

fn run(home: &Home, fixture: &Fixture, args: &[&str]) -> Output {
    let mut command = home.mosaic(&["gates", "run"]);
    command.args(args).current_dir(fixture.path().join("work")).env("MOSAIC_TRUST", "all").output().unwrap()
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A repository whose newest commit breaks its gate.
fn fixture() -> Fixture {
    let fixture = Fixture::new();
    let config = "[setup]\nrun = 'mkdir deps; cp lock deps'\ninputs = ['lock']\noutputs = ['deps']\n\
         [gates]\ntests = 'cmp lock deps/lock && { grep -q good word.txt || { echo word.txt:1: wrong; exit 1; }; }'\n";
    let clone = fixture.path().join("work");
    std::fs::create_dir_all(clone.join(".mosaic")).unwrap();
    for (path, text) in [(".mosaic/config.toml", config), ("lock", "1"), ("word.txt", "good")] {
        std::fs::write(clone.join(path), text).unwrap();
    }
    fixture.run(&clone, &["add", "-A"]);
    fixture.run(&clone, &["commit", "-qm", "good"]);
    std::fs::write(clone.join("word.txt"), "bad").unwrap();
    fixture.run(&clone, &["commit", "-qam", "bad"]);
    fixture
}

#[test]
fn a_commit_is_judged_by_its_own_gates_and_nothing_is_left_running_or_changed() {
    let (home, fixture) = (Home::new(), fixture());
    let red = run(&home, &fixture, &["--profile", "minimal"]);
    assert_eq!(red.status.code(), Some(11), "{}", err(&red));
    let text = String::from_utf8_lossy(&red.stdout).into_owned();
    assert!(
        text.contains("FAIL")
            && text.contains("word.txt:1   wrong")
            && text.contains("FAILED 0 passed, 1 failed"),
        "{text}"
    );
    let green = run(&home, &fixture, &["--profile", "minimal", "--json", "HEAD~1"]);
    assert_eq!(green.status.code(), Some(0), "{}", err(&green));
    let tried: Value = serde_json::from_slice(&green.stdout).unwrap();
    assert_eq!(
        (&tried["verdict"], &tried["report"]["results"][0]["cached"]),
        (&"passed".into(), &Value::Null)
    );
    let again = run(&home, &fixture, &["--profile", "minimal", "--json", "HEAD~1"]);
    let tried: Value = serde_json::from_slice(&again.stdout).unwrap();
    assert_eq!(tried["report"]["results"][0]["cached"], true, "{tried:#}");
    let fresh = run(&home, &fixture, &["--profile", "minimal", "--json", "--fresh", "HEAD~1"]);
    let tried: Value = serde_json::from_slice(&fresh.stdout).unwrap();
    assert_eq!(
        (fresh.status.code(), &tried["report"]["results"][0]["cached"]),
        (Some(0), &Value::Null),
        "{tried:#}"
    );
    let clone = fixture.path().join("work");
    assert_eq!(fixture.run(&clone, &["status", "--porcelain"]), "");
    assert!(std::fs::read_dir(home.data().join("run")).unwrap().next().is_none(), "its state is left");
}

#[test]
fn what_cannot_be_tried_is_named() {
    let (home, fixture) = (Home::new(), fixture());
    let unknown = run(&home, &fixture, &["no-such-commit"]);
    assert_eq!(unknown.status.code(), Some(2));
    assert!(err(&unknown).contains("names no commit"), "{}", err(&unknown));
    let missing = run(&home, &fixture, &["--gates", "docs"]);
    assert_eq!(missing.status.code(), Some(11), "{}", err(&missing));
    assert!(String::from_utf8_lossy(&missing.stdout).contains("no definition"));
}

#[test]
fn an_interruption_leaves_nothing_running() {
    let (home, fixture, marker) = (Home::new(), Fixture::new(), Marker::new());
    let clone = fixture.path().join("work");
    fixture.commit_on("main", &[(".mosaic/config.toml", &format!("[gates]\ntests = 'sleep {marker}'\n"))]);
    fixture.run(&clone, &["fetch", "-q", "origin"]);
    fixture.run(&clone, &["reset", "-q", "--hard", "origin/main"]);
    let mut command = home.mosaic(&["gates", "run", "--profile", "minimal"]);
    command.current_dir(&clone).env("MOSAIC_TRUST", "all").stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    until("the gate", || (!marker.alive().is_empty()).then_some(()));
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let ended = until("the command to end", || child.try_wait().unwrap());
    assert_eq!(ended.code(), Some(130));
    assert_eq!(marker.alive(), Vec::<String>::new());
}
