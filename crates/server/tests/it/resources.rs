//! Resources of our own under `/v1`: lists, one agent, blocking queries, diff, gates, queue, tasks.

use axum::body::Body;
use mosaic_core::domain::agent::{End, State, Status};
use mosaic_core::domain::gates::{GateOutcome, GatePlan, GateReport, GateResult};
use mosaic_core::domain::outcome::EndReason;
use mosaic_core::ports::repositories::{ChangeKind, FileStat};
use mosaic_core::ports::transcripts::Transcripts;
use mosaic_testkit::fakes::repositories::commit;
use mosaic_testkit::fakes::scanner::SECRET;
use serde_json::json;

use crate::world::{World, ask, example, task};

fn completed(world: &World) -> State {
    let at = world.orchestrator.now();
    State::Settled { end: End { status: Status::Completed, reason: EndReason::Done, error: None, at } }
}

#[tokio::test]
async fn lists_are_paged_and_a_cursor_keeps_to_its_filters() {
    let world = World::new();
    for n in 0..7 {
        world.spawned(&format!("T-{n}")).await;
    }
    let mut seen = Vec::new();
    let mut path = "/v1/agents?limit=3&status=spawning".to_owned();
    loop {
        let page = world.get(&path).await;
        let body = page.json();
        seen.extend(
            body["items"].as_array().unwrap().iter().map(|item| item["taskId"].as_str().unwrap().to_owned()),
        );
        let Some(cursor) = body["nextCursor"].as_str() else { break };
        let link = page.header("link");
        path = link.split(['<', '>']).nth(1).unwrap().to_owned();
        assert!(link.ends_with("; rel=\"next\"") && path.contains(cursor), "{link}");
    }
    assert_eq!(seen, ["T-6", "T-5", "T-4", "T-3", "T-2", "T-1", "T-0"]);
    let cursor = world.get("/v1/agents?limit=3").await.json()["nextCursor"].as_str().unwrap().to_owned();
    world.get(&format!("/v1/agents?status=spawning&cursor={cursor}")).await.is(400, "cursor_mismatch");
    world.get("/v1/agents?cursor=zzz").await.is(400, "validation_failed");
    let typo = world.get("/v1/agents?stauts=running").await;
    typo.is(400, "validation_failed");
    assert!(typo.text().contains("did you mean \\\"status\\\"?"), "{}", typo.text());
    for bad in [
        "limit=0",
        "limit=201",
        "limit=-1",
        "status=done",
        "type=worker,tester",
        "since=yesterday",
        "label=x",
        "dead=maybe",
    ] {
        world.get(&format!("/v1/agents?{bad}")).await.is(400, "validation_failed");
    }
    for (filter, wanted) in [
        ("taskId=T-3", 1),
        ("q=t-", 7),
        ("q=nope", 0),
        ("type=worker", 7),
        ("phase=queued,working", 7),
        ("status=", 7),
    ] {
        let found = world.get(&format!("/v1/agents?{filter}")).await.json();
        assert_eq!(found["items"].as_array().unwrap().len(), wanted, "{filter}");
    }
}

#[tokio::test]
async fn one_agent_has_a_tag() {
    let world = World::new();
    let id = world.spawned("A").await;
    let path = format!("/v1/agents/{id}");
    let first = world.get(&path).await;
    assert_eq!(first.json()["context"]["workItems"], json!(["US-001"]));
    assert_eq!((&first.json()["version"], &first.json()["queuePosition"]), (&json!(1), &json!(0)));
    let tag = first.header("etag").to_owned();
    let again = async |tag: &str| {
        world.send(ask("GET", &path).header("if-none-match", tag).body(Body::empty()).unwrap()).await
    };
    assert_eq!((again(&tag).await.status, again(&tag).await.body.len()), (304, 0));
    assert_eq!(again(&format!("\"x\", {tag}")).await.status, 304);
    world.order("POST", &format!("/agents/{id}/kill")).await;
    assert_eq!(again(&tag).await.status, 200);
}

#[tokio::test]
async fn a_blocking_query_waits_for_what_it_names() {
    let world = World::new();
    let id = world.spawned("A").await;
    let path = |query: &str| format!("/v1/agents/{id}?{query}");
    for bad in [
        "wait=61s",
        "wait=2m",
        "wait=x",
        "wait=1h",
        "wait=99999999999999999999",
        "until=done",
        "until=status:done",
    ] {
        world.get(&path(bad)).await.is(400, "validation_failed");
    }
    let late = world.get(&path("wait=5s")).await;
    assert_eq!((late.status, &late.json()["waited"]), (200, &json!(true)));
    let (lease, mut agent) = world.leased().await;
    agent.started_at = Some(world.orchestrator.now());
    let first = path("wait=60s&until=status:running");
    let (running, agent) = tokio::join!(world.get(&first), async {
        tokio::task::yield_now().await;
        world.write(&lease, agent, State::Working).await
    });
    assert_eq!((&running.json()["status"], running.json().get("waited")), (&json!("running"), None));
    let second = path("wait=60s");
    let (ended, _) = tokio::join!(world.get(&second), async {
        tokio::task::yield_now().await;
        world.write(&lease, agent, completed(&world)).await
    });
    assert_eq!((&ended.json()["status"], ended.json().get("waited")), (&json!("completed"), None));
    assert_eq!(
        world.get(&path("wait=60s&until=attention")).await.json()["status"],
        "completed",
        "nothing can follow"
    );
}

#[tokio::test]
async fn a_manual_retry_is_a_new_agent() {
    let world = World::new();
    let id = world.spawned("A").await;
    let path = format!("/v1/agents/{id}/retry");
    world.order("POST", &path).await.is(409, "agent_active");
    world.order("POST", &format!("/agents/{id}/kill")).await;
    let again = world.order("POST", &path).await;
    assert_eq!((again.status, &again.json()["previousAgentId"]), (201, &json!(id)));
    let new = again.json()["agentId"].as_str().unwrap().to_owned();
    assert_ne!(new, id.to_string());
    assert_eq!(again.header("location"), format!("/v1/agents/{new}"));
    let active = world.order("POST", &path).await;
    active.is(409, "task_active");
    assert_eq!(active.json()["agentId"], new);
    world
        .order("POST", "/v1/agents/7d0c6c1e-4a52-4d0e-9a55-0d7c9f2f3f9a/retry")
        .await
        .is(404, "agent_not_found");
}

/// A modified text file of a diff.
fn changed(path: &str, added: u64, deleted: u64) -> FileStat {
    let mode = || Some("100644".to_owned());
    FileStat {
        kind: ChangeKind::Modified,
        path: path.as_bytes().to_vec(),
        old_path: None,
        old_mode: mode(),
        new_mode: mode(),
        added: Some(added),
        deleted: Some(deleted),
    }
}

#[tokio::test]
async fn diffs_come_whole_or_taken_apart() {
    let world = World::new();
    let id = world.spawned("A").await;
    let path = format!("/v1/agents/{id}/diff");
    let nothing = world.get(&path).await.json();
    assert_eq!((&nothing["files"], &nothing["head"]), (&json!([]), &json!(null)));
    let (lease, mut agent) = world.leased().await;
    (agent.work.base, agent.work.kept) = (Some(commit('a')), Some(commit('b')));
    world.write(&lease, agent, State::Working).await;
    let text = "diff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -1 +1 @@\n-a\n+b\n";
    let file = changed("x", 1, 1);
    *world.repositories.diff.lock() = (vec![file], text.as_bytes().to_vec());
    let json_diff = world.get(&path).await.json();
    assert_eq!(json_diff["files"][0]["hunks"][0], json!({"header": "@@ -1 +1 @@", "lines": "-a\n+b\n"}));
    assert_eq!((&json_diff["text"], &json_diff["truncated"]), (&json!(text), &json!(false)));
    let plain = world.get_as(&path, "text/x-diff").await;
    assert_eq!((plain.text().as_str(), plain.header("content-type")), (text, "text/x-diff; charset=utf-8"));
    assert_eq!(world.get(&format!("{path}?stat=1")).await.json()["text"], "");
    world.get_as(&path, "image/png").await.is(406, "not_acceptable");
    world.repositories.diff.lock().1 = b"+\n".repeat(5 << 19);
    let cut = world.get_as(&path, "text/x-diff").await;
    assert_eq!((cut.status, cut.header("x-truncated"), cut.body.len()), (200, "true", 4 << 20));
}

#[tokio::test]
async fn a_blocked_secret_leaves_through_no_other_door() {
    let world = World::new();
    let id = world.spawned("A").await;
    let (lease, mut agent) = world.leased().await;
    (agent.work.base, agent.work.kept) = (Some(commit('a')), Some(commit('b')));
    let result = GateResult {
        exit_code: Some(0),
        log: Some("gate-tests-1".to_owned()),
        ..GateResult::new("tests".parse().unwrap(), GateOutcome::Pass, "ok")
    };
    agent.work.report = Some(GateReport::new(commit('b'), vec![result], &GatePlan::default()));
    world.write(&lease, agent, State::Working).await;
    let text = format!("diff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -0,0 +1 @@\n+key {SECRET}\n");
    let file = changed("x", 1, 0);
    *world.repositories.diff.lock() = (vec![file], text.clone().into_bytes());
    std::fs::write(world.transcripts.log(id, "gate-tests-1"), format!("key {SECRET}\n")).unwrap();
    std::fs::write(world.transcripts.raw(id, 1), format!("{{\"key\":\"{SECRET}\"}}\n")).unwrap();
    let own = format!("/v1/agents/{id}");
    let json_diff = world.get(&format!("{own}/diff")).await;
    assert_eq!(json_diff.json()["files"][0]["hunks"][0]["lines"], "+key open…\n");
    let plain = world.get_as(&format!("{own}/diff"), "text/x-diff").await;
    assert_eq!(plain.text(), text.replace(SECRET, "open…"));
    assert_eq!(world.get(&format!("{own}/gates/tests/log")).await.text(), "key open…\n");
    let raw = world.get_as(&format!("{own}/transcript"), "application/x-ndjson").await;
    assert_eq!(raw.text(), "{\"key\":\"open…\"}\n");
    assert!(!json_diff.text().contains(SECRET));
}

#[tokio::test]
async fn gates_show_their_report_and_their_logs() {
    let world = World::new();
    let id = world.spawned("A").await;
    let path = format!("/v1/agents/{id}/gates");
    assert_eq!(world.get(&path).await.json()["report"], json!(null));
    world.get(&format!("{path}/tests/log")).await.is(404, "log_not_found");
    let (lease, mut agent) = world.leased().await;
    let result = GateResult {
        command: Some("cargo test".to_owned()),
        exit_code: Some(101),
        duration_ms: 1500,
        log: Some("gate-tests-1".to_owned()),
        ..GateResult::new("tests".parse().unwrap(), GateOutcome::Fail, "2 of 40 failed")
    };
    agent.work.report = Some(GateReport::new(commit('b'), vec![result], &GatePlan::default()));
    world.write(&lease, agent, State::Gating { head: commit('b') }).await;
    let shown = world.get(&path).await.json();
    assert_eq!(
        (&shown["verdict"], &shown["report"]["results"][0]["outcome"]),
        (&json!("failed"), &json!("fail"))
    );
    world.get(&format!("{path}/tests/log")).await.is(404, "log_not_found");
    let bytes = [vec![b'x'; 200_000], vec![0, 0xff]].concat();
    std::fs::write(world.transcripts.log(id, "gate-tests-1"), &bytes).unwrap();
    let log = world.get(&format!("{path}/tests/log")).await;
    assert_eq!((log.status, log.header("content-type")), (200, "text/plain; charset=utf-8"));
    assert_eq!(log.body, bytes);
    world.get(&format!("{path}/..%2f..%2fsecret/log")).await.is(400, "validation_failed");
}

#[tokio::test]
async fn the_queue_shows_its_order_and_can_be_paused() {
    let world = World::new();
    world.spawned("slow").await;
    let mut urgent = task("urgent");
    urgent["priority"] = json!(1);
    world.post("/agents/spawn", &urgent).await;
    let queue = world.get("/v1/queue").await.json();
    assert_eq!((&queue["paused"], &queue["counts"]["waiting"]), (&json!(false), &json!(2)));
    let order: Vec<_> = queue["waiting"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| (e["position"].as_u64(), e["taskId"].as_str()))
        .collect();
    assert_eq!(order, [(Some(0), Some("urgent")), (Some(1), Some("slow"))]);
    let second = world.get("/v1/queue?offset=1&limit=1").await.json();
    assert_eq!(
        (&second["waiting"][0]["taskId"], &second["waiting"][0]["position"]),
        (&json!("slow"), &json!(1))
    );
    for _ in 0..2 {
        let paused = world.post("/v1/queue/pause", &json!({"reason": "release day"})).await;
        assert_eq!((paused.status, &paused.json()["paused"]), (200, &json!(true)));
    }
    assert_eq!(world.get("/v1/queue").await.json()["pause"]["reason"], "release day");
    for _ in 0..2 {
        assert_eq!(world.order("POST", "/v1/queue/resume").await.json()["paused"], false);
    }
    let (lease, agent) = world.leased().await;
    let at = world.orchestrator.now();
    let end =
        End { status: Status::Failed, reason: EndReason::AgentError, error: Some("crashed".to_owned()), at };
    world.write(&lease, agent, State::Settled { end }).await;
    let dead = world.get("/v1/queue").await.json();
    assert_eq!(
        (&dead["dead"][0]["taskId"], &dead["dead"][0]["error"]),
        (&json!("urgent"), &json!("crashed"))
    );
}

#[tokio::test]
async fn waiting_work_of_a_task_can_be_removed() {
    let world = World::new();
    world.order("DELETE", "/v1/tasks/none").await.is(404, "task_not_found");
    world.order("DELETE", "/v1/tasks/-x").await.is(400, "validation_failed");
    world.get("/v1/tasks/none").await.is(404, "task_not_found");
    let id = world.spawned("A/1 ü").await;
    let path = "/v1/tasks/A%2F1%20%C3%BC";
    assert_eq!(world.get(path).await.json()["agents"][0]["agentId"], json!(id));
    assert_eq!(world.order("DELETE", path).await.json()["removed"], json!([id]));
    assert_eq!(world.order("DELETE", path).await.json()["removed"], json!([]), "twice is as good as once");
    assert_eq!(world.get(&format!("/agents/{id}/status")).await.json()["endReason"], "operator");
    let running = world.spawned("B").await;
    world.leased().await;
    let refused = world.order("DELETE", "/v1/tasks/B").await;
    let (status, agent) = (refused.status, refused.json()["agentId"].clone());
    assert_eq!((status, agent), (409, json!(running)), "{}", refused.text());
}

#[tokio::test]
async fn restoring_says_why_there_is_nothing_to_restore() {
    let world = World::new();
    let spawned = world.post("/agents/spawn", &example()).await.json();
    let path = format!("/v1/agents/{}/restore", spawned["agentId"].as_str().unwrap());
    let active = world.post(&path, &json!({})).await;
    assert_eq!((active.status, &active.json()["code"]), (409, &json!("agent_active")));
    world.post(&path.replace("restore", "kill"), &json!({})).await;
    let nothing = world.post(&path, &json!({})).await;
    assert_eq!((nothing.status, &nothing.json()["code"]), (404, &json!("nothing_to_restore")));
    let unknown = world.post("/v1/agents/00000000-0000-4000-8000-000000000000/restore", &json!({})).await;
    assert_eq!((unknown.status, &unknown.json()["code"]), (404, &json!("agent_not_found")));
}
