//! Event streams: snapshot, exact resumption, filters, heartbeats, starting over; live and raw transcripts.

use axum::body::{Body, BodyDataStream};
use futures_util::StreamExt;
use mosaic_core::domain::agent::{End, State, Status};
use mosaic_core::domain::journal::LogRecord;
use mosaic_core::domain::outcome::EndReason;
use mosaic_core::ports::runtime::AgentEvent;
use mosaic_core::ports::store::Store;
use mosaic_core::ports::transcripts::{Checkpoint, Transcripts};
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::world::{DEADLINE, World, ask};

/// One event as a browser sees it.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct BrowserEvent {
    pub(crate) id: String,
    pub(crate) kind: String,
    data: String,
}

impl BrowserEvent {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.data).expect("data is JSON")
    }
}

/// Reads an event stream as it comes.
pub(crate) struct Listener {
    chunks: BodyDataStream,
    text: String,
}

impl Listener {
    pub(crate) async fn open(world: &World, path: &str, last: Option<&str>) -> Self {
        let mut request = ask("GET", path).header("accept", "text/event-stream");
        if let Some(last) = last {
            request = request.header("last-event-id", last);
        }
        let response = world
            .router
            .clone()
            .oneshot(request.body(Body::empty()).expect("the test's own step works"))
            .await
            .expect("the test's own step works");
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self { chunks: response.into_body().into_data_stream(), text: String::new() }
    }

    /// Returns the next block, comments and all; `None` at the end.
    async fn block(&mut self) -> Option<String> {
        loop {
            if let Some((block, rest)) = self.text.split_once("\n\n") {
                let block = block.to_owned();
                self.text = rest.to_owned();
                return Some(block);
            }
            let chunk =
                tokio::time::timeout(DEADLINE, self.chunks.next()).await.expect("something came in time")?;
            self.text.push_str(
                std::str::from_utf8(&chunk.expect("the test's own step works")).expect("a stream is UTF-8"),
            );
        }
    }

    /// Returns the next event; skips heartbeats and comments.
    pub(crate) async fn event(&mut self) -> Option<BrowserEvent> {
        loop {
            let block = self.block().await?;
            let part =
                |name: &str| block.lines().find_map(|line| line.strip_prefix(name)).unwrap_or("").to_owned();
            if block.lines().any(|line| line.starts_with("data: ")) {
                return Some(BrowserEvent { id: part("id: "), kind: part("event: "), data: part("data: ") });
            }
        }
    }
}

async fn log(world: &World, kind: &str, n: usize) {
    let fact = |i| LogRecord::stored(kind, None, None, world.orchestrator.now(), json!({"i": i}));
    world.store.log((0..n).map(fact).collect()).await.expect("the test's own step works");
}

#[tokio::test]
async fn a_new_reader_gets_a_snapshot_and_then_everything() {
    let world = World::new();
    let first = world.spawned("A").await;
    let mut listener = Listener::open(&world, "/v1/events", None).await;
    assert_eq!(listener.block().await.unwrap(), "retry: 1000");
    let snapshot = listener.event().await.unwrap();
    assert_eq!((snapshot.kind.as_str(), snapshot.id.as_str()), ("snapshot", "1"));
    assert_eq!(snapshot.json()["data"]["agents"][0]["agentId"], json!(first));
    assert_eq!(snapshot.json()["data"]["counts"]["waiting"], 1);
    let second = world.spawned("B").await;
    let spawning = listener.event().await.unwrap();
    assert_eq!((spawning.id.as_str(), spawning.kind.as_str()), ("2", "agent.spawning"));
    let envelope = spawning.json();
    assert_eq!((&envelope["specversion"], &envelope["sequence"]), (&json!("1.0"), &json!("2")));
    assert_eq!(envelope["type"], "dev.mosaic.agent.spawning.v1");
    assert_eq!(envelope["source"], "/orchestrators/laptop");
    assert_eq!(envelope["subject"], format!("agents/{second}"));
    assert_eq!((&envelope["data"]["agentId"], &envelope["data"]["taskId"]), (&json!(second), &json!("B")));
    assert!(envelope["time"].as_str().unwrap().ends_with('Z'));
}

#[tokio::test]
async fn a_reader_that_comes_back_misses_nothing_and_sees_nothing_twice() {
    let world = World::new();
    log(&world, "queue.paused", 950).await;
    let mut seen: Vec<u64> = Vec::new();
    let mut last = "0".to_owned();
    // Cut off again and again, at another place each time, while more is logged.
    for round in 0..40 {
        let (path, header) = match round % 2 {
            0 => (format!("/v1/events?after={last}"), None),
            _ => ("/v1/events?after=3".to_owned(), Some(last.clone())),
        };
        let mut listener = Listener::open(&world, &path, header.as_deref()).await;
        for _ in 0..=round {
            let event = listener.event().await.unwrap();
            assert_eq!(event.kind, "queue.paused");
            seen.push(event.id.parse().unwrap());
            last = event.id;
        }
        log(&world, "queue.paused", 3).await;
    }
    assert_eq!(seen, (1..=seen.len() as u64).collect::<Vec<_>>());
    assert_eq!(seen.len(), 820);
}

#[tokio::test]
async fn a_slow_reader_holds_up_nobody_and_gets_everything_late() {
    let world = World::new();
    let mut slow = Listener::open(&world, "/v1/events?after=0", None).await;
    slow.block().await;
    let mut quick = Listener::open(&world, "/v1/events?after=0", None).await;
    for _ in 0..50 {
        log(&world, "queue.resumed", 100).await;
    }
    for n in 1..=5000_u64 {
        assert_eq!(quick.event().await.unwrap().id, n.to_string());
    }
    assert!(slow.text.is_empty(), "nothing is made for a reader that takes nothing");
    for n in 1..=5000_u64 {
        assert_eq!(slow.event().await.unwrap().id, n.to_string());
        assert!(slow.text.len() < 64 * 1024, "one page at a time");
    }
}

#[tokio::test]
async fn an_unknown_or_lost_place_starts_over() {
    let world = World::new();
    log(&world, "queue.paused", 10).await;
    let mut ahead = Listener::open(&world, "/v1/events", Some("11")).await;
    let kinds =
        [ahead.event().await.unwrap(), ahead.event().await.unwrap()].map(|event| (event.kind, event.id));
    assert_eq!(kinds, [("reset".to_owned(), "10".to_owned()), ("snapshot".to_owned(), "10".to_owned())]);
    // The entries 4 and 5, which the next reader needs first, are gone.
    world.store.forget(5);
    let mut lost = Listener::open(&world, "/v1/events?after=3", None).await;
    assert_eq!(lost.event().await.unwrap().kind, "reset");
    assert_eq!(lost.event().await.unwrap().kind, "snapshot");
    log(&world, "queue.resumed", 1).await;
    assert_eq!(lost.event().await.unwrap().id, "11");
    let mut known = Listener::open(&world, "/v1/events?after=5", None).await;
    assert_eq!(known.event().await.unwrap().id, "6");
    for bad in ["-1", "x", "1.5", "99999999999999999999", "18446744073709551615"] {
        let request = ask("GET", "/v1/events").header("last-event-id", bad).body(Body::empty());
        world.send(request.unwrap()).await.is(400, "validation_failed");
        world.get(&format!("/v1/events?after={bad}")).await.is(400, "validation_failed");
    }
    world.get_as("/v1/events", "application/json").await.is(406, "not_acceptable");
}

#[tokio::test]
async fn filters_choose_and_heartbeats_carry_the_place() {
    let world = World::new();
    let a = world.spawned("A").await;
    let b = world.spawned("B").await;
    log(&world, "queue.paused", 300).await;
    world.order("POST", &format!("/agents/{a}/kill")).await;
    let mut by_agent = Listener::open(&world, &format!("/v1/events?after=0&agent={a}"), None).await;
    assert_eq!(by_agent.event().await.unwrap().json()["data"]["agentId"], json!(a));
    let mut last = String::new();
    while !last.ends_with("killed") {
        let event = by_agent.event().await.unwrap();
        assert_eq!(event.json()["data"]["agentId"], json!(a));
        last = event.kind;
    }
    let mut by_task =
        Listener::open(&world, "/v1/events?after=0&task=B&types=agent.*,git.pushed", None).await;
    assert_eq!(by_task.event().await.unwrap().json()["data"]["agentId"], json!(b));
    // Nothing more fits: what comes is a heartbeat that says how far the reader is.
    loop {
        let block = by_task.block().await.unwrap();
        let newest = *world.store.newest().borrow();
        if block == format!(": hb\nid: {newest}") {
            break;
        }
        assert!(block.starts_with(": hb"), "{block}");
    }
    for bad in ["agent=x", "types=%3Cb%3E", "task=-x", "type=agent.killed"] {
        world.get(&format!("/v1/events?{bad}")).await.is(400, "validation_failed");
    }
}

#[tokio::test]
async fn a_store_that_fails_for_a_while_costs_no_event() {
    let world = World::new();
    log(&world, "queue.paused", 2).await;
    let mut listener = Listener::open(&world, "/v1/events?after=0", None).await;
    assert_eq!(listener.event().await.unwrap().id, "1");
    assert_eq!(listener.event().await.unwrap().id, "2");
    log(&world, "queue.resumed", 1).await;
    // The event is logged by now, so only the reading of it fails and must be repeated.
    world.store.set_down(true);
    assert!(listener.block().await.unwrap().starts_with(": the store does not answer"));
    world.store.set_down(false);
    assert_eq!(listener.event().await.unwrap().id, "3");
}

fn text(text: &str) -> AgentEvent {
    AgentEvent::Text { text: text.to_owned() }
}

#[tokio::test]
async fn a_transcript_is_paged_filtered_followed_and_raw() {
    let world = World::new();
    let id = world.spawned("A").await;
    let path = format!("/v1/agents/{id}/transcript");
    let now = world.orchestrator.now();
    let mut events: Vec<AgentEvent> = (0..450).map(|n| text(&format!("line {n}"))).collect();
    events[10] = AgentEvent::Thinking { text: "hm".to_owned() };
    events[449] = AgentEvent::Tool { id: "1".to_owned(), name: "Bash".to_owned(), title: "ls".to_owned() };
    world.transcripts.append(id, now, 1, Checkpoint { run: 1, bytes: 0 }, events).await.unwrap();
    let mut seen = Vec::new();
    let mut next = Some("0".to_owned());
    while let Some(after) = next {
        let page = world.get(&format!("{path}?limit=120&thinking=0&after={after}")).await.json();
        seen.extend(page["items"].as_array().unwrap().iter().map(|item| item["n"].as_u64().unwrap()));
        next = page["nextCursor"].as_str().map(str::to_owned);
    }
    assert_eq!(seen, (1..=450).filter(|n| *n != 11).collect::<Vec<u64>>());
    let tools = world.get(&format!("{path}?kinds=tool")).await.json();
    assert_eq!(
        (tools["items"].as_array().unwrap().len(), &tools["items"][0]["at"]),
        (1, &json!(now.to_rfc3339()))
    );
    world.get(&format!("{path}?kinds=tols")).await.is(400, "validation_failed");
    world.get("/v1/agents/7d0c6c1e-4a52-4d0e-9a55-0d7c9f2f3f9a/transcript").await.is(404, "agent_not_found");

    let mut live = Listener::open(&world, &format!("{path}?after=448"), None).await;
    assert_eq!(live.event().await.unwrap().id, "449");
    let tool = live.event().await.unwrap();
    assert_eq!((tool.kind.as_str(), &tool.json()["name"]), ("tool", &json!("Bash")));
    world
        .transcripts
        .append(id, now, 1, Checkpoint { run: 1, bytes: 0 }, vec![text("data: x\n\nevent: evil")])
        .await
        .unwrap();
    let said = live.event().await.unwrap();
    assert_eq!((said.id.as_str(), said.kind.as_str()), ("451", "text"));
    assert_eq!(said.json()["text"], "data: x\n\nevent: evil");
    let (lease, agent) = world.leased().await;
    world
        .transcripts
        .append(id, now, 1, Checkpoint { run: 1, bytes: 0 }, vec![text("last words")])
        .await
        .unwrap();
    let end = End { status: Status::Completed, reason: EndReason::Done, error: None, at: now };
    world.write(&lease, agent, State::Settled { end }).await;
    assert_eq!(live.event().await.unwrap().json()["text"], "last words");
    let over = live.event().await.unwrap();
    assert_eq!((over.kind.as_str(), &over.json()["status"]), ("end", &json!("completed")));
    assert_eq!(live.block().await, None, "the stream closes after the end");

    let first = [vec![b'{'; 100_000], b"\xff\0\n".to_vec()].concat();
    std::fs::write(world.transcripts.raw(id, 1), &first).unwrap();
    std::fs::write(world.transcripts.raw(id, 2), b"{\"b\":2}\n").unwrap();
    let raw = world.get_as(&path, "application/x-ndjson").await;
    assert_eq!(raw.header("content-type"), "application/x-ndjson");
    assert_eq!(raw.body, [first, b"{\"b\":2}\n".to_vec()].concat());
    world.get_as(&path, "text/html").await.is(406, "not_acceptable");
}
