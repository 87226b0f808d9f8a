//! Decisions that people are asked for, over HTTP.

use mosaic_core::domain::agent::{Attention, AttentionKind, State};
use mosaic_core::domain::ids::Timestamp;
use serde_json::json;

use crate::world::World;

/// Makes a working agent that is silent since a time; returns the name of the decision.
async fn silent(world: &World, task: &str, since: u64) -> String {
    let id = world.spawned(task).await;
    let (lease, mut agent) = world.leased().await;
    let summary = "no output for 180 s".to_owned();
    agent.attention.push(Attention { kind: AttentionKind::Stalled, summary, since: Timestamp(since) });
    world.write(&lease, agent, State::Working).await;
    format!("{id}.stalled.{since}")
}

#[tokio::test]
async fn open_decisions_are_listed_oldest_first_in_pages_with_what_to_do() {
    let world = World::new();
    let later = silent(&world, "A", 2_000).await;
    let earlier = silent(&world, "B", 1_000).await;
    let page = world.get("/v1/attention?limit=1").await.json();
    let one = &page["items"][0];
    assert_eq!((&one["id"], &one["kind"], &one["taskId"]), (&json!(earlier), &json!("stalled"), &json!("B")));
    assert_eq!(one["answers"], json!(["wait", "kill"]));
    assert_eq!(
        (&one["message"], &one["since"]),
        (&json!("no output for 180 s"), &json!("1970-01-01T00:00:01.000Z"))
    );
    assert!(one["next"].as_str().is_some_and(|next| next.contains("\"kill\" ends it")), "{one}");
    let cursor = page["nextCursor"].as_str().expect("there is more").to_owned();
    let next = world.get(&format!("/v1/attention?cursor={cursor}")).await.json();
    assert_eq!((&next["items"][0]["id"], &next["nextCursor"]), (&json!(later), &json!(null)));
    world.get("/v1/attention?cursor=x").await.is(400, "validation_failed");
}

#[tokio::test]
async fn an_answer_is_checked_recorded_and_refused_when_it_comes_late() {
    let world = World::new();
    let open = silent(&world, "A", 1_000).await;
    let path = |id: &str| format!("/v1/attention/{id}/answer");
    world.post(&path("x"), &json!({"answer": "kill"})).await.is(404, "attention_not_found");
    let unknown = "7d0c6c1e-4a52-4d0e-9a55-0d7c9f2f3f9a.stalled.1";
    world.post(&path(unknown), &json!({"answer": "kill"})).await.is(404, "agent_not_found");
    for bad in [json!({}), json!({"answer": "maybe"}), json!({"answer": "kill", "x": 1})] {
        world.post(&path(&open), &bad).await.is(400, "validation_failed");
    }
    let late = open.replace(".1000", ".999");
    let refused = world.post(&path(&late), &json!({"answer": "kill"})).await;
    refused.is(409, "attention_closed");
    assert!(refused.json()["detail"].as_str().is_some_and(|d| d.contains("continued")));
    let answered = world.post(&path(&open), &json!({"answer": "kill", "reason": "it loops"})).await;
    // Nobody drives it here, so nobody can verify its end.
    assert_eq!(answered.status, 202);
    let answered = answered.json();
    assert_eq!(
        (&answered["id"], &answered["answer"], &answered["changed"]),
        (&json!(open), &json!("kill"), &json!(true))
    );
    let records = world.get("/v1/audit?action=attention-answer").await.json();
    let results: Vec<&str> = records["records"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|one| one["result"].as_str())
        .collect();
    assert!(results.iter().any(|one| one.starts_with("kill: not done")), "{results:?}");
    assert!(results.contains(&"kill: ordered"), "{results:?}");
    assert!(results.contains(&"kill: not verified in time"), "{results:?}");
}
