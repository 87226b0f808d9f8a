//! Kills without a server that answers: hung, dead, or just restarted.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use mosaic_testkit::git_fixture::Fixture;
use rustix::process::Signal;
use serde_json::Value;

use super::support::{Home, Marker, Server, body, script, until};

/// An agent that ignores every request, in a session of its own, three times.
fn stubborn(home: &Path, marker: &Marker) -> String {
    let text = format!(
        "trap '' TERM\ncat >/dev/null\nsetsid sleep {marker} &\n(setsid sleep {marker} &)\nexec sleep {marker}\n"
    );
    script(home, "stubborn.sh", &text)
}

fn working(server: &Server<'_>, fixture: &Fixture, count: usize, marker: &Marker) -> Vec<String> {
    let ids: Vec<String> =
        (0..count).map(|n| server.spawn(&body(&fixture.url(), &format!("T-{n}")))).collect();
    until("all agents to be up", || (marker.alive().len() == 3 * count).then_some(()));
    ids
}

fn text(output: &std::process::Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Checks that an agent's stop stands in the log as an order, whoever carried it out.
#[track_caller]
fn assert_ordered(server: &Server<'_>, id: &str) {
    let stops = server.http.logged("agent.stopped", id);
    assert_eq!(stops.len(), 1, "{stops:#?}");
    assert_eq!((&stops[0]["cause"], &stops[0]["processesAfter"]), (&"order".into(), &0.into()), "{stops:#?}");
}

#[test]
fn a_hung_server_keeps_nobody_alive_and_brings_nobody_back() {
    let (home, fixture, marker) = (Home::new(), Fixture::new(), Marker::new());
    let line = stubborn(home.path(), &marker);
    let server = home.serve(&[("MOSAIC_COMMAND", &line), ("MOSAIC_SLOTS", "4")]);
    let ids = working(&server, &fixture, 4, &marker);
    // One more waits in the queue; it must not start afterwards either.
    let waiting = server.spawn(&body(&fixture.url(), "T-waiting"));
    // The kernel still takes connections for a stopped process. Unlike one that is gone, this server can only be told
    // by its silence.
    server.signal(Signal::STOP);
    let begun = Instant::now();
    let output = home.run(&[("MOSAIC_KILL_GRACE_MS", "300")], &["kill-all", "--yes=4", "--reason", "hung"]);
    let (took, said) = (begun.elapsed(), text(&output));
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(said.contains("server not answering after 2s; killed locally"), "{said}");
    assert_eq!(marker.alive(), [""; 0], "{said}");
    assert!(took < Duration::from_secs(15), "{took:?}");
    println!("kill-all beside a hung server: {took:?}");
    server.signal(Signal::CONT);
    for id in ids.iter().chain([&waiting]) {
        let agent = server.ended(id);
        assert_eq!(agent["status"], "killed", "{agent:#}\n{}", server.log());
    }
    for id in &ids {
        assert_ordered(&server, id);
    }
    assert_eq!(marker.alive(), [""; 0], "nothing comes back");
    // What is spawned afterwards is new and runs.
    let later = server.spawn(&body(&fixture.url(), "T-later"));
    until("the new agent to be up", || (marker.alive().len() == 3).then_some(()));
    server.kill(&later);
}

#[test]
fn one_agent_of_a_hung_server_is_killed_by_its_name() {
    let (home, fixture, marker) = (Home::new(), Fixture::new(), Marker::new());
    let line = stubborn(home.path(), &marker);
    let server = home.serve(&[("MOSAIC_COMMAND", &line), ("MOSAIC_SLOTS", "4")]);
    let ids = working(&server, &fixture, 2, &marker);
    let name = server.agent(&ids[0])["name"].as_str().unwrap().to_owned();
    server.signal(Signal::STOP);
    let output = home.run(&[("MOSAIC_KILL_GRACE_MS", "300")], &["kill", &name, "--json"]);
    let said = text(&output);
    assert_eq!(output.status.code(), Some(0), "{said}");
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (&answer["agents"][0]["agentId"], &answer["killed"]),
        (&ids[0].as_str().into(), &1.into()),
        "{said}"
    );
    assert_eq!(answer["agents"][0]["receipt"]["processesAfter"], 0);
    assert_eq!(marker.alive().len(), 3, "the other one runs on");
    server.signal(Signal::CONT);
    assert_eq!(server.ended(&ids[0])["status"], "killed");
    assert_ordered(&server, &ids[0]);
    assert_eq!(server.agent(&ids[1])["phase"], "working");
    server.kill(&ids[1]);
}

#[test]
fn a_dead_server_keeps_nobody_alive_and_the_next_one_knows() {
    let (home, fixture, marker) = (Home::new(), Fixture::new(), Marker::new());
    let line = stubborn(home.path(), &marker);
    let env = [("MOSAIC_COMMAND", line.as_str()), ("MOSAIC_SLOTS", "4")];
    let mut server = home.serve(&env);
    let ids = working(&server, &fixture, 3, &marker);
    server.signal(Signal::KILL);
    server.wait_end();
    drop(server);
    assert_eq!(marker.alive().len(), 9, "they outlive their server");
    let output = home.run(&[("MOSAIC_KILL_GRACE_MS", "300")], &["kill-all", "--yes"]);
    let said = text(&output);
    assert!(output.status.code() == Some(0) && said.contains("killed locally"), "{said}");
    assert_eq!(marker.alive(), [""; 0], "{said}");
    let server = home.serve(&env);
    for id in &ids {
        assert_eq!(server.ended(id)["status"], "killed", "{}", server.log());
    }
    assert_eq!(marker.alive(), [""; 0], "nothing comes back");
}

#[test]
fn a_stop_file_ends_what_runs_beside_a_hung_server() {
    let (home, fixture, marker) = (Home::new(), Fixture::new(), Marker::new());
    let line = stubborn(home.path(), &marker);
    let server = home.serve(&[("MOSAIC_COMMAND", &line), ("MOSAIC_SLOTS", "4")]);
    working(&server, &fixture, 4, &marker);
    server.signal(Signal::STOP);
    let begun = Instant::now();
    assert!(Command::new("touch").arg(home.data().join("STOP")).status().unwrap().success());
    until("all agents to be gone", || marker.alive().is_empty().then_some(()));
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    server.signal(Signal::CONT);
}

#[test]
fn what_only_waits_beside_a_hung_server_does_not_start_afterwards() {
    let (home, fixture, marker) = (Home::new(), Fixture::new(), Marker::new());
    let line = stubborn(home.path(), &marker);
    let server = home.serve(&[("MOSAIC_COMMAND", &line)]);
    server.http.post("/v1/queue/pause", None).expect(200);
    let waiting = server.spawn(&body(&fixture.url(), "T-waiting"));
    server.signal(Signal::STOP);
    let output = home.run(&[], &["kill-all", "--yes", "--json"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    server.signal(Signal::CONT);
    server.http.post("/v1/queue/resume", None).expect(200);
    let agent = server.ended(&waiting);
    assert_eq!((&agent["status"], &agent["attempt"]), (&"killed".into(), &0.into()), "{agent:#}");
    assert_eq!(marker.alive(), [""; 0]);
}

#[test]
fn what_the_stop_file_ended_stays_ended_once_it_is_gone() {
    let (home, fixture, marker) = (Home::new(), Fixture::new(), Marker::new());
    let line = stubborn(home.path(), &marker);
    let env = [("MOSAIC_COMMAND", line.as_str())];
    let mut server = home.serve(&env);
    let mut task = body(&fixture.url(), "T-1");
    // With attempts left: an end that counted as a failure of the program would be followed by the next attempt.
    task["maxRetries"] = 3.into();
    let id = server.spawn(&task);
    until("the agent", || (marker.alive().len() == 3).then_some(()));
    server.phase(&id, "working");
    server.signal(Signal::KILL);
    server.wait_end();
    drop(server);
    let stop = home.data().join("STOP");
    std::fs::write(&stop, "").unwrap();
    until("the end of everything", || marker.alive().is_empty().then_some(()));
    std::fs::remove_file(stop).unwrap();
    let server = home.serve(&env);
    let agent = server.ended(&id);
    assert_eq!((&agent["status"], &agent["endReason"]), (&"killed".into(), &"kill_all".into()), "{agent:#}");
    assert_eq!(marker.alive(), [""; 0]);
}
