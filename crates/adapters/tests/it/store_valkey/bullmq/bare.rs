//! The bare queue and the official client as producers and workers of one queue.

use std::sync::Arc;
use std::time::Duration;

use mosaic_testkit::bare_queue::{Ended, Keep, NewJob, Queue, Taken, Turned};
use serde_json::json;
use tokio::task::JoinSet;

use super::hands::now;
use super::place::Place;

fn job(n: u32, priority: u32, delay: u64) -> NewJob {
    NewJob {
        id: None,
        name: "spawn".to_owned(),
        data: json!({"n": n}).to_string(),
        options: json!({"attempts": 0, "priority": priority, "delay": delay}).to_string(),
        priority,
        delay,
        at: now(),
    }
}

fn done(job: &Taken) -> Ended {
    Ended { id: job.id.clone(), result: Ok("{\"by\":\"rust\"}".to_owned()), keep: Keep::AsItsOptionsSay }
}

#[tokio::test]
async fn what_we_add_an_official_worker_finishes_in_its_order() {
    let Some(place) = Place::with_queue("plain").await else { return };
    let queue = place.queue("plain").await;
    let late = queue.add(job(0, 0, 300)).await.unwrap();
    let mut ids = vec![queue.add(job(1, 5, 0)).await.unwrap()];
    ids.extend(queue.add_bulk(vec![job(2, 2, 0), job(3, 0, 0), job(4, 2, 0)]).await.unwrap());
    let counts = place.node.ask("counts", json!({})).await;
    assert_eq!(
        (&counts["waiting"], &counts["prioritized"], &counts["delayed"]),
        (&json!(1), &json!(3), &json!(1))
    );
    place.node.ask("work", json!({"as": "w"})).await;
    let mut all: Vec<&str> = ids.iter().map(String::as_str).collect();
    all.push(&late);
    place.seen(json!("completed"), &all).await;
    let seen = place.node.ask("seen", json!({})).await;
    let completed: Vec<&str> = seen
        .as_array()
        .unwrap()
        .iter()
        .filter(|one| one["event"] == "completed" && one["jobId"] != late.as_str())
        .map(|one| one["jobId"].as_str().unwrap())
        .collect();
    assert_eq!(completed, [&ids[2], &ids[1], &ids[3], &ids[0]]);
    assert_eq!(place.history(&ids[0]).await, ["added", "waiting", "active", "completed"]);
    assert_eq!(place.history(&late).await, ["added", "delayed", "waiting", "active", "completed"]);
}

#[tokio::test]
async fn what_the_official_client_adds_we_finish() {
    let Some(place) = Place::with_queue("plain").await else { return };
    let queue = place.queue("plain").await;
    let good = place.add(json!({"a": "ä"}), json!({"priority": 3})).await;
    let bad = place.add(json!({}), json!({"priority": 4})).await;
    let brief = place.add(json!({}), json!({"priority": 5, "removeOnComplete": true})).await;
    let first = queue.take("t", 30_000, now()).await.unwrap().next.unwrap();
    assert_eq!((first.id.as_str(), first.data.as_str()), (good.as_str(), "{\"a\":\"ä\"}"));
    assert_eq!(place.job(&good).await["state"], "active");
    let second = queue.finish_and_take(done(&first), "t", 30_000, now()).await.unwrap().next.unwrap();
    let why = ("no luck".to_owned(), json!(["at somewhere"]).to_string());
    let failed = Ended { id: second.id.clone(), result: Err(why), keep: Keep::AsItsOptionsSay };
    let third = queue.finish_and_take(failed, "t", 30_000, now()).await.unwrap().next.unwrap();
    let last = queue.finish(done(&third), "t", now()).await.unwrap();
    assert_eq!(last, Turned { refused: None, next: None, due: None });
    let finished = place.job(&good).await;
    assert_eq!((&finished["state"], &finished["returnvalue"]), (&json!("completed"), &json!({"by": "rust"})));
    let failed = place.job(&bad).await;
    assert_eq!(
        (&failed["failedReason"], &failed["stacktrace"]),
        (&json!("no luck"), &json!(["at somewhere"]))
    );
    assert_eq!(place.job(&brief).await, json!(null));
    place.seen(json!("completed"), &[&good, &brief]).await;
    place.seen(json!("failed"), &[&bad]).await;
    assert_eq!(place.history(&good).await, ["added", "waiting", "active", "completed"]);
}

#[tokio::test]
async fn an_end_is_refused_to_whoever_does_not_hold_the_job() {
    let Some(place) = Place::with_queue("plain").await else { return };
    let queue = place.queue("plain").await;
    place.add(json!({}), json!({})).await;
    let job = queue.take("mine", 30_000, now()).await.unwrap().next.unwrap();
    assert_eq!(queue.finish(done(&job), "yours", now()).await.unwrap().refused, Some(-6));
    assert_eq!(queue.finish(done(&job), "mine", now()).await.unwrap().refused, None);
    assert_eq!(queue.finish(done(&job), "mine", now()).await.unwrap().refused, Some(-2));
    let gone = Ended { id: "nonesuch".to_owned(), ..done(&job) };
    assert_eq!(queue.finish(gone, "mine", now()).await.unwrap().refused, Some(-1));
}

#[tokio::test]
async fn a_pause_and_a_limit_by_the_official_client_are_kept() {
    let Some(place) = Place::with_queue("plain").await else { return };
    let queue = place.queue("plain").await;
    let mut waiter = queue.waiter("w").await.unwrap();
    queue.add_bulk((0..4).map(|n| job(n, n % 2, 0)).collect()).await.unwrap();
    let take = async || queue.take("t", 30_000, now()).await.unwrap().next;
    place.tell_queue("pause", json!([])).await;
    assert_eq!(take().await, None);
    place.tell_queue("resume", json!([])).await;
    waiter.wait(Duration::from_secs(20)).await.unwrap();
    place.tell_queue("setGlobalConcurrency", json!([1])).await;
    let first = take().await.unwrap();
    assert_eq!(take().await, None, "more were started than the limit allows");
    queue.finish(done(&first), "t", now()).await.unwrap();
    place.tell_queue("removeGlobalConcurrency", json!([])).await;
    place.tell_queue("setGlobalRateLimit", json!([1, 60_000])).await;
    assert!(take().await.is_some());
    assert_eq!(take().await, None, "more were started than the rate allows");
}

/// Returns the jobs that this many get who ask at the same time, so in one round trip.
async fn take_at_once(queue: &Arc<Queue>, count: usize) -> Vec<Taken> {
    let mut askers = JoinSet::new();
    for n in 0..count {
        let queue = Arc::clone(queue);
        askers.spawn(async move { queue.take(&format!("t{n}"), 30_000, now()).await.unwrap().next });
    }
    askers.join_all().await.into_iter().flatten().collect()
}

#[tokio::test]
async fn those_who_ask_at_once_get_no_more_than_the_limits_leave() {
    let Some(place) = Place::with_queue("plain").await else { return };
    let queue = Arc::new(place.queue("plain").await);
    queue.add_bulk((0..20).map(|n| job(n, n % 3, 0)).collect()).await.unwrap();
    place.tell_queue("setGlobalConcurrency", json!([5])).await;
    let mut held = take_at_once(&queue, 8).await;
    assert_eq!(held.len(), 5);
    assert_eq!(take_at_once(&queue, 3).await, []);
    place.tell_queue("removeGlobalConcurrency", json!([])).await;
    place.tell_queue("setGlobalRateLimit", json!([4, 60_000])).await;
    held.extend(take_at_once(&queue, 3).await);
    held.extend(take_at_once(&queue, 3).await);
    assert_eq!(held.len(), 9, "four more within the rate");
    place.tell_queue("removeGlobalRateLimit", json!([])).await;
    // Both kinds in one round trip: what has no priority and then the rest.
    held.extend(take_at_once(&queue, 20).await);
    let mut ids: Vec<&str> = held.iter().map(|job| job.id.as_str()).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 20, "each is given once");
    let counts = place.node.ask("counts", json!({})).await;
    assert_eq!(
        (&counts["active"], &counts["waiting"], &counts["prioritized"]),
        (&json!(20), &json!(0), &json!(0))
    );
}

#[tokio::test]
async fn an_end_that_is_told_twice_at_once_counts_once() {
    let Some(place) = Place::with_queue("plain").await else { return };
    let queue = Arc::new(place.queue("plain").await);
    let ids = queue.add_bulk(vec![job(1, 0, 0), job(2, 0, 0)]).await.unwrap();
    let job = queue.take("t", 30_000, now()).await.unwrap().next.unwrap();
    let mut enders = JoinSet::new();
    for _ in 0..3 {
        let (queue, ended) = (Arc::clone(&queue), done(&job));
        enders.spawn(async move { queue.finish_and_take(ended, "t", 30_000, now()).await.unwrap() });
    }
    let turns = enders.join_all().await;
    assert_eq!(turns.iter().filter(|turn| turn.refused.is_none()).count(), 1, "{turns:?}");
    let next: Vec<&str> = turns.iter().filter_map(|turn| Some(turn.next.as_ref()?.id.as_str())).collect();
    assert_eq!(next, [&ids[1]]);
    let ended = place.job(&ids[0]).await;
    assert_eq!((&ended["state"], &ended["attemptsMade"]), (&json!("completed"), &json!(1)), "{ended:#}");
    assert_eq!(place.history(&ids[0]).await, ["added", "waiting", "active", "completed"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_callers_at_once_get_each_their_own_answer() {
    let Some(place) = Place::with_queue("plain").await else { return };
    let queue = Arc::new(place.queue("plain").await);
    let mut adds = JoinSet::new();
    for n in 0..300 {
        let queue = Arc::clone(&queue);
        adds.spawn(async move { (queue.add(job(n, n % 3, 0)).await.unwrap(), n) });
    }
    let mut added = std::collections::BTreeMap::new();
    while let Some(one) = adds.join_next().await {
        let (id, n) = one.unwrap();
        assert_eq!(added.insert(id, n), None, "an id was given twice");
    }
    let mut workers = JoinSet::new();
    for w in 0..20 {
        let queue = Arc::clone(&queue);
        workers.spawn(async move {
            let token = format!("t{w}");
            let mut had = Vec::new();
            let mut turned = queue.take(&token, 30_000, now()).await.unwrap();
            while let Some(job) = turned.next {
                turned = queue.finish_and_take(done(&job), &token, 30_000, now()).await.unwrap();
                assert_eq!(turned.refused, None);
                had.push((job.id, job.data));
            }
            had
        });
    }
    let mut had = Vec::new();
    while let Some(one) = workers.join_next().await {
        had.extend(one.unwrap());
    }
    assert_eq!(had.len(), 300);
    for (id, data) in had {
        let n = added.remove(&id).expect("taken once");
        assert_eq!(data, json!({"n": n}).to_string());
    }
    let counts = place.node.ask("counts", json!({})).await;
    assert_eq!((&counts["completed"], &counts["active"]), (&json!(300), &json!(0)));
}
