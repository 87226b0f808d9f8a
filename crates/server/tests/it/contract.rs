//! The contract's routes: the status of every outcome.

use std::sync::atomic::Ordering;

use axum::body::Body;
use mosaic_core::domain::agent::{End, State, Status};
use mosaic_core::domain::outcome::EndReason;
use serde_json::{Value, json};

use crate::world::{World, ask, example, task};

#[tokio::test]
async fn the_published_example_spawns_an_agent() {
    let world = World::new();
    let answer = world.post("/agents/spawn", &example()).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    let body = answer.json();
    let id = body["agentId"].as_str().unwrap();
    assert_eq!((&body["status"], &body["phase"]), (&json!("spawning"), &json!("queued")));
    assert_eq!(body["queuePosition"], 0);
    assert_eq!(answer.header("location"), format!("/v1/agents/{id}"));
    assert_eq!(body["links"]["self"], format!("/v1/agents/{id}"));
    assert_eq!(answer.header("cache-control"), "no-store");
    assert_eq!(answer.header("x-content-type-options"), "nosniff");
    let status = world.get(&format!("/agents/{id}/status")).await.json();
    assert_eq!(status["agentId"], id);
    assert_eq!((&status["taskId"], &status["status"]), (&json!("US-001"), &json!("spawning")));
    assert!(status["spawnedAt"].as_str().unwrap().ends_with('Z'));
    for absent in ["startedAt", "completedAt", "error"] {
        assert!(status.get(absent).is_none(), "{absent} in {status}");
    }
    let v1 = world.post("/v1/agents", &task("US-002")).await;
    assert_eq!((v1.status, &v1.json()["queuePosition"]), (201, &json!(1)));
}

#[tokio::test]
async fn bad_bodies_are_refused_with_every_fault() {
    let world = World::new();
    let send = async |kind: &str, body: &[u8]| {
        let request =
            ask("POST", "/agents/spawn").header("content-type", kind).body(Body::from(body.to_vec()));
        world.send(request.unwrap()).await
    };
    let json = "application/json";
    for bad in ["", "{", "{\"taskId\":}", "nonsense", "{\"a\":1}x", "\u{feff}{}", &"[".repeat(5000)] {
        let answer = send(json, bad.as_bytes()).await;
        answer.is(400, "invalid_json");
        assert!(answer.json()["line"].is_u64() && answer.json()["column"].is_u64());
    }
    send(json, b"{\"taskId\":\"\xff\xfe\"}").await.is(400, "invalid_json");
    for wrong in ["[]", "null", "1", "\"x\"", "{}"] {
        send(json, wrong.as_bytes()).await.is(400, "validation_failed");
    }
    for kind in
        ["text/plain", "application/x-www-form-urlencoded", "", "application/json; charset=utf-16", "json"]
    {
        send(kind, b"{}").await.is(415, "unsupported_media_type");
    }
    for kind in ["application/json; charset=\"UTF-8\"", "Application/JSON", "application/vnd.x+json"] {
        send(kind, b"{}").await.is(400, "validation_failed");
    }
    let large = format!("{{\"taskId\":\"{}\"}}", "x".repeat(1024 * 1024));
    send(json, large.as_bytes()).await.is(413, "payload_too_large");
    let announced =
        ask("POST", "/agents/spawn").header("content-type", json).header("content-length", "9999999999");
    world.send(announced.body(Body::empty()).unwrap()).await.is(413, "payload_too_large");
    let many = send(json, br#"{"taskId":"","agentType":"wroker","priority":0,"contex":{}}"#).await;
    let pointers: Vec<String> = many.json()["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| e["pointer"].as_str().unwrap().to_owned())
        .collect();
    for pointer in ["/taskId", "/agentType", "/priority", "/contex", "/context"] {
        assert!(pointers.iter().any(|p| p == pointer), "{pointer} in {pointers:?}");
    }
    assert!(many.text().contains("did you mean \\\"context\\\"?"), "{}", many.text());
    let never = ask("POST", "/agents/spawn").header("content-type", json);
    let never =
        never.body(Body::from_stream(futures_util::stream::pending::<Result<Vec<u8>, std::io::Error>>()));
    world.send(never.unwrap()).await.is(408, "request_timeout");
}

#[tokio::test]
async fn what_cannot_be_done_says_so() {
    let world = World::new();
    let change = |change: fn(&mut Value)| {
        let mut body = example();
        change(&mut body);
        body
    };
    let local = change(|b| b["context"]["repository"] = json!("/srv/git/x.git"));
    world.post("/agents/spawn", &local).await.is(403, "policy_denied");
    let custom = change(|b| b["gateProfile"] = json!("custom"));
    world.post("/agents/spawn", &custom).await.is(422, "unsatisfiable");
    let runtime = change(|b| b["runtime"] = json!("codex"));
    world.post("/agents/spawn", &runtime).await.is(422, "unsatisfiable");
    let capped = change(|b| {
        b["runtime"] = json!("command");
        b["budget"] = json!({"usd": 1.5});
    });
    world.post("/agents/spawn", &capped).await.is(422, "unsatisfiable");
    let far = change(|b| b["context"]["repository"] = json!("https://unreachable.example/x.git"));
    world.post("/agents/spawn?validate=remote", &far).await.is(422, "repository_unreachable");
    let branch = change(|b| b["context"]["branch"] = json!("missing"));
    world.post("/agents/spawn?validate=remote", &branch).await.is(422, "branch_not_found");
    world.post("/agents/spawn?validate=yes", &example()).await.is(400, "validation_failed");
    world.post("/agents/spawn?valdate=remote", &example()).await.is(400, "validation_failed");
    assert_eq!(world.post("/agents/spawn?validate=remote", &example()).await.status, 201);
    let again = world.post("/agents/spawn", &example()).await;
    again.is(409, "task_active");
    assert!(again.json()["agentId"].is_string());
    assert!(
        again.json()["detail"].as_str().unwrap().starts_with("US-001 (worker) is being worked on by us-001-")
    );
    assert_eq!(again.json()["errors"][0]["pointer"], "/taskId");
    let other = change(|b| b["agentType"] = json!("reviewer"));
    assert_eq!(world.post("/agents/spawn", &other).await.status, 201, "another type is another agent");
}

#[tokio::test]
async fn passing_troubles_are_retryable() {
    let world = World::with(2, |_| {});
    world.host.free.store(1, Ordering::SeqCst);
    world.post("/agents/spawn", &example()).await.is(503, "disk_low");
    world.host.free.store(1 << 40, Ordering::SeqCst);
    world.store.set_down(true);
    world.post("/agents/spawn", &example()).await.is(503, "store_unavailable");
    world.store.set_down(false);
    world.spawned("A").await;
    world.spawned("B").await;
    world.post("/agents/spawn", &task("C")).await.is(429, "queue_full");
    world.orchestrator.refuse_new();
    world.post("/agents/spawn", &task("D")).await.is(503, "shutting_down");
    assert_eq!(world.get("/health").await.json()["status"], "draining");
    assert_eq!(world.get("/v1/agents").await.json()["items"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn an_idempotency_key_makes_a_retry_repeatable() {
    let world = World::new();
    let id = world.spawned("again").await;
    world.order("POST", &format!("/v1/agents/{id}/kill")).await;
    let path = format!("/v1/agents/{id}/retry");
    let send = |body: &'static str| {
        let request =
            ask("POST", &path).header("idempotency-key", "k1").header("content-type", "application/json");
        world.send(request.body(Body::from(body)).unwrap())
    };
    let (first, again) = (send("{}").await, send("{}").await);
    assert_eq!((first.status, again.status), (201, 201), "{}", again.text());
    assert_eq!(first.json()["agentId"], again.json()["agentId"]);
    assert_eq!(again.header("idempotency-replayed"), "true");
    send(r#"{"reason": "another"}"#).await.is(422, "idempotency_mismatch");
}

/// Whatever the default of the node that runs it is: what was promised at the spawn is shown and holds.
#[tokio::test]
async fn the_runtime_is_named_also_when_the_spawn_named_none() {
    let world = World::new();
    let id = world.spawned("plain").await;
    assert_eq!(world.get(&format!("/v1/agents/{id}")).await.json()["runtime"], "demo");
}

#[tokio::test]
async fn an_idempotency_key_makes_a_spawn_repeatable() {
    let world = World::new();
    let send = async |key: &[u8], path: &str, body: &str| {
        let request = ask("POST", path).header("content-type", "application/json");
        world.send(request.header("idempotency-key", key).body(Body::from(body.to_owned())).unwrap()).await
    };
    let body = example().to_string();
    let first = send(b"k1", "/agents/spawn", &body).await;
    assert_eq!((first.status, first.header("idempotency-replayed")), (201, ""));
    // The same fields in another order and spacing are the same request.
    let mut fields: Vec<(String, Value)> = example().as_object().unwrap().clone().into_iter().collect();
    fields.reverse();
    let turned: Vec<String> = fields.iter().map(|(k, v)| format!(" {} :{v}", json!(k))).collect();
    let again = send(b"k1", "/agents/spawn", &format!("{{{}}}", turned.join(","))).await;
    assert_eq!((again.status, again.header("idempotency-replayed")), (201, "true"));
    assert_eq!(again.json()["agentId"], first.json()["agentId"]);
    assert_eq!(again.header("location"), first.header("location"));
    send(b"k1", "/agents/spawn", &task("other").to_string()).await.is(422, "idempotency_mismatch");
    send(b"k1", "/v1/agents", &body).await.is(422, "idempotency_mismatch");
    let id = first.json()["agentId"].as_str().unwrap().to_owned();
    assert_eq!(world.order("POST", &format!("/agents/{id}/kill")).await.status, 200);
    let late = send(b"k1", "/agents/spawn", &body).await;
    assert_eq!(
        (late.status, &late.json()["status"]),
        (201, &json!("spawning")),
        "a replay repeats the first answer"
    );
    for bad in [&b""[..], b"a b", b"\xff", b"\t", &[b'x'; 256]] {
        send(bad, "/agents/spawn", &body).await.is(400, "validation_failed");
    }
    assert_eq!(send(&[b'x'; 255], "/agents/spawn", &task("long").to_string()).await.status, 201);
    let twice = ask("POST", "/agents/spawn").header("content-type", "application/json");
    let twice = twice.header("idempotency-key", "a").header("idempotency-key", "b").body(Body::from(body));
    world.send(twice.unwrap()).await.is(400, "validation_failed");
}

#[tokio::test]
async fn status_tells_every_state_in_the_contracts_words() {
    let world = World::new();
    world.get("/agents/not-a-uuid/status").await.is(400, "validation_failed");
    world.get("/agents/7d0c6c1e4a524d0e9a550d7c9f2f3f9a/status").await.is(400, "validation_failed");
    world.get("/agents/7d0c6c1e-4a52-4d0e-9a55-0d7c9f2f3f9a/status").await.is(404, "agent_not_found");
    let id = world.spawned("A").await;
    let path = format!("/agents/{id}/status");
    let (lease, mut agent) = world.leased().await;
    agent.started_at = Some(world.orchestrator.now());
    agent.attempt = 1;
    let agent = world.write(&lease, agent, State::Working).await;
    let running = world.get(&path).await.json();
    assert_eq!((&running["status"], &running["phase"]), (&json!("running"), &json!("working")));
    assert!(running["startedAt"].is_string() && running.get("completedAt").is_none());
    let at = world.orchestrator.now();
    let error = Some("tests failed: 2 of 40".to_owned());
    let end = End { status: Status::Failed, reason: EndReason::GatesFailed, error: error.clone(), at };
    world.write(&lease, agent, State::Settled { end }).await;
    let failed = world.get(&path).await.json();
    assert_eq!((&failed["status"], &failed["endReason"]), (&json!("failed"), &json!("gates_failed")));
    assert_eq!((&failed["error"], &failed["completedAt"]), (&json!(error), &json!(at.to_rfc3339())));
    world.store.set_damaged();
    world.get(&path).await.is(500, "record_damaged");
}

#[tokio::test]
async fn kill_says_what_became_of_the_agent() {
    let world = World::new();
    let unknown = "/agents/7d0c6c1e-4a52-4d0e-9a55-0d7c9f2f3f9a/kill";
    world.order("POST", unknown).await.is(404, "agent_not_found");
    world.order("POST", "/agents/1/kill").await.is(400, "validation_failed");
    let waiting = world.spawned("A").await;
    let path = format!("/agents/{waiting}/kill");
    world.post(&path, &json!({"resaon": "x"})).await.is(400, "validation_failed");
    world.post(&path, &json!({"reason": "a\u{202e}b"})).await.is(400, "validation_failed");
    let killed = world.post(&path, &json!({"reason": "not needed"})).await;
    assert_eq!(killed.status, 200);
    let body = killed.json();
    assert_eq!((&body["agentId"], &body["status"]), (&json!(waiting), &json!("killed")));
    assert_eq!((&body["verified"], &body["alreadyTerminal"]), (&json!(true), &json!(false)));
    let again = world.order("POST", &format!("/v1/agents/{waiting}/kill")).await;
    assert_eq!((again.status, &again.json()["alreadyTerminal"]), (200, &json!(true)));
    assert_eq!(again.json()["status"], "killed");
    let held = world.spawned("B").await;
    world.held().await;
    let asked = world.order("POST", &format!("/agents/{held}/kill")).await;
    assert_eq!(
        (asked.status, &asked.json()["verified"]),
        (202, &json!(false)),
        "nobody drives it: not confirmed"
    );
    assert_eq!(asked.header("location"), format!("/v1/agents/{held}"));
    assert_eq!(asked.json()["status"], "spawning");
}

#[tokio::test]
async fn kill_all_answers_in_the_contracts_shape() {
    let world = World::new();
    let nothing = world.order("POST", "/agents/kill-all").await;
    assert_eq!(nothing.status, 200);
    assert_eq!(nothing.json()["message"], "Kill all completed: 0 killed, 0 failed");
    for id in ["A", "B", "C"] {
        world.spawned(id).await;
    }
    let three = world.order("POST", "/agents/kill-all").await.json();
    assert_eq!(three["message"], "Kill all completed: 3 killed, 0 failed");
    assert_eq!((&three["total"], &three["killed"], &three["failed"]), (&json!(3), &json!(3), &json!(0)));
    assert_eq!(
        (&three["errors"], &three["queued"], &three["verified"]),
        (&json!([]), &json!(3), &json!(true))
    );
    world.spawned("A").await;
    world.held().await;
    world.spawned("D").await;
    let (one, two) =
        tokio::join!(world.order("POST", "/agents/kill-all"), world.order("POST", "/v1/agents/kill-all"));
    assert_eq!((one.status, two.status), (200, 200), "a failure is in the report, which is the answer");
    assert_eq!((&one.json()["failed"], one.json()["errors"].as_array().unwrap().len()), (&json!(1), 1));
    assert_eq!(one.json()["verified"], false);
    world.spawned("E").await;
}

#[tokio::test]
async fn readiness_names_what_fails() {
    let world = World::new();
    let health = world.get("/health").await.json();
    assert_eq!((&health["status"], &health["version"]), (&json!("ok"), &json!("1.2.3")));
    assert!(health["uptime"].is_f64() && health["startedAt"].is_string());
    let ready = world.get("/health/ready").await;
    assert_eq!((ready.status, &ready.json()["status"]), (200, &json!("ready")));
    let fails = async |name: &str| {
        let answer = world.get("/health/ready").await;
        assert_eq!((answer.status, answer.header("retry-after")), (503, "5"));
        let body = answer.json();
        assert_eq!(
            (&body["failing"], &body["checks"][name]["status"]),
            (&json!([name]), &json!("fail")),
            "{body}"
        );
    };
    world.host.free.store(1000, Ordering::SeqCst);
    fails("disk").await;
    world.host.free.store(1 << 40, Ordering::SeqCst);
    world.host.no_git.store(true, Ordering::SeqCst);
    fails("git").await;
    world.host.no_git.store(false, Ordering::SeqCst);
    world.store.set_down(true);
    fails("store").await;
    world.store.set_down(false);
    world.orchestrator.refuse_new();
    fails("dispatcher").await;
}

#[tokio::test]
async fn wrong_methods_and_paths_are_problems_too() {
    let world = World::new();
    let put = world.order("PUT", "/agents/spawn").await;
    put.is(405, "method_not_allowed");
    assert_eq!(put.header("allow"), "POST");
    for method in ["OPTIONS", "PATCH", "DELETE", "TRACE", "PROPFIND"] {
        let answer = world.order(method, "/v1/agents").await;
        answer.is(405, "method_not_allowed");
        assert_eq!(answer.header("allow"), "GET, HEAD, POST");
        assert!(answer.headers.keys().all(|name| !name.as_str().starts_with("access-control")));
    }
    for kill in ["/agents/kill-all", "/v1/agents/kill-all", "/v1/queue/pause", "/agents/spawn"] {
        assert_eq!(world.get(kill).await.status, 405, "no GET changes anything");
    }
    let lost = world.get("/agent/spawn").await;
    lost.is(404, "route_not_found");
    assert!(lost.json()["near"].as_array().unwrap().contains(&json!("/agents/spawn")), "{}", lost.text());
    for path in ["/", "/health/", "//health", "/v1", "/agents/../health", "/%2e%2e/etc/passwd", "/%00"] {
        world.get(path).await.is(404, "route_not_found");
    }
    world.get("/agents/%ff%fe/status").await.is(400, "validation_failed");
    let head = world.order("HEAD", "/health").await;
    assert_eq!((head.status, head.body.len()), (200, 0));
}

#[tokio::test]
async fn a_bug_shows_an_id_and_nothing_else() {
    let world = World::new();
    let id = world.spawned("A").await;
    world.store.set_panics();
    let request =
        ask("GET", &format!("/agents/{id}/status")).header("x-request-id", "my-id.1").body(Body::empty());
    let answer = world.send(request.unwrap()).await;
    answer.is(500, "internal");
    assert_eq!(answer.header("x-request-id"), "my-id.1");
    assert!(!answer.text().contains("secret") && !answer.text().contains(".rs"));
    world.order("POST", &format!("/agents/{id}/kill")).await.is(500, "internal");
    for strange in ["", "a b", "x\u{7f}", &"x".repeat(129), "<script>"] {
        let request = ask("GET", "/health").header("x-request-id", strange.as_bytes()).body(Body::empty());
        let Ok(request) = request else { continue };
        let made = world.send(request).await.header("x-request-id").to_owned();
        assert!(made.len() == 32 && made != strange, "{made}");
    }
}
