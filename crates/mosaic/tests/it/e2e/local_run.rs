//! `mosaic run` in a repository of one's own, without a server.

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use mosaic_testkit::git_fixture::Fixture;
use serde_json::Value;

use super::support::{Home, Marker, until};

/// Runs `mosaic run` in the fixture's clone with this program line as the agent.
fn run(home: &Home, fixture: &Fixture, agent: &str, args: &[&str]) -> Output {
    let mut command = home.mosaic(&["run"]);
    command.args(args).current_dir(clone(fixture));
    command.env("MOSAIC_RUNTIME", "command").env("MOSAIC_COMMAND", agent).output().unwrap()
}

fn clone(fixture: &Fixture) -> PathBuf {
    fixture.path().join("work")
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn the_branch_comes_into_the_repository_and_origin_is_left_alone() {
    let (home, fixture) = (Home::new(), Fixture::new());
    std::fs::write(clone(&fixture).join("draft.txt"), "not committed").unwrap();
    let output = run(&home, &fixture, "sh -c 'ls > seen.txt'", &["--json", "write it"]);
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
    let agent: Value = serde_json::from_slice(&output.stdout).unwrap();
    let branch = agent["branch"].as_str().unwrap();
    let seen = fixture.run(&clone(&fixture), &["show", &format!("{branch}:seen.txt")]);
    assert!(seen.contains("README.md") && !seen.contains("draft.txt"), "{seen}");
    assert!(err(&output).contains("draft.txt"), "{}", err(&output));
    assert_eq!(fixture.branches(), ["main"], "origin was touched");
    assert_eq!(fixture.run(&clone(&fixture), &["status", "--porcelain"]), "?? draft.txt");
    assert!(!home.data().join("server.json").exists());

    let output = run(&home, &fixture, "sh -c 'echo x > x.txt'", &["--push", "again"]);
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
    assert!(err(&output).contains("to origin"), "{}", err(&output));
    assert_eq!(fixture.branches().len(), 2, "{:?}", fixture.branches());
}

#[test]
fn exit_codes_say_how_it_ended() {
    let (home, fixture) = (Home::new(), Fixture::new());
    let failed = run(&home, &fixture, "sh -c 'exit 0'", &["nothing to do"]);
    assert_eq!(failed.status.code(), Some(10), "{}", err(&failed));
    fixture.commit_on("main", &[(".mosaic/config.toml", "[gates]\ntests = \"false\"\n")]);
    let agent = "sh -c 'echo x >> x.txt'";
    let unasked = run(&home, &fixture, agent, &["--json", "--type", "tester", "first"]);
    assert_eq!(unasked.status.code(), Some(0), "{}", err(&unasked));
    assert!(err(&unasked).contains("INCOMPLETE"), "{}", err(&unasked));
    let ended: Value = serde_json::from_slice(&unasked.stdout).unwrap();
    assert_eq!(ended["verdict"], "incomplete", "{ended:#}");

    let mut command = home.mosaic(&["run", "--type", "tester", "second"]);
    command.env("MOSAIC_RUNTIME", "command").env("MOSAIC_COMMAND", agent).env("MOSAIC_TRUST", "all");
    let refused = command.current_dir(clone(&fixture)).output().unwrap();
    assert_eq!(refused.status.code(), Some(11), "{}", err(&refused));
}

#[test]
fn a_run_that_is_killed_from_elsewhere_says_so() {
    let (home, fixture, marker) = (Home::new(), Fixture::new(), Marker::new());
    let mut command = home.mosaic(&["run", "sleep"]);
    command.env("MOSAIC_RUNTIME", "command").env("MOSAIC_COMMAND", format!("sleep {marker}"));
    command.stdout(Stdio::null()).stderr(Stdio::null()).current_dir(clone(&fixture));
    let mut child = command.spawn().unwrap();
    until("the agent", || (!marker.alive().is_empty()).then_some(()));
    let killed = home.run(&[], &["kill-all", "--yes", "--json"]);
    assert!(killed.status.success(), "{killed:?}");
    let ended = until("the run to end", || child.try_wait().unwrap());
    assert_eq!(ended.code(), Some(12));
    assert_eq!(marker.alive(), Vec::<String>::new());
}

#[test]
fn a_place_without_a_repository_is_said_so() {
    let home = Home::new();
    let output = home.run(&[], &["run", "x"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(err(&output).contains("no git repository"), "{}", err(&output));
}

#[test]
fn a_tag_that_is_called_like_the_branch_does_not_take_its_place() {
    let (home, fixture) = (Home::new(), Fixture::new());
    fixture.run(&clone(&fixture), &["tag", "main"]);
    let output = run(&home, &fixture, "sh -c 'echo x > x.txt'", &["write it"]);
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
}

#[test]
fn a_limit_on_file_sizes_is_an_error_and_kills_nothing() {
    let (home, fixture) = (Home::new(), Fixture::new());
    // `ulimit -f` counts blocks of 512 bytes in POSIX shells; no store fits.
    let wrapped = format!("ulimit -f 16; exec {} run 'write it'", env!("CARGO_BIN_EXE_mosaic"));
    let program = home.mosaic(&[]);
    let mut command = Command::new("sh");
    command.args(["-c", &wrapped]).env_clear().current_dir(clone(&fixture)).stdin(Stdio::null());
    command.envs(program.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let output = command.env("MOSAIC_RUNTIME", "command").env("MOSAIC_COMMAND", "cat").output().unwrap();
    assert!(output.status.code().is_some_and(|code| code > 0 && code < 128), "{:?}", output.status);
}
