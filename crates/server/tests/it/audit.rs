//! The audit log over HTTP: what is recorded with whom and why, pages, lines, filters, the check; and that nothing is
//! deleted or forced unrecorded, while no stop waits for the log.

use std::sync::atomic::Ordering;

use axum::body::Body;
use mosaic_core::domain::audit::{Action, AuditEntry};
use mosaic_core::ports::audit::Audit;
use serde_json::{Value, json};

use crate::world::{HttpAnswer, World, ask};

impl World {
    async fn order_as(&self, user: &str, method: &str, path: &str, body: &Value) -> HttpAnswer {
        let request = ask(method, path).header("x-mosaic-user", user).header("x-request-id", "req-1");
        let request = request.header("content-type", "application/json");
        self.send(request.body(Body::from(body.to_string())).expect("the request is whole")).await
    }
}

#[tokio::test]
async fn orders_are_recorded_with_who_why_and_what_came_of_it() {
    let world = World::new();
    let id = world.spawned("T-1").await;
    let why = json!({"reason": "looping"});
    assert_eq!(world.order_as("alice", "POST", &format!("/agents/{id}/kill"), &why).await.status, 200);
    assert_eq!(world.order_as("alice", "POST", &format!("/agents/{id}/kill"), &why).await.status, 200);
    assert_eq!(world.order_as("no such name", "POST", "/agents/kill-all", &json!({})).await.status, 200);
    world.order_as("bob", "POST", "/v1/queue/pause", &why).await;
    world.order_as("bob", "POST", "/v1/queue/resume", &json!({})).await;
    assert_eq!(
        world.order_as("bob", "POST", &format!("/v1/agents/{id}/retry"), &json!({})).await.status,
        201
    );
    assert_eq!(world.order("DELETE", "/v1/tasks/T-1").await.status, 200);
    let told = world.audit.told();
    let expected = [
        format!("kill {id} ordered"),
        format!("kill {id} killed, verified: 0 processes before, 0 after"),
        format!("kill {id} ordered"),
        format!("kill {id} had already ended"),
        "kill-all  ordered".to_owned(),
        "kill-all  0 killed, 0 failed, 0 of them queued".to_owned(),
        "queue-pause  ".to_owned(),
        "queue-resume  ".to_owned(),
        format!("retry {id} "),
        "queue-remove T-1 ".to_owned(),
    ];
    assert_eq!(told, expected);
    let entries = world.audit.entries();
    let who: Vec<&str> = entries.iter().map(|entry| entry.actor.as_str()).collect();
    let (alice, operator, bob) = ("operator/alice", "operator", "operator/bob");
    assert_eq!(who, [alice, alice, alice, alice, operator, operator, bob, bob, bob, operator]);
    assert_eq!(
        (entries[0].reason.as_deref(), entries[0].request.as_deref()),
        (Some("looping"), Some("req-1"))
    );
}

#[tokio::test]
async fn a_stop_does_not_wait_for_the_log_and_a_deletion_does() {
    let world = World::new();
    let id = world.spawned("T-1").await;
    world.spawned("T-2").await;
    world.audit.refuses.store(true, Ordering::SeqCst);
    world.order("DELETE", "/v1/tasks/T-2").await.is(503, "audit_unavailable");
    world.order("POST", "/v1/queue/resume").await.is(503, "audit_unavailable");
    world.order("POST", &format!("/v1/agents/{id}/retry")).await.is(503, "audit_unavailable");
    assert_eq!(world.get("/v1/tasks/T-2").await.json()["active"], true, "nothing is removed unrecorded");
    assert_eq!(world.order("POST", "/v1/queue/pause").await.status, 200);
    assert_eq!(world.order("POST", &format!("/agents/{id}/kill")).await.json()["status"], "killed");
    assert_eq!(world.order("POST", "/agents/kill-all").await.json()["killed"], 1);
}

#[tokio::test]
async fn the_log_is_paged_filtered_streamed_and_checked() {
    let world = World::new();
    for n in 0..450u64 {
        let action = if n % 2 == 0 { Action::Kill } else { Action::Retention };
        let entry = AuditEntry::new(
            action,
            if n % 3 == 0 { "operator/alice" } else { "mosaic" },
            world.orchestrator.now(),
        );
        world.audit.note(entry.subject(n));
    }
    let first = world.get("/v1/audit?limit=200").await.json();
    assert_eq!(
        (first["records"].as_array().unwrap().len(), &first["next"], &first["head"]["n"]),
        (200, &json!(200), &json!(450))
    );
    assert_eq!(world.get("/v1/audit?after=440").await.json()["records"][0]["n"], 441);
    assert_eq!(world.get("/v1/audit?after=440").await.json()["next"], Value::Null);
    let kills = world.get("/v1/audit?action=kill&actor=operator&limit=2&after=10").await.json();
    let numbers: Vec<u64> =
        kills["records"].as_array().unwrap().iter().map(|r| r["n"].as_u64().unwrap()).collect();
    assert_eq!(numbers, [13, 19]);
    assert_eq!(world.get("/v1/audit?since=2999-01-01T00:00:00Z").await.json()["records"], json!([]));
    for bad in ["limit=0", "limit=201", "after=-1", "since=yesterday", "actr=x", "action=a&action=b"] {
        world.get(&format!("/v1/audit?{bad}")).await.is(400, "validation_failed");
    }
    let lines = world.get_as("/v1/audit?after=3", "application/x-ndjson").await;
    assert_eq!((lines.header("content-type"), lines.text().lines().count()), ("application/x-ndjson", 447));
    let some = world.get_as("/v1/audit?limit=7", "application/x-ndjson").await.text();
    assert_eq!(some.lines().count(), 7);
    let record: Value = serde_json::from_str(some.lines().next().unwrap()).unwrap();
    assert_eq!((&record["n"], &record["subject"]), (&json!(1), &json!("0")));
    let verified = world.get("/v1/audit/verify").await.json();
    assert_eq!(
        (&verified["ok"], &verified["head"]["n"], &verified["broken"]),
        (&json!(true), &json!(450), &Value::Null)
    );
}
