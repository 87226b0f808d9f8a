//! Data that other programs read: the published records, the queue in BullMQ's layout, its events in legal order.

use futures_util::StreamExt;
use mosaic_core::domain::agent::Status;
use mosaic_core::domain::ids::CommitId;
use mosaic_core::domain::outcome::EndReason;
use mosaic_core::domain::spec::SpawnSpec;
use mosaic_core::ports::external_queue::ExternalQueue;
use mosaic_core::ports::store::{Pause, Removal, Store, StoreError};
use mosaic_testkit::store_suite::sample::*;
use serde_json::{Value, json};

use super::World;

async fn json_at(world: &World, key: &str) -> Value {
    serde_json::from_str(&world.text(key).await).unwrap()
}

/// The store takes the queue's marker itself, as a worker does.
async fn woken(changes: &mut tokio::sync::watch::Receiver<u64>) {
    let woken = tokio::time::timeout(std::time::Duration::from_secs(10), changes.changed()).await;
    woken.expect("workers are woken").unwrap();
}

/// Returns the names and job ids of the queue's events in order.
async fn told(world: &World) -> Vec<String> {
    let of = |fields: Vec<(String, String)>| {
        let field =
            |name: &str| fields.iter().find(|(n, _)| n == name).map_or("", |(_, value)| value.as_str());
        format!("{} {}", field("event"), field("prev")).trim_end().to_owned()
    };
    world.job_events().await.into_iter().map(of).collect()
}

#[tokio::test]
async fn an_admission_is_a_job_a_record_and_a_task() {
    let Some(world) = World::new(&[]).await else { return };
    let store = world.store().await;
    let a = agent_from(json!({"taskId": "Ärger \"1\"", "priority": 3, "labels": {"team": "core"}}), T0);
    let record = admit(&*store, &a).await;
    let kept = json_at(&world, &format!("orchestrator:agent:{}", a.id)).await;
    let expected = json!({"agentId": a.id, "taskId": "Ärger \"1\"", "status": "spawning", "phase": "queued", "seq": 1,
        "version": 1, "epoch": 0, "node": null, "job": a.id, "spawnedAt": T0.to_rfc3339()});
    for (field, value) in expected.as_object().unwrap() {
        assert_eq!(&kept[field], value, "{field}");
    }
    let mut get = redis::cmd("GET");
    get.arg("orchestrator:task:Ärger \"1\"");
    let text: String = get.query_async(&mut world.raw.clone()).await.unwrap();
    let task: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&task["taskId"], &task["agents"]), (&kept["taskId"], &json!([a.id])));
    assert_eq!(record.agent, a);
}

#[tokio::test]
async fn a_life_is_told_in_legal_order() {
    let Some(world) = World::new(&[]).await else { return };
    let store = world.store().await;
    let a = agent("US-1", T0);
    let mut changes = store.changes();
    changes.borrow_and_update();
    admit(&*store, &a).await;
    woken(&mut changes).await;
    let job: std::collections::HashMap<String, String> = world.ask(&format!("HGETALL ~{}", a.id)).await;
    let field = |name: &str| job[name].as_str();
    assert_eq!((field("name"), field("priority"), field("delay")), ("spawn", "5", "0"));
    assert_eq!(
        (field("timestamp"), field("agentId")),
        (T0.0.to_string().as_str(), a.id.to_string().as_str())
    );
    let data: Value = serde_json::from_str(field("data")).unwrap();
    assert_eq!(SpawnSpec::parse(&data).unwrap(), a.spec, "the job carries the body of a spawn");
    let options: Value = serde_json::from_str(field("opts")).unwrap();
    assert_eq!((&options["priority"], &options["attempts"]), (&json!(5), &json!(a.spec.max_retries + 1)));
    assert_eq!(world.ask::<u64>(&format!("ZSCORE ~prioritized {}", a.id)).await, 5 * (1 << 32) + 1);
    assert_eq!(world.ask::<u64>("GET ~id").await, 1);
    let meta: Vec<String> = world.ask("HMGET ~meta opts.maxLenEvents version").await;
    assert!(meta[0] == "10000" && meta[1].starts_with("mosaic:"), "{meta:?}");
    let (held, record) = lease(&*store, at(1)).await;
    assert_eq!(world.ask::<Vec<String>>("LRANGE ~active 0 -1").await, [a.id.to_string()]);
    assert_eq!(world.ask::<String>(&format!("HGET ~{} processedOn", a.id)).await, at(1).0.to_string());
    let works = working(record.agent, at(2));
    store.advance(&held, change(works.clone(), "agent.running", at(2))).await.unwrap();
    let progress: String = world.ask(&format!("HGET ~{} progress", a.id)).await;
    assert_eq!(serde_json::from_str::<Value>(&progress).unwrap()["phase"], "working");
    let lines: Vec<String> = world.ask(&format!("LRANGE ~{}:logs 0 -1", a.id)).await;
    assert!(lines.len() == 1 && lines[0].contains("agent.running"), "{lines:?}");
    store.advance(&held, change(in_backoff(works.clone(), at(60)), "agent.backoff", at(3))).await.unwrap();
    assert_eq!(world.ask::<u64>(&format!("EXISTS ~{}:lock", a.id)).await, 0);
    let (held, record) = lease(&*store, at(60)).await;
    assert_eq!(world.ask::<String>(&format!("HGET ~{} delay", a.id)).await, "0");
    let mut done = working(record.agent, at(61));
    let commit: CommitId = "0123456789012345678901234567890123456789".parse().unwrap();
    done.work.pushed = Some(commit.clone());
    store.advance(&held, change(done.clone(), "agent.running", at(61))).await.unwrap();
    let end = settled(done, Status::Completed, EndReason::Done, at(62));
    store.advance(&held, change(end, "agent.completed", at(62))).await.unwrap();
    let expected = [
        "added",
        "waiting",
        "active waiting",
        "progress",
        "delayed",
        "waiting delayed",
        "active waiting",
        "progress",
        "completed active",
        "drained",
    ];
    assert_eq!(told(&world).await, expected);
    assert_eq!(world.ask::<u64>(&format!("ZSCORE ~completed {}", a.id)).await, at(62).0);
    let result: Vec<String> = world.ask(&format!("HMGET ~{} returnvalue finishedOn ats atm", a.id)).await;
    assert_eq!(
        serde_json::from_str::<Value>(&result[0]).unwrap(),
        json!({"branch": a.branch, "commit": commit, "verdict": null})
    );
    assert_eq!(result[1..], [at(62).0.to_string(), "2".to_owned(), "2".to_owned()]);
    for empty in ["~active", "~wait", "~prioritized", "~delayed"] {
        assert_eq!(world.ask::<u64>(&format!("EXISTS {empty}")).await, 0, "{empty}");
    }
}

#[tokio::test]
async fn a_killed_agents_job_has_failed_with_the_reason() {
    let Some(world) = World::new(&[]).await else { return };
    let store = world.store().await;
    let [a, b] = [agent("a", T0), agent("b", at(1))];
    let read = admit(&*store, &a).await;
    admit(&*store, &b).await;
    let mut killed = settled(a.clone(), Status::Killed, EndReason::Operator, at(2));
    if let mosaic_core::domain::agent::State::Settled { end } = &mut killed.state {
        end.error = Some("enough (alice)".to_owned());
    }
    store
        .amend(vec![(read.version, change(killed, "agent.killed", at(2)))])
        .await
        .unwrap()
        .remove(0)
        .unwrap();
    let (held, record) = lease(&*store, at(3)).await;
    let failed = settled(record.agent, Status::Failed, EndReason::AgentError, at(4));
    store.advance(&held, change(failed, "agent.failed", at(4))).await.unwrap();
    let of = |id| format!("HMGET ~{id} failedReason stacktrace");
    let reasons: Vec<String> = world.ask(&of(a.id)).await;
    assert_eq!(reasons[0], "killed: enough (alice)");
    assert_eq!(serde_json::from_str::<Vec<String>>(&reasons[1]).unwrap(), [reasons[0].clone()]);
    let reasons: Vec<String> = world.ask(&of(b.id)).await;
    assert_eq!(reasons[0], "it went wrong");
    assert_eq!(world.ask::<u64>("ZCARD ~failed").await, 2);
    // A record that goes takes its job with it.
    let kept = store.get(a.id).await.unwrap();
    let removal = Removal {
        agent: a.id,
        version: kept.version,
        at: at(9),
        why: "old".to_owned(),
        node: Some(node("n1")),
        facts: Vec::new(),
    };
    store.remove(removal).await.unwrap();
    let told = store.get(a.id).await;
    assert!(matches!(&told, Err(StoreError::Pruned { node: Some(by), .. }) if *by == node("n1")), "{told:?}");
    let left: Vec<String> = world.ask("KEYS *").await;
    assert!(!left.iter().any(|key| key.contains(&a.id.to_string()) || key.ends_with("task:a")), "{left:?}");
    assert_eq!(world.ask::<u64>("ZCARD ~failed").await, 1);
}

#[tokio::test]
async fn a_task_names_its_agents_and_the_newest_ones_status() {
    let Some(world) = World::new(&[]).await else { return };
    let store = world.store().await;
    let [first, second] = [agent("US-1", T0), agent("US-1", at(10))];
    let read = admit(&*store, &first).await;
    let end = settled(first.clone(), Status::Killed, EndReason::Operator, at(1));
    store.amend(vec![(read.version, change(end, "x", at(1)))]).await.unwrap().remove(0).unwrap();
    assert_eq!(json_at(&world, "orchestrator:task:US-1").await["status"], "killed");
    admit(&*store, &second).await;
    let (held, record) = lease(&*store, at(10)).await;
    store.advance(&held, change(working(record.agent, at(11)), "x", at(11))).await.unwrap();
    let task = json_at(&world, "orchestrator:task:US-1").await;
    assert_eq!(task["agents"], json!([first.id, second.id]));
    assert_eq!((&task["status"], &task["agentId"]), (&json!("running"), &json!(second.id)));
    assert_eq!((&task["taskId"], &task["createdAt"]), (&json!("US-1"), &json!(T0.to_rfc3339())));
    assert_eq!(task["context"], json!(second.spec.context));
    let end = settled(second.clone(), Status::Completed, EndReason::Done, at(12));
    let version = store.advance(&held, change(working_end(end, at(11)), "x", at(12))).await.unwrap();
    let removal = Removal {
        agent: second.id,
        version,
        at: at(20),
        why: "old".to_owned(),
        node: Some(node("n1")),
        facts: Vec::new(),
    };
    store.remove(removal).await.unwrap();
    let task = json_at(&world, "orchestrator:task:US-1").await;
    assert_eq!((&task["agents"], &task["status"]), (&json!([first.id]), &json!("killed")));
}

fn working_end(
    mut agent: mosaic_core::domain::agent::Agent,
    started: mosaic_core::domain::ids::Timestamp,
) -> mosaic_core::domain::agent::Agent {
    agent.started_at = Some(started);
    agent.attempt = 1;
    agent
}

#[tokio::test]
async fn pausing_is_the_queues_own_switch() {
    let Some(world) = World::new(&[]).await else { return };
    let store = world.store().await;
    admit(&*store, &agent("a", T0)).await;
    world.ask::<()>("HSET ~meta paused 1").await;
    assert!(store.lease(&node("n1"), at(1)).await.unwrap().is_none());
    assert!(store.pause().await.unwrap().unwrap().by.contains("another client"));
    world.ask::<()>("HDEL ~meta paused").await;
    assert_eq!(store.pause().await.unwrap(), None);
    let pause = Pause { by: "alice".to_owned(), reason: None, at: at(1) };
    store.set_pause(Some(pause), fact("queue.paused", &agent("x", T0), at(1))).await.unwrap();
    assert_eq!(world.ask::<String>("HGET ~meta paused").await, "1");
    assert_eq!(world.ask::<u64>("EXISTS ~marker").await, 0);
    admit(&*store, &agent("b", T0)).await;
    assert_eq!(world.ask::<u64>("EXISTS ~marker").await, 0, "nobody is woken meanwhile");
    let mut changes = store.changes();
    changes.borrow_and_update();
    store.set_pause(None, fact("queue.resumed", &agent("x", T0), at(2))).await.unwrap();
    woken(&mut changes).await;
    assert_eq!(world.ask::<u64>("HEXISTS ~meta paused").await, 0);
    assert_eq!(told(&world).await, ["added", "waiting", "paused", "added", "waiting", "resumed"]);
    lease(&*store, at(3)).await;
}

#[tokio::test]
async fn the_reason_of_a_pause_is_gone_once_another_client_resumed_it() {
    let Some(world) = World::new(&[]).await else { return };
    let store = world.store().await;
    // As BullMQ writes it, whoever calls for it.
    let turn = async |on: bool| {
        let (switch, event) =
            if on { ("HSET ~meta paused 1", "paused") } else { ("HDEL ~meta paused", "resumed") };
        world.ask::<()>(switch).await;
        world.ask::<String>(&format!("XADD ~events * event {event}")).await;
    };
    let by = async |name: &str| {
        let (by, reason) = (name.to_owned(), Some("maintenance".to_owned()));
        let pause = Pause { by, reason, at: at(1) };
        store.set_pause(Some(pause), fact("queue.paused", &agent("x", T0), at(1))).await.unwrap();
    };
    by("alice").await;
    turn(false).await;
    turn(true).await;
    store.external_changes(10).await.unwrap();
    let seen = store.pause().await.unwrap().unwrap();
    assert_eq!((seen.by.as_str(), seen.reason), ("another client of the queue", None));
    // What another client resumed before says nothing of a later pause.
    turn(false).await;
    by("bob").await;
    store.external_changes(10).await.unwrap();
    let seen = store.pause().await.unwrap().unwrap();
    assert_eq!((seen.by.as_str(), seen.reason.as_deref()), ("bob", Some("maintenance")));
}

#[tokio::test]
async fn every_fact_is_published_in_its_envelope() {
    let Some(world) = World::new(&[]).await else { return };
    let store = world.store().await;
    let client = redis::Client::open(("127.0.0.1", world.server.port())).unwrap();
    let mut listener = client.get_async_pubsub().await.unwrap();
    listener.subscribe("orchestrator:events").await.unwrap();
    let mut messages = listener.into_on_message();
    let a = agent("a", at(10));
    admit(&*store, &a).await;
    // Its time is put right, in the text as in the number.
    store.log(vec![fact("x", &a, at(5))]).await.unwrap();
    for entry in store.entries(0, 10).await.unwrap() {
        let message =
            tokio::time::timeout(std::time::Duration::from_secs(10), messages.next()).await.unwrap();
        let envelope: Value = serde_json::from_slice(message.unwrap().get_payload_bytes()).unwrap();
        assert_eq!(envelope, entry.envelope("fleet"));
    }
}
