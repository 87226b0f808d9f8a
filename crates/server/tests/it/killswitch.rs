//! The kill switch and kill-all over HTTP: what they answer, what they refuse, and what they do on bad days.

use mosaic_core::domain::lifecycle::KillCause;
use mosaic_core::ports::orders::StopFile;
use serde_json::json;

use crate::world::{World, task};

#[tokio::test]
async fn an_engaged_switch_refuses_work_and_says_the_way_out() {
    let world = World::new();
    let off = world.get("/v1/killswitch").await.json();
    assert_eq!(
        (&off["engaged"], &off["stopFile"], &off["lastKillAll"]),
        (&json!(false), &json!(null), &json!(null))
    );
    let waiting = world.spawned("A").await;
    let ended = world.spawned("B").await;
    world.orchestrator.kill(ended, KillCause::Operator, "test").await.unwrap();
    let engaged = world.post("/v1/killswitch/engage", &json!({"reason": "release freeze"})).await;
    assert_eq!(engaged.status, 200, "{}", engaged.text());
    let body = engaged.json();
    let told = (&body["engaged"], &body["reason"], &body["recorded"], &body["verified"]);
    assert_eq!(told, (&json!(true), &json!("release freeze"), &json!("durable"), &json!(true)), "{body:#}");
    let counts = (&body["total"], &body["killed"], &body["failed"], &body["queued"]);
    assert_eq!(counts, (&json!(0), &json!(0), &json!(0), &json!(1)));

    for refused in [
        world.post("/agents/spawn", &task("C")).await,
        world.order("POST", &format!("/v1/agents/{ended}/retry")).await,
    ] {
        let body = refused.is(409, "dispatch_stopped").json();
        assert!(body["hint"].as_str().unwrap().contains("mosaic killswitch release"), "{body}");
        assert!(
            body["by"].as_str().unwrap().starts_with("HTTP request ") && body["since"].is_string(),
            "{body}"
        );
        assert_eq!(body["reason"], "release freeze");
    }
    let ready = world.get("/health/ready").await;
    assert_eq!((ready.status, &ready.json()["dispatch"]), (200, &json!("stopped")));
    assert_eq!(world.get(&format!("/agents/{waiting}/status")).await.json()["phase"], "queued");
    // Everything that is asked why nothing starts gives the same answer.
    let (state, queue) = (world.get("/v1/state").await.json(), world.get("/v1/queue").await.json());
    let why = queue["waiting"][0]["reason"].as_str().unwrap();
    assert!(why.starts_with("the kill switch is engaged by ") && why.ends_with(": release freeze"), "{why}");
    assert_eq!((&state["dispatch"], &state["admission"]["open"]), (&json!("stopped"), &json!(false)));
    assert_eq!((&state["admission"]["reason"], &queue["held"]), (&json!(why), &json!(why)));
    let checks = ready.json()["checks"].to_string();
    assert!(checks.contains(&format!("starts nothing now; {why}")), "{checks}");

    let released = world.order("POST", "/v1/killswitch/release").await.json();
    assert_eq!((&released["engaged"], &released["wasEngaged"]), (&json!(false), &json!(true)));
    let again = world.order("POST", "/v1/killswitch/release").await.json();
    assert_eq!(again["wasEngaged"], false);
    assert_eq!(world.get("/health/ready").await.json()["dispatch"], "running");
    assert_eq!(world.get("/v1/state").await.json()["dispatch"], "running");
    world.spawned("C").await;
    world.post("/v1/killswitch/engage", &json!({"raeson": "x"})).await.is(400, "validation_failed");
}

#[tokio::test]
async fn a_stop_file_must_go_before_the_switch_is_released() {
    let world = World::new();
    world.order("POST", "/v1/killswitch/engage").await;
    world.orders.0.lock().stop = StopFile::There;
    let refused = world.order("POST", "/v1/killswitch/release").await;
    let body = refused.is(409, "dispatch_stopped").json();
    assert!(body["detail"].as_str().unwrap().contains("/var/lib/mosaic/STOP"), "{body}");
    world.post("/agents/spawn", &task("A")).await.is(409, "dispatch_stopped");
    world.orders.0.lock().stop = StopFile::Absent;
    assert_eq!(world.order("POST", "/v1/killswitch/release").await.status, 200);
    world.spawned("A").await;
}

#[tokio::test]
async fn orders_are_in_force_while_the_store_is_down() {
    let world = World::new();
    let waiting = world.spawned("A").await;
    world.store.set_down(true);
    let all = world.order("POST", "/agents/kill-all").await;
    assert_eq!(all.status, 200, "{}", all.text());
    let body = all.json();
    assert_eq!(
        (&body["failed"], &body["verified"], &body["recorded"]),
        (&json!(0), &json!(false), &json!("durable"))
    );
    assert!(body["errors"][0].as_str().unwrap().contains("none of them starts"), "{body:#}");
    let engaged = world.order("POST", "/v1/killswitch/engage").await;
    assert_eq!((engaged.status, &engaged.json()["engaged"]), (200, &json!(true)));
    assert_eq!(world.get("/v1/killswitch").await.json()["engaged"], true);
    world.order("POST", "/v1/killswitch/release").await.is(503, "store_unavailable");
    assert_eq!(world.get("/v1/killswitch").await.json()["engaged"], true, "it is never half released");
    world.store.set_down(false);
    assert_eq!(world.order("POST", "/v1/killswitch/release").await.status, 200);
    let status = world.get(&format!("/agents/{waiting}/status")).await.json();
    assert_eq!(status["status"], "spawning", "nobody drives it here: it ends before it starts");
}

#[tokio::test]
async fn a_kill_answers_with_a_receipt() {
    let world = World::new();
    let waiting = world.spawned("A").await;
    let killed = world.order("POST", &format!("/agents/{waiting}/kill")).await.json();
    let receipt = &killed["receipt"];
    assert_eq!(
        (&receipt["processesBefore"], &receipt["processesAfter"]),
        (&json!(0), &json!(0)),
        "{killed:#}"
    );
    assert_eq!((&receipt["rung"], &receipt["container"]), (&json!("none"), &json!("none")));
    assert_eq!((&receipt["lease"], &receipt["worktree"]), (&json!("released"), &json!("none")));
    assert_eq!(receipt["salvage"], json!({"state": "none"}));
    let again = world.order("POST", &format!("/agents/{waiting}/kill")).await.json();
    assert_eq!((&again["alreadyTerminal"], &again["receipt"]), (&json!(true), &json!(null)));
    let held = world.spawned("B").await;
    world.held().await;
    let asked = world.order("POST", &format!("/agents/{held}/kill")).await.json();
    assert_eq!((&asked["receipt"]["lease"], asked["receipt"].get("processesAfter")), (&json!("held"), None));
    let all = world.order("POST", "/agents/kill-all").await.json();
    assert_eq!((&all["barrier"], &all["receipts"][0]["agentId"]), (&json!(2), &json!(held)), "{all:#}");
    assert_eq!((&all["receipts"][0]["verified"], &all["failed"]), (&json!(false), &json!(1)));
}
