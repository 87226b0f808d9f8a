//! Every command that talks to a server, against a real one: JSON for programs, words for people.

use std::process::Output;

use mosaic_testkit::git_fixture::Fixture;
use serde_json::Value;

use super::support::{Home, Marker, Server, until};

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[track_caller]
fn json(server: &Server<'_>, args: &[&str]) -> Value {
    let mut all = args.to_vec();
    all.push("--json");
    let output = server.cli(&all);
    assert!(output.status.success(), "{args:?}: {output:?}");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{args:?}: {e}: {}", out(&output)))
}

/// Runs a command for a person; everything is shown when the test is run with `--nocapture`.
#[track_caller]
fn stdout(server: &Server<'_>, args: &[&str], code: i32) -> String {
    let output = server.cli(args);
    let (text, said) = (out(&output), String::from_utf8_lossy(&output.stderr).into_owned());
    eprintln!("$ mosaic {}\n{text}{said}", args.join(" "));
    assert_eq!(output.status.code(), Some(code), "{args:?}: {text}{said}");
    assert!(!text.contains('\u{1b}') && !text.replace("/dev/null", "").contains("null"), "{args:?}: {text}");
    text + &said
}

#[test]
fn the_commands_show_one_life() {
    let (home, fixture) = (Home::new(), Fixture::new());
    fixture.commit_on("main", &[(".mosaic/config.toml", "[gates]\ntests = \"echo 3 passed\"\n")]);
    let server = home.serve(&[("MOSAIC_COMMAND", "sh -c 'echo working on it; echo x > x.txt'")]);
    let url = fixture.url();
    let spawned = json(
        &server,
        &["spawn", "--repo", &url, "--branch", "main", "--task", "US-1", "--type", "tester", "do it"],
    );
    let id = spawned["agentId"].as_str().unwrap();
    stdout(&server, &["wait", id], 0);
    let waited = json(&server, &["wait", id]);
    assert!(waited.to_string().contains("completed"), "{waited:#}");
    let list = json(&server, &["ps", "-a"]);
    assert!(list.to_string().contains(id), "{list:#}");
    let short = &id[..8];
    let text = stdout(&server, &["status", short], 0);
    let pushed = fixture.tip(spawned["branch"].as_str().unwrap()).unwrap();
    assert!(text.contains(&format!("pushed {}", &pushed[..7])) && text.contains("US-1"), "{text}");
    assert_eq!(json(&server, &["status", short])["pushedCommit"], pushed);
    assert!(stdout(&server, &["logs", short], 0).contains("working on it"));
    assert!(stdout(&server, &["diff", short], 0).contains("+x"));
    assert!(stdout(&server, &["gates", short], 0).contains("tests"));
    for command in ["logs", "diff", "gates"] {
        let output = server.cli(&[command, short, "--json"]);
        assert!(output.status.success(), "{output:?}");
        for line in out(&output).lines() {
            serde_json::from_str::<Value>(line).unwrap();
        }
    }
    let again = json(&server, &["retry", short]);
    assert_eq!(again["previousAgentId"].as_str(), Some(id));
    server.ended(again["agentId"].as_str().unwrap());
    stdout(&server, &["ps", "-a"], 0);
    stdout(&server, &["status"], 0);
    stdout(&server, &["config"], 0);
    // Whether Claude Code is there is not this test's matter.
    let doctor = out(&server.cli(&["doctor"]));
    assert!(doctor.contains(&format!("{} is ready", server.url)), "{doctor}");
    let file = out(&server.cli(&["token"]));
    assert_eq!(std::fs::read_to_string(file.trim()).unwrap().trim(), server.token);
    stdout(&server, &["status", "ffffffff"], 3);
}

#[test]
fn the_commands_stop_and_order_work() {
    let (home, fixture, marker) = (Home::new(), Fixture::new(), Marker::new());
    let line = format!("sh -c 'echo x > x.txt; sleep {marker}'");
    let server = home.serve(&[("MOSAIC_COMMAND", &line), ("MOSAIC_SLOTS", "1")]);
    let url = fixture.url();
    let spawn = |task: &str| {
        let spawned = json(&server, &["spawn", "--repo", &url, "--branch", "main", "--task", task, "do it"]);
        spawned["agentId"].as_str().unwrap().to_owned()
    };
    let (first, second) = (spawn("US-1"), spawn("US-2"));
    until("the agent", || (!marker.alive().is_empty()).then_some(()));
    stdout(&server, &["ps"], 0);
    stdout(&server, &["queue"], 0);
    stdout(&server, &["queue", "pause"], 0);
    assert!(json(&server, &["queue"]).to_string().contains(&second));
    stdout(&server, &["queue", "resume"], 0);
    stdout(&server, &["wait", &first, "--timeout", "1s"], 8);
    stdout(&server, &["kill", &first], 0);
    stdout(&server, &["wait", &first], 12);
    stdout(&server, &["kill-all", "--yes"], 0);
    // Nothing of it is alive once that was answered; its record may follow.
    assert_eq!(server.ended(&second)["status"], "killed");
    stdout(&server, &["ps"], 0);
}
