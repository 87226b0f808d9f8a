//! The kill switch and kill-all of a whole fleet, on a real server: what was ordered outlives the server, nothing starts
//! until it may, and the end of many takes no longer than the end of one.

use std::time::Instant;

use mosaic_testkit::git_fixture::Fixture;
use rustix::process::Signal;
use serde_json::json;

use super::support::{Home, Marker, body, script, until};

/// The grace that the servers of these tests give.
const GRACE_MS: u128 = 500;

#[test]
fn an_engaged_switch_outlives_its_server_and_what_waits_runs_after_the_release() {
    let (home, fixture, marker) = (Home::new(), Fixture::new(), Marker::new());
    // Agents of this task end well, the others go on until they are killed.
    let agent = format!(
        "echo work > work.txt\ncase $MOSAIC_TASK_ID in quick*) exit 0;; esac\nwhile :; do sleep {marker}; done\n"
    );
    let line = script(home.path(), "agent.sh", &agent);
    // One slot, which the first agent keeps: the second one is certain to wait when the switch is engaged.
    let env = [("MOSAIC_COMMAND", line.as_str()), ("MOSAIC_SLOTS", "1")];
    let mut server = home.serve(&env);
    let running = server.spawn(&body(&fixture.url(), "run-1"));
    until("the agent's processes", || (!marker.alive().is_empty()).then_some(()));
    let queued = server.spawn(&body(&fixture.url(), "quick-1"));
    let engaged = server.cli(&["killswitch", "engage", "--yes=1", "--reason", "release freeze", "--json"]);
    assert!(engaged.status.success(), "{}", String::from_utf8_lossy(&engaged.stderr));
    let answer: serde_json::Value = serde_json::from_slice(&engaged.stdout).unwrap();
    let counts = (&answer["total"], &answer["killed"], &answer["failed"], &answer["queued"]);
    assert_eq!(counts, (&json!(1), &json!(1), &json!(0), &json!(1)), "{answer:#}");
    assert_eq!((&answer["recorded"], &answer["verified"]), (&json!("durable"), &json!(true)), "{answer:#}");
    assert_eq!(marker.alive(), Vec::<String>::new());
    let killed = server.ended(&running);
    assert_eq!((&killed["status"], &killed["endReason"]), (&json!("killed"), &json!("kill_all")));
    assert!(killed["error"].as_str().unwrap().contains("kill switch: release freeze"), "{killed:#}");
    assert_eq!(server.http.post("/agents/spawn", Some(&body(&fixture.url(), "quick-2"))).status, 409);
    server.signal(Signal::KILL);
    server.wait_end();
    drop(server);

    let server = home.serve(&env);
    let state = server.http.get("/v1/killswitch").expect(200);
    assert_eq!((&state["engaged"], &state["reason"]), (&json!(true), &json!("release freeze")), "{state:#}");
    let ready = server.http.get("/health/ready").expect(200);
    assert_eq!(ready["dispatch"], "stopped", "{ready:#}");
    assert_eq!(server.agent(&queued)["phase"], "queued");
    let list = server.cli(&["ps"]);
    assert!(String::from_utf8_lossy(&list.stderr).contains("STOPPED by"), "{list:?}");
    let released = server.cli(&["killswitch", "release"]);
    assert!(released.status.success(), "{released:?}");
    assert_eq!(server.ended(&queued)["status"], "completed");
    assert_eq!(marker.alive(), Vec::<String>::new());
}

#[test]
fn a_stop_file_stops_dispatch_until_it_is_removed_and_the_switch_released() {
    let (home, fixture) = (Home::new(), Fixture::new());
    let line = script(home.path(), "agent.sh", "echo work > work.txt\n");
    let server = home.serve(&[("MOSAIC_COMMAND", &line)]);
    let stop = home.data().join("STOP");
    std::fs::write(&stop, "").unwrap();
    until("dispatch to stop", || {
        (server.http.get("/v1/killswitch").expect(200)["engaged"] == true).then_some(())
    });
    let refused = server.http.post("/v1/killswitch/release", Some(&json!({}))).expect(409);
    assert!(refused["detail"].as_str().unwrap().contains("STOP"), "{refused:#}");
    std::fs::remove_file(&stop).unwrap();
    server.http.post("/v1/killswitch/release", Some(&json!({}))).expect(200);
    server.life(&body(&fixture.url(), "T-1"), "completed", "done");
}

/// `MOSAIC_KILL_FLEET=50` for the whole fleet.
#[test]
fn a_fleet_is_dead_soon_after_the_grace() {
    let fleet: usize = std::env::var("MOSAIC_KILL_FLEET").ok().and_then(|n| n.parse().ok()).unwrap_or(4);
    let (home, fixture, marker) = (Home::new(), Fixture::new(), Marker::new());
    let agent = format!("trap '' TERM INT HUP\necho work > work.txt\nwhile :; do sleep {marker}; done\n");
    let line = script(home.path(), "agent.sh", &agent);
    let slots = fleet.to_string();
    let server = home.serve(&[("MOSAIC_COMMAND", &line), ("MOSAIC_SLOTS", &slots)]);
    let ids: Vec<String> =
        (0..fleet).map(|n| server.spawn(&body(&fixture.url(), &format!("T-{n}")))).collect();
    until("the agents' processes", || (marker.alive().len() >= fleet).then_some(()));
    until("all to work", || {
        let list = server.http.get("/v1/agents?phase=working&limit=200").expect(200);
        (list["items"].as_array().unwrap().len() == fleet).then_some(())
    });
    let began = Instant::now();
    let answer = server.http.post("/agents/kill-all", None).expect(200);
    let took = began.elapsed().as_millis();
    assert_eq!(marker.alive(), Vec::<String>::new(), "processes of a killed agent are alive");
    let counts = (&answer["total"], &answer["killed"], &answer["failed"]);
    assert_eq!(counts, (&json!(fleet), &json!(fleet), &json!(0)), "{answer:#}");
    let receipts = answer["receipts"].as_array().unwrap();
    let slowest = receipts.iter().map(|r| r["tookMs"].as_u64().unwrap()).max().unwrap_or(0);
    println!(
        "kill-all of {fleet}: answered {} ms past the grace of {GRACE_MS} ms; slowest verified empty after {slowest} ms",
        took.saturating_sub(GRACE_MS)
    );
    assert!(receipts.iter().all(|r| r["processesBefore"].as_u64() >= Some(1) && r["processesAfter"] == 0));
    for id in ids {
        assert_eq!(server.ended(&id)["status"], "killed");
    }
}
