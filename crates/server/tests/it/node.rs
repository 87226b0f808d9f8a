//! The node's state and an agent's resources over HTTP.

use axum::body::Body;
use serde_json::{Value, json};

use crate::world::{World, ask};

#[tokio::test]
async fn the_state_is_one_small_answer_with_a_tag() {
    let world = World::new();
    world.spawned("T-1").await;
    let answer = world.get("/v1/state").await;
    let state = answer.json();
    assert_eq!(
        (&state["node"], &state["dispatch"], &state["slots"]),
        (&json!("laptop"), &json!("running"), &json!({"total": 2, "used": 0}))
    );
    assert_eq!((&state["counts"]["waiting"], &state["breakers"]), (&json!(1), &json!([])), "{state:#}");
    assert_eq!((&state["attention"], &state["cleanupPending"]), (&json!(0), &json!(0)));
    assert!(state["uptimeSeconds"].is_u64() && state["admission"]["open"] == true, "{state:#}");
    let tag = answer.header("etag").to_owned();
    let again = |tag: &str| ask("GET", "/v1/state").header("if-none-match", tag).body(Body::empty()).unwrap();
    assert_eq!(world.send(again(&tag)).await.status, 304);
    world.order("POST", "/v1/queue/pause").await;
    let paused = world.send(again(&tag)).await;
    assert_eq!(paused.status, 200);
    assert_eq!(paused.json()["dispatch"], "paused");
    world.get("/v1/state?x=1").await.is(400, "validation_failed");
    world.orchestrator.note_cleanup_pending(3);
    assert_eq!(world.get("/v1/state").await.json()["cleanupPending"], 3);
}

#[tokio::test]
async fn an_agent_that_is_not_driven_has_no_samples() {
    let world = World::new();
    let id = world.spawned("T-1").await;
    let found = world.get(&format!("/v1/agents/{id}/resources?step=30s")).await.json();
    assert_eq!((&found["live"], &found["now"], &found["samples"]), (&json!(false), &Value::Null, &json!([])));
    assert_eq!((&found["phase"], &found["stall"]), (&json!("queued"), &json!("none")));
    world.get(&format!("/v1/agents/{id}/resources?step=2h")).await.is(400, "validation_failed");
    world.get(&format!("/v1/agents/{id}/resources?since=now")).await.is(400, "validation_failed");
    let nobody = "00000000-0000-4000-8000-000000000000";
    world.get(&format!("/v1/agents/{nobody}/resources")).await.is(404, "agent_not_found");
}

#[tokio::test]
async fn nodes_are_listed_cordoned_and_let_go_on() {
    let world = World::new();
    assert_eq!(world.get("/v1/nodes").await.json()["nodes"], json!([]), "nobody has joined yet");
    world.order("POST", "/v1/nodes/laptop/cordon").await.is(404, "node_not_found");
    world.orchestrator.join().await.expect("joined");
    let nodes = world.get("/v1/nodes").await.json();
    let node = &nodes["nodes"][0];
    assert_eq!((&nodes["leaseMs"], &node["node"]), (&Value::Null, &json!("laptop")), "{nodes:#}");
    assert_eq!((&node["here"], &node["alive"], &node["cordon"]), (&json!(true), &json!(true), &Value::Null));
    assert_eq!(node["slots"], json!({"total": 2, "used": 0}));
    let answer = world.post("/v1/nodes/laptop/cordon", &json!({"reason": "new kernel"})).await;
    let cordon = &answer.json()["cordon"];
    assert_eq!((&cordon["reason"], &cordon["drain"]), (&json!("new kernel"), &json!(false)));
    assert_eq!(world.get("/v1/state").await.json()["cordoned"], true);
    let answer = world.order("POST", "/v1/nodes/laptop/uncordon").await;
    assert_eq!((answer.status, &answer.json()["cordon"]), (200, &Value::Null));
    let state = world.get("/v1/state").await.json();
    assert_eq!((&state["cordoned"], &state["nodes"]), (&json!(false), &json!({"total": 1, "alive": 1})));
    let told = world.audit.told();
    assert!(told.iter().any(|entry| entry.contains("node-cordon")), "{told:?}");
    world.get("/v1/nodes?x=1").await.is(400, "validation_failed");
}
