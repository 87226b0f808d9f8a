//! The history of gates.

use mosaic_core::domain::ids::Timestamp;
use mosaic_core::domain::journal::LogRecord;
use mosaic_core::ports::store::Store;
use mosaic_testkit::fakes::scanner::SECRET;
use serde_json::{Value, json};

use crate::world::World;

/// Logs judgements of a repository, each with the results of its gates.
async fn log(world: &World, repository: &str, judgements: &[(u64, Value)]) {
    let facts = judgements.iter().map(|(at, results)| {
        let data =
            json!({"commit": "c", "repository": repository, "profile": "standard", "verdict": "failed", "results": results});
        LogRecord::stored("gate.finished", None, None, Timestamp(*at), data)
    });
    world.store.log(facts.collect()).await.expect("the store is up");
}

fn gate(name: &str, outcome: &str, ms: u64, flaky: &[&str]) -> Value {
    json!([{"name": name, "outcome": outcome, "durationMs": ms, "cached": false, "flakyTests": flaky}])
}

const WEB: &str = "https://git.example.com/web.git";
const API: &str = "https://git.example.com/api.git";

#[tokio::test]
async fn the_history_of_gates_says_pass_rate_times_and_flaky_tests() {
    let world = World::new();
    let empty = world.get("/v1/gates").await.json();
    assert_eq!(empty, json!({"since": null, "items": [], "nextCursor": null}));
    let leak = format!("test of {SECRET}");
    let judgements = [
        (1_000, gate("tests", "pass", 100, &[])),
        (2_000, gate("tests", "flaky", 200, &["a::b"])),
        (3_000, gate("tests", "flaky", 300, &["a::b", &leak])),
        (4_000, gate("tests", "fail", 400, &[])),
    ];
    log(&world, WEB, &judgements).await;
    log(&world, API, &[(5_000, gate("lint", "pass", 7, &[]))]).await;
    // What an older or a newer build logged is no reason to fail.
    let odd = |data| LogRecord::stored("gate.finished", None, None, Timestamp(6_000), data);
    let odd = [json!({"commit": "c", "verdict": "passed", "results": []}), json!(7)].map(odd);
    world.store.log(odd.to_vec()).await.expect("the store is up");
    let history = world.get("/v1/gates").await.json();
    let names: Vec<_> = history["items"].as_array().unwrap().iter().map(|one| one["gate"].clone()).collect();
    assert_eq!(
        (names, &history["since"]),
        (vec![json!("lint"), json!("tests")], &json!("1970-01-01T00:00:01.000Z"))
    );
    let tests = &history["items"][1];
    assert_eq!((&tests["runs"], &tests["passed"], &tests["flaky"]), (&json!(4), &json!(1), &json!(2)));
    assert_eq!(
        (&tests["passRate"], &tests["p50Ms"], &tests["p95Ms"]),
        (&json!(25.0), &json!(200), &json!(400))
    );
    assert_eq!(
        tests["flakyTests"],
        json!([{"test": "a::b", "count": 2, "lastSeenAt": "1970-01-01T00:00:03.000Z"},
            {"test": "test of open…", "count": 1, "lastSeenAt": "1970-01-01T00:00:03.000Z"}])
    );
    assert_eq!(
        (&tests["recent"][0]["outcome"], tests["recent"].as_array().unwrap().len()),
        (&json!("fail"), 4)
    );
    // Each question reads on from the last one.
    log(&world, WEB, &[(7_000, gate("tests", "pass", 100, &[]))]).await;
    let again = world.get("/v1/gates?gate=tests").await.json();
    assert_eq!((&again["items"][0]["runs"], again["items"].as_array().unwrap().len()), (&json!(5), 1));
}

#[tokio::test]
async fn the_history_is_filtered_and_paged() {
    let world = World::new();
    for repository in [WEB, API] {
        for name in ["tests", "lint", "coverage"] {
            log(
                &world,
                repository,
                &[(1_000, gate(name, "pass", 1, &[])), (9_000, gate(name, "fail", 1, &[]))],
            )
            .await;
        }
    }
    let (mut seen, mut path) = (Vec::new(), "/v1/gates?limit=4".to_owned());
    loop {
        let page = world.get(&path).await.json();
        let items = page["items"].as_array().unwrap().iter();
        seen.extend(
            items.map(|one| format!("{} {}", &one["repository"].as_str().unwrap()[24..27], one["gate"])),
        );
        let Some(cursor) = page["nextCursor"].as_str() else { break };
        path = format!("/v1/gates?limit=4&cursor={cursor}");
    }
    let wanted = [
        "api \"coverage\"",
        "api \"lint\"",
        "api \"tests\"",
        "web \"coverage\"",
        "web \"lint\"",
        "web \"tests\"",
    ];
    assert_eq!(seen, wanted);
    let late = "since=1970-01-01T00:00:02Z";
    let of_web = world.get(&format!("/v1/gates?repository={WEB}&gate=lint&{late}")).await.json();
    assert_eq!(of_web["items"].as_array().unwrap().len(), 1);
    assert_eq!((&of_web["items"][0]["runs"], &of_web["items"][0]["passRate"]), (&json!(1), &json!(0.0)));
    assert_eq!(of_web["since"], "1970-01-01T00:00:02.000Z");
    for wrong in
        ["cursor=zz", "cursor=00", "limit=0", "since=yesterday", "gate=a/b", "repository=-x", "nope=1"]
    {
        world.get(&format!("/v1/gates?{wrong}")).await.is(400, "validation_failed");
    }
}
