//! Nodes whose wall clock is wrong: the store's clock decides what is due and what is old, and such a node takes nothing.

use std::time::{Duration, SystemTime};

use mosaic_core::domain::ids::Timestamp;
use mosaic_testkit::git_fixture::Fixture;
use mosaic_testkit::valkey_server::ValkeyServer;
use mosaic_testkit::wrong_clock::WrongClock;
use serde_json::json;

use super::support::{Home, Server, body, until};

const DAY_MS: i64 = 24 * 3_600_000;

/// Starts a node with this clock.
fn node<'h>(home: &'h Home, name: &str, store: u16, clock: &WrongClock) -> Server<'h> {
    let [(preload, library), (variable, file)] = clock.environment();
    home.serve(&[
        ("VALKEY_HOST", "127.0.0.1"),
        ("VALKEY_PORT", &store.to_string()),
        ("MOSAIC_NODE", name),
        (preload, &library),
        (variable, &file),
    ])
}

fn clock_of(server: &Server<'_>) -> serde_json::Value {
    server.http.get("/v1/state").expect(200)["clock"].clone()
}

#[test]
fn a_node_whose_clock_is_an_hour_ahead_takes_nothing_says_so_and_goes_on_once_it_is_right() {
    let Some(store) = ValkeyServer::start() else { return };
    let (home, fixture) = (Home::new(), Fixture::new());
    let clock = WrongClock::new(home.path(), "ahead", 3_600_000);
    let server = node(&home, "ahead", store.port(), &clock);
    let seen = clock_of(&server);
    assert!(seen["ok"] == false && seen["offsetMs"].as_i64().unwrap().abs_diff(3_600_000) < 1000, "{seen:#}");
    let id = server.spawn(&body(&fixture.url(), "T-1"));
    until("the node to say so", || {
        (server.http.get("/v1/state").expect(200)["dispatch"] == "held").then_some(())
    });
    let ready = server.http.get("/health/ready").expect(503);
    assert_eq!(ready["failing"], json!(["clock"]), "{ready:#}");
    let held = server.http.get("/v1/queue").expect(200)["held"].to_string();
    assert!(held.contains("clock") && held.contains("ahead of the store's"), "{held}");
    let nodes = until("the heartbeat to tell it", || {
        let nodes = server.http.get("/v1/nodes").expect(200);
        (nodes["nodes"][0]["clock"]["ok"] == false).then_some(nodes)
    });
    assert!(nodes["nodes"][0]["clock"]["offsetMs"].as_i64().unwrap() > 3_500_000, "{nodes:#}");
    let printed = String::from_utf8(server.cli(&["nodes"]).stdout).unwrap();
    assert!(printed.contains("wrong clock"), "{printed}");
    assert_eq!(server.agent(&id)["phase"], "queued");
    // Within the bound it works, and what it writes down is the store's time all the same.
    clock.set(30_000);
    let ended = server.ended(&id);
    let now = Timestamp::from(SystemTime::now());
    for field in ["spawnedAt", "startedAt", "completedAt"] {
        let at = Timestamp::from_rfc3339(ended[field].as_str().unwrap()).unwrap();
        assert!(at <= now.plus(Duration::from_secs(5)), "{field} is {at:?}, it is {now:?}");
    }
    let ready = server.http.get("/health/ready").expect(200);
    assert!(ready["checks"]["clock"]["detail"].as_str().unwrap().contains("30."), "{ready:#}");
}

#[test]
fn a_node_whose_clock_is_days_ahead_removes_nothing_before_its_time() {
    let Some(store) = ValkeyServer::start() else { return };
    let (homes, fixture) = ([Home::new(), Home::new()], Fixture::new());
    let clock = WrongClock::new(homes[0].path(), "leaps", 0);
    let server = node(&homes[0], "leaps", store.port(), &clock);
    let ids: Vec<String> = (0..3).map(|n| server.spawn(&body(&fixture.url(), &format!("T-{n}")))).collect();
    for id in &ids {
        server.ended(id);
    }
    clock.set(2 * DAY_MS);
    let old = json!({"olderThan": "1d"});
    let pruned = server.http.post("/v1/prune", Some(&old)).expect(200);
    assert_eq!(pruned["removed"], 0, "{pruned:#}");
    drop(server);
    // Also when it was wrong before the server started.
    let server = node(&homes[0], "leaps", store.port(), &clock);
    let pruned = server.http.post("/v1/prune", Some(&old)).expect(200);
    assert_eq!(pruned["removed"], 0, "{pruned:#}");
    for id in &ids {
        assert_eq!(server.agent(id)["agentId"], id.as_str());
    }
    // The control: with an age of 0 the same order finds all three, so it was their age that kept them.
    let pruned = server.http.post("/v1/prune", Some(&json!({"olderThan": "0s"}))).expect(200);
    assert_eq!(pruned["removed"].as_u64().unwrap() + pruned["unmerged"].as_array().unwrap().len() as u64, 3);
}
