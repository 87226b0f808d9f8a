//! Two nodes of ours and the official client around one queue: the client adds work and watches, the nodes run it.

use std::collections::BTreeMap;
use std::sync::Arc;

use mosaic_core::Orchestrator;
use mosaic_core::domain::agent::Status;
use mosaic_core::engine;
use mosaic_core::ports::store::Versioned;
use mosaic_core::stop::Stop;
use mosaic_testkit::fakes::world::{Behaviour, FakeWorld};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::place::{PATIENCE, Place, body};

/// One of our nodes, with a world of its own.
struct Node {
    o: Arc<Orchestrator>,
    world: Arc<FakeWorld>,
    stop: watch::Sender<Stop>,
    engine: JoinHandle<()>,
}

impl Node {
    async fn start(place: &Place, name: &str, slots: usize) -> Self {
        let store = place.store().await;
        let (world, o) = FakeWorld::orchestrator_with(store, slots, Behaviour::ByTask, |settings| {
            settings.node = name.parse().unwrap();
        });
        let stop = watch::Sender::new(Stop::No);
        let engine = tokio::spawn(engine::run(Arc::clone(&o), stop.subscribe()));
        Self { o, world, stop, engine }
    }

    async fn end(self) {
        self.stop.send_replace(Stop::Now);
        tokio::time::timeout(PATIENCE, self.engine).await.unwrap().unwrap();
    }
}

/// Waits until the newest agent of a task is as wanted.
async fn agent_of(o: &Orchestrator, task: &str, wanted: impl Fn(&Versioned) -> bool) -> Versioned {
    let task = task.parse().unwrap();
    let look = async {
        loop {
            let newest = o.ports().store.of_task(&task).await.unwrap().into_iter().next();
            if let Some(found) = newest.filter(&wanted) {
                return found;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, look).await.unwrap_or_else(|_| panic!("task {task} never came to that"))
}

/// Spawn body and options of the n-th of many jobs: every priority, some later, some that fail as often as they may.
fn varied(n: u64) -> (Value, Value) {
    let crashes = n.is_multiple_of(10);
    let task = format!("{}-{n}", if crashes { "crash" } else { "quick" });
    let mut data = body(&task);
    // Failures in a row hold up a repository: each that fails has its own.
    data["context"]["repository"] = json!(format!("https://git.example.com/{task}.git"));
    let mut options = json!({"priority": n % 13});
    if n % 7 == 3 {
        options["delay"] = json!(200 + n);
    }
    if crashes {
        options["attempts"] = json!(1 + n / 10 % 3);
        let kind = if n.is_multiple_of(20) { "exponential" } else { "fixed" };
        options["backoff"] = json!({"type": kind, "delay": 30});
    }
    (data, options)
}

/// Panics when the events of one job are not in an order that its states allow.
fn check_order(job: &str, events: &[(String, String)]) {
    let mut state = "new";
    for (event, prev) in events {
        let next: &[&str] = match state {
            "new" => &["added"],
            "added" => &["waiting", "delayed"],
            "delayed" => &["waiting", "failed"],
            "waiting" => &["active", "failed", "delayed", "removed"],
            "active" => &["progress", "completed", "failed", "delayed", "waiting"],
            "failed" => &["retries-exhausted"],
            _ => &[],
        };
        assert!(next.contains(&event.as_str()), "job {job}: {event} after {state}: {events:?}");
        if event == "completed" {
            assert_eq!(prev, "active");
        }
        state = if event == "progress" { "active" } else { event };
    }
    assert!(["completed", "retries-exhausted"].contains(&state), "job {job} is left {state}: {events:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_run_five_hundred_jobs_of_the_official_client() {
    let Some(place) = Place::new().await else { return };
    let nodes = [Node::start(&place, "n1", 8).await, Node::start(&place, "n2", 8).await];
    let mut jobs = Vec::new();
    for chunk in 0..10 {
        let batch = (chunk * 50..chunk * 50 + 50).map(|n| {
            let (data, opts) = varied(n);
            json!({"name": "spawn", "data": data, "opts": opts})
        });
        let ids = place.node.ask("addBulk", json!({"jobs": batch.collect::<Vec<_>>()})).await;
        jobs.extend(ids.as_array().unwrap().iter().map(|id| id.as_str().unwrap().to_owned()));
    }
    let all: Vec<&str> = jobs.iter().map(String::as_str).collect();
    let wanted = json!({"event": ["completed", "retries-exhausted"], "jobs": all, "patience": 55_000});
    place.node.ask("await", wanted).await;
    let mut events: BTreeMap<String, Vec<(String, String)>> = BTreeMap::new();
    for one in place.node.ask("seen", json!({})).await.as_array().unwrap() {
        let text = |field: &str| one[field].as_str().unwrap_or_default().to_owned();
        events.entry(text("jobId")).or_default().push((text("event"), text("prev")));
    }
    for (n, id) in (0..).zip(&jobs) {
        check_order(id, &events[id]);
        let crashes = n % 10 == 0;
        let tries = if crashes { 1 + n / 10 % 3 } else { 1 };
        let starts = events[id].iter().filter(|(event, _)| event == "active").count();
        assert_eq!(starts as u64, tries, "job {id} ({n}): {:?}", events[id]);
        let job = place.job(id).await;
        assert_eq!(
            (&job["state"], &job["attemptsMade"]),
            (&json!(if crashes { "failed" } else { "completed" }), &json!(tries)),
            "{job}"
        );
        if crashes {
            assert!(job["failedReason"].as_str().is_some_and(|why| !why.is_empty()), "{job}");
        } else {
            let value = &job["returnvalue"];
            assert!(value["branch"].is_string() && value["commit"].is_string(), "{job}");
            assert!(job["progress"].is_object(), "{job}");
        }
        assert!(!job["logs"].as_array().unwrap().is_empty(), "{job}");
    }
    let counts = place.node.ask("counts", json!({})).await;
    assert_eq!(
        (&counts["completed"], &counts["failed"], &counts["active"]),
        (&json!(450), &json!(50), &json!(0))
    );
    let ran: Vec<usize> = nodes.iter().map(|node| node.world.pushed().len()).collect();
    assert_eq!(ran.iter().sum::<usize>(), 450, "something was pushed twice, or not at all");
    assert!(ran.iter().all(|one| *one > 20), "one node ran nearly everything: {ran:?}");
    for node in nodes {
        assert_eq!(node.world.double_runs(), 0);
        node.end().await;
    }
}

async fn board(place: &Place, method: &str, path: &str, body: Value) -> Value {
    let path = format!("/api/queues/{path}");
    let asked = json!({"method": method, "path": path, "body": body,
        "query": {"activeQueue": "orchestrator-tasks", "page": "1", "jobsPerPage": "20"}});
    let answer = place.node.ask("board", asked).await;
    let status = answer["status"].as_u64().unwrap_or(200);
    assert!(status < 300, "{method} {path}: {answer}");
    answer["body"].clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bull_board_shows_and_steers_what_runs_here() {
    let Some(place) = Place::new().await else { return };
    let node = Node::start(&place, "n1", 1).await;
    let q = "orchestrator-tasks";
    let job = json!({"name": "spawn", "data": body("long"), "options": {}});
    let running = board(&place, "post", &format!("{q}/add"), job).await;
    let running = running["job"]["id"].as_str().unwrap().to_owned();
    agent_of(&node.o, "long", |r| r.agent.status() == Status::Running).await;
    let waiting = place.add(body("quick-1"), json!({"priority": 2})).await;
    let delayed = place.add(body("quick-2"), json!({"delay": 3_600_000, "priority": 3})).await;
    let removed = place.add(body("quick-3"), json!({"priority": 9})).await;
    for task in ["quick-1", "quick-2", "quick-3"] {
        agent_of(&node.o, task, |_| true).await;
    }
    let query = json!({"activeQueue": q, "page": "1", "jobsPerPage": "20"});
    let ask = json!({"method": "get", "path": "/api/queues", "query": query});
    let listed = place.node.ask("board", ask).await;
    let shown = &listed["body"]["queues"][0];
    let counts = &shown["counts"];
    assert_eq!(
        (&counts["active"], &counts["prioritized"], &counts["delayed"], &shown["isPaused"]),
        (&json!(1), &json!(2), &json!(1), &json!(false)),
        "{shown}"
    );
    assert_eq!(shown["hasWorkers"], true, "{shown}");
    let job = board(&place, "get", &format!("{q}/{running}"), json!({})).await;
    assert!(job["job"]["progress"].is_object(), "{job}");
    let logs = board(&place, "get", &format!("{q}/{running}/logs"), json!({})).await;
    assert!(logs.to_string().contains("agent.running"), "{logs}");

    board(&place, "put", &format!("{q}/{removed}/clean"), json!({})).await;
    let gone = agent_of(&node.o, "quick-3", |r| r.agent.is_terminal()).await.agent;
    assert_eq!(
        (gone.status(), gone.end().unwrap().reason),
        (Status::Killed, mosaic_core::domain::outcome::EndReason::Operator)
    );

    board(&place, "put", &format!("{q}/pause"), json!({})).await;
    node.world.release();
    let long = agent_of(&node.o, "long", |r| r.agent.is_terminal()).await.agent;
    assert_eq!(long.status(), Status::Completed);
    board(&place, "put", &format!("{q}/{delayed}/promote"), json!({})).await;
    place.seen(json!("completed"), &[&running]).await;
    assert_eq!(
        place.history(&waiting).await,
        ["added", "waiting"],
        "it was started although the queue is paused"
    );
    board(&place, "put", &format!("{q}/resume"), json!({})).await;
    place.seen(json!("completed"), &[&waiting, &delayed]).await;

    let first = agent_of(&node.o, "quick-1", |r| r.agent.is_terminal()).await.agent.id;
    board(&place, "put", &format!("{q}/{waiting}/retry"), json!({})).await;
    let second = agent_of(&node.o, "quick-1", |r| r.agent.id != first && r.agent.is_terminal()).await.agent;
    assert_eq!((second.previous, second.status()), (Some(first), Status::Completed));

    // The board's own clean-up spares what ended within the last seconds.
    board(&place, "put", &format!("{q}/clean/completed"), json!({})).await;
    place.tell_queue("clean", json!([0, 100, "completed"])).await;
    assert_eq!(place.node.ask("counts", json!({})).await["completed"], 0);
    assert!(
        node.o.agent(first).await.unwrap().agent.is_terminal(),
        "the record is not Bull Board's to remove"
    );
    node.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_jobs_fail_with_the_reason_and_switches_hold_on_both_sides() {
    let Some(place) = Place::new().await else { return };
    let node = Node::start(&place, "n1", 2).await;
    let mut unknown = body("quick-x");
    unknown["runtime"] = json!("nonesuch");
    let mut strange = body("quick-y");
    strange["context"]["workItems"] = json!([]);
    let mut bad = Vec::new();
    for (data, options, why) in [
        (json!("words"), json!({}), "must be a JSON object"),
        (json!({}), json!({"priority": 4}), "/taskId is required"),
        (strange, json!({"delay": 60_000}), "/context/workItems"),
        (unknown, json!({}), "no runtime \"nonesuch\""),
        (body("quick-z"), json!({"attempts": 100}), "attempts"),
        (body("quick-z"), json!({"attempts": 2, "backoff": {"type": "own"}}), "/backoff/type"),
    ] {
        bad.push((place.add(data, options).await, why));
    }
    bad.push((
        place.node.ask("add", json!({"name": "other", "data": body("T")})).await.as_str().unwrap().to_owned(),
        "\"other\"",
    ));
    let ids: Vec<&str> = bad.iter().map(|(id, _)| id.as_str()).collect();
    place.seen(json!("failed"), &ids).await;
    for (id, why) in &bad {
        let job = place.job(id).await;
        let said = job["failedReason"].as_str().unwrap();
        assert!(said.contains(why), "{why:?} is missing in {said:?}");
        assert!(job["stacktrace"][0].as_str().unwrap().contains(why));
    }

    let removed = place.add(body("quick-gone"), json!({"delay": 3_600_000})).await;
    agent_of(&node.o, "quick-gone", |_| true).await;
    let _ = node.o.engage("test", None).await;
    let held = place.add(body("quick-held"), json!({})).await;
    place.tell_queue("pause", json!([])).await;
    place.tell_queue("resume", json!([])).await;
    let check = place.add(json!({}), json!({})).await;
    // What ends an agent is taken up all the same, and what was added before was seen by then.
    place.tell(&removed, "remove", json!([])).await;
    agent_of(&node.o, "quick-gone", |r| r.agent.is_terminal()).await;
    assert_eq!(place.history(&held).await, ["added", "waiting"]);
    assert_eq!(place.history(&check).await, ["added", "waiting"]);
    assert!(node.o.release("test").await.unwrap());
    place.seen(json!("completed"), &[&held]).await;
    place.seen(json!("failed"), &[&check]).await;

    node.o.pause("test", None).await.unwrap();
    assert_eq!(place.tell_queue("isPaused", json!([])).await, true);
    let later = place.add(body("quick-later"), json!({})).await;
    agent_of(&node.o, "quick-later", |_| true).await;
    place.tell_queue("resume", json!([])).await;
    place.seen(json!("completed"), &[&later]).await;
    node.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_official_worker_finishes_what_our_producer_wrote() {
    let Some(place) = Place::new().await else { return };
    let node = Node::start(&place, "n1", 0).await;
    let spawned = node.o.spawn(&body("quick-1"), None).await.unwrap().record.agent.id;
    place.node.ask("work", json!({"as": "w", "answer": {"by": "node"}})).await;
    let record = agent_of(&node.o, "quick-1", |r| r.agent.is_terminal()).await;
    assert_eq!((record.agent.id, record.agent.status()), (spawned, Status::Completed));
    assert_eq!(record.agent.work.result.as_deref(), Some("{\"by\":\"node\"}"));
    assert!(record.agent.warnings[0].contains("another worker"));
    let job = place.job(&spawned.to_string()).await;
    assert_eq!((&job["state"], &job["returnvalue"]), (&json!("completed"), &json!({"by": "node"})));
    node.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_child_that_is_run_here_releases_its_parent() {
    let Some(place) = Place::new().await else { return };
    let node = Node::start(&place, "n1", 2).await;
    place.node.ask("work", json!({"as": "p", "queue": "parents"})).await;
    let child =
        json!({"name": "spawn", "queueName": "orchestrator-tasks", "data": body("quick-1"), "opts": {}});
    let flow = json!({"name": "parent", "queueName": "parents", "data": {}, "children": [child]});
    let ids = place.node.ask("flow", json!({"flow": flow})).await;
    let parent = json!({"id": ids["id"], "queue": "parents"});
    let completed = async {
        while place.node.ask("job", parent.clone()).await["state"] != "completed" {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, completed).await.expect("the parent was never released");
    let mut values = parent.clone();
    values["method"] = json!("getChildrenValues");
    let values = place.node.ask("jobCall", values).await;
    assert!(values.to_string().contains("\"branch\""), "{values}");
    node.end().await;
}
