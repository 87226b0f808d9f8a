//! Receipts of ends by force: whoever ended a run, its agent's record says what was stopped and that nothing is left.

use std::path::Path;

use mosaic_testkit::git_fixture::Fixture;
use mosaic_testkit::wrong_clock::WrongClock;
use rustix::process::Signal;
use serde_json::{Value, json};

use super::support::{
    Home, Marker, Server, body, claude_stand_in, fixture_with_gates, in_environment, script, spawn_claude,
    until,
};

/// Checks the receipt in an agent's record against the log and the processes of this machine.
#[track_caller]
fn is_stopped(server: &Server<'_>, id: &str, cause: &str, marker: &Marker, least: u64) -> Value {
    let ended = server.ended(id);
    assert_eq!(marker.alive(), Vec::<String>::new(), "{cause}: {ended:#}");
    assert_eq!(in_environment(&format!("MOSAIC_AGENT_ID={id}")), Vec::<String>::new(), "{cause}");
    let receipt = &ended["receipt"];
    assert!(receipt["processesBefore"].as_u64() >= Some(least), "{cause}: {ended:#}");
    assert_eq!(receipt["processesAfter"], 0, "{cause}: {ended:#}");
    assert!(receipt["tookMs"].is_u64() && receipt["pastGraceMs"].is_u64(), "{cause}: {ended:#}");
    if least > 0 {
        assert!(["term", "kill", "sweep"].contains(&receipt["rung"].as_str().unwrap()), "{cause}: {ended:#}");
        assert_ne!(receipt["confinement"], "", "{cause}: {ended:#}");
    }
    assert_eq!((&receipt["lease"], &receipt["worktree"]), (&json!("released"), &json!("removed")), "{cause}");
    let stops = server.http.logged("agent.stopped", id);
    assert_eq!(stops.len(), 1, "{cause}: {stops:#?}");
    assert_eq!((&stops[0]["cause"], &stops[0]["run"]), (&json!(cause), &json!(1)), "{stops:#?}");
    assert_eq!(stops[0]["processesBefore"], receipt["processesBefore"], "{stops:#?}");
    ended
}

/// An agent that does not listen, and a part of which leaves its session.
fn deaf(dir: &Path, marker: &Marker) -> String {
    let text = format!(
        "cat > /dev/null\ntrap '' TERM INT\necho work > work.txt\nsetsid sleep {marker} &\nwhile :; do sleep {marker}; done\n"
    );
    script(dir, "agent.sh", &text)
}

fn up(server: &Server<'_>, fixture: &Fixture, marker: &Marker) -> String {
    let id = server.spawn(&body(&fixture.url(), "T-1"));
    until("the agent's processes", || (marker.alive().len() >= 2).then_some(()));
    server.phase(&id, "working");
    id
}

#[test]
fn an_agent_past_its_deadline_is_ended_like_a_killed_one_and_has_a_receipt() {
    let (home, fixture, marker) = (Home::new(), Fixture::new(), Marker::new());
    let line = deaf(home.path(), &marker);
    let clock = WrongClock::new(home.path(), "leaps", 0);
    let [(preload, library), (variable, file)] = clock.environment();
    let env = [("MOSAIC_COMMAND", line.as_str()), (preload, &library), (variable, &file)];
    let mut server = home.serve(&env);
    let id = up(&server, &fixture, &marker);
    server.signal(Signal::KILL);
    server.wait_end();
    drop(server);
    // Its hour is over when the next server takes it over.
    clock.set(2 * 3_600_000);
    let server = home.serve(&env);
    let ended = is_stopped(&server, &id, "deadline", &marker, 2);
    assert_eq!((&ended["status"], &ended["endReason"]), (&json!("failed"), &json!("timeout")), "{ended:#}");
    assert!(ended["salvage"]["commit"].is_string(), "its work is lost: {ended:#}");
    assert_eq!(ended["receipt"]["salvage"]["state"], "done", "{ended:#}");
}

#[test]
fn an_agent_ended_for_its_silence_has_a_receipt() {
    let (home, fixture, marker) = (Home::new(), Fixture::new(), Marker::new());
    let line = deaf(home.path(), &marker);
    let server = home.serve(&[("MOSAIC_COMMAND", &line), ("MOSAIC_STALL_MS", "2000")]);
    let id = up(&server, &fixture, &marker);
    let ended = is_stopped(&server, &id, "silence", &marker, 2);
    assert_eq!(ended["endReason"], "stalled", "{ended:#}");
}

#[test]
fn a_killed_agent_keeps_its_receipt_in_its_record() {
    let (home, fixture, marker) = (Home::new(), Fixture::new(), Marker::new());
    let line = deaf(home.path(), &marker);
    let server = home.serve(&[("MOSAIC_COMMAND", &line)]);
    let id = up(&server, &fixture, &marker);
    let killed = server.kill(&id);
    let ended = is_stopped(&server, &id, "order", &marker, 2);
    assert_eq!(ended["receipt"]["processesBefore"], killed["receipt"]["processesBefore"], "{ended:#}");
    assert_eq!(ended["receipt"]["tookMs"], killed["receipt"]["tookMs"], "{ended:#}");
    let shown = server.cli(&["status", &id]);
    let text = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(text.contains("Stopped") && text.contains("0 of "), "{text}");
}

#[test]
fn what_its_supervisor_ends_has_a_receipt() {
    let (home, fixture, marker) = (Home::new(), Fixture::new(), Marker::new());
    let forks = format!("cat > /dev/null\nfor n in $(seq 150); do sleep {marker} & done\nsleep {marker}\n");
    let line = script(home.path(), "agent.sh", &forks);
    // The agent starts 150 processes, so it is certain to meet a bound of 100.
    let mut server = home.serve(&[("MOSAIC_COMMAND", &line), ("MOSAIC_AGENT_PROCESSES", "100")]);
    let id = server.spawn(&body(&fixture.url(), "T-1"));
    let ended = is_stopped(&server, &id, "supervisor", &marker, 50);
    assert!(ended["error"].as_str().unwrap().contains("processes at once"), "{ended:#}");

    // The stop file, while no server runs.
    let line = deaf(home.path(), &marker);
    server.signal(Signal::KILL);
    server.wait_end();
    drop(server);
    let mut server = home.serve(&[("MOSAIC_COMMAND", &line)]);
    let id = up(&server, &fixture, &marker);
    server.signal(Signal::KILL);
    server.wait_end();
    drop(server);
    std::fs::write(home.data().join("STOP"), "").unwrap();
    until("the supervisor to end it", || marker.alive().is_empty().then_some(()));
    std::fs::remove_file(home.data().join("STOP")).unwrap();
    let server = home.serve(&[("MOSAIC_COMMAND", &line)]);
    is_stopped(&server, &id, "supervisor", &marker, 2);
}

#[test]
fn a_program_that_goes_on_after_its_result_is_completed_with_a_receipt() {
    let (home, fixture, marker) = (Home::new(), fixture_with_gates("tests = 'true'"), Marker::new());
    let turn = format!(
        "echo x >> x.txt\necho '{}'\nsleep {marker}\n",
        r#"{"type":"result","subtype":"success","is_error":false,"result":"ok","num_turns":1,"total_cost_usd":0.1}"#
    );
    let program = claude_stand_in(home.path(), &turn);
    let server = home.serve(&[("MOSAIC_CLAUDE_BIN", &program), ("CLAUDE_API_KEY", "dummy-key-of-a-test")]);
    let id = spawn_claude(&server, &fixture, "T-1", &json!({}));
    let ended = is_stopped(&server, &id, "afterResult", &marker, 1);
    assert_eq!(ended["status"], "completed", "{ended:#}");
}

#[test]
fn an_agent_that_failed_by_itself_has_the_receipt_that_nothing_is_left() {
    let (home, fixture, marker) = (Home::new(), Fixture::new(), Marker::new());
    let line = script(home.path(), "agent.sh", "exit 3\n");
    let server = home.serve(&[("MOSAIC_COMMAND", &line)]);
    let id = server.spawn(&body(&fixture.url(), "T-1"));
    let ended = is_stopped(&server, &id, "cleanUp", &marker, 0);
    assert_eq!(
        (&ended["status"], &ended["receipt"]["rung"]),
        (&json!("failed"), &json!("none")),
        "{ended:#}"
    );

    // One that is completed and left nothing behind was not stopped.
    let line = script(home.path(), "well.sh", "cat > /dev/null\necho x > x.txt\n");
    drop(server);
    let server = home.serve(&[("MOSAIC_COMMAND", &line)]);
    let done = server.life(&body(&fixture.url(), "T-2"), "completed", "done");
    assert_eq!(done.get("receipt"), None, "{done:#}");
}
