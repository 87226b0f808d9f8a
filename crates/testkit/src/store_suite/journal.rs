//! The event log: numbers without gaps, announced once they can be read.

use std::time::Duration;

use mosaic_core::domain::journal::{Entry, LogRecord};
use mosaic_core::ports::store::Pause;
use serde_json::{Value, json};

use super::Bench;
use super::sample::*;

fn loose(kind: &str, seconds: u64) -> LogRecord {
    LogRecord::stored(kind, None, None, at(seconds), json!({"n": seconds}))
}

/// Forty callers that log at once, some refused: the numbers have no gap and no double.
pub async fn numbers_have_no_gaps(bench: &dyn Bench) {
    let store = store(bench).await;
    let mut callers = tokio::task::JoinSet::new();
    for n in 0..40 {
        let store = store.clone();
        callers.spawn(async move {
            admit(&*store, &agent(&format!("t{n}"), T0)).await;
            store.log(vec![loose("a", n), loose("b", n)]).await.unwrap();
            store.admit(admission(&agent(&format!("t{n}"), T0))).await.unwrap_err();
        });
    }
    callers.join_all().await;
    let log = store.entries(0, 1000).await.unwrap();
    let numbers: Vec<u64> = log.iter().map(|entry| entry.seq).collect();
    assert_eq!(numbers, (1..=120).collect::<Vec<_>>());
    let follows = |pair: &[Entry]| {
        pair[0].fact.kind() != "a" || (pair[1].fact.kind() == "b" && pair[0].fact.at == pair[1].fact.at)
    };
    assert!(log.windows(2).all(follows), "the facts of one call stand together");
}

/// A reader that saw a number announced can read that fact.
pub async fn newest_changes_once_a_fact_is_readable(bench: &dyn Bench) {
    let store = store(bench).await;
    let mut newest = store.newest();
    assert_eq!(*newest.borrow_and_update(), 0);
    let writer = store.clone();
    let writing = tokio::spawn(async move {
        for n in 0..50 {
            writer.log(vec![loose("x", n)]).await.unwrap();
        }
    });
    let mut last = 0;
    while last < 50 {
        tokio::time::timeout(Duration::from_secs(30), newest.changed())
            .await
            .expect("a change comes")
            .unwrap();
        let seen = *newest.borrow_and_update();
        assert!(seen > last, "it only grows");
        let log = store.entries(last, 1000).await.unwrap();
        assert!(
            log.last().is_some_and(|entry| entry.seq >= seen),
            "fact {seen} was announced but is not there"
        );
        last = seen;
    }
    writing.await.unwrap();
    let fresh = store.newest();
    assert_eq!(*fresh.borrow(), 50, "a new receiver starts at the newest number");
    assert!(!fresh.has_changed().unwrap(), "and waits for the next one");
}

/// In one agent's log time never goes back; other agents keep their own time.
pub async fn time_never_goes_back_for_an_agent(bench: &dyn Bench) {
    let store = store(bench).await;
    let (a, b) = (agent("a", at(10)), agent("b", at(1)));
    admit(&*store, &b).await;
    admit(&*store, &a).await;
    store.log(vec![fact("x", &a, at(5)), fact("x", &b, at(5)), loose("free", 0)]).await.unwrap();
    let (held, record) = lease(&*store, at(20)).await;
    assert_eq!(record.agent.id, b.id);
    store.advance(&held, change(working(b.clone(), at(20)), "x", at(2))).await.unwrap();
    store.log(vec![fact("x", &a, at(12)), fact("x", &a, at(11))]).await.unwrap();
    let log = store.entries(0, 100).await.unwrap();
    let times = |agent| {
        let own = log.iter().filter(|entry| entry.fact.agent == agent);
        own.map(|entry| entry.fact.at).collect::<Vec<_>>()
    };
    assert_eq!(times(Some(a.id)), [at(10), at(10), at(12), at(12)]);
    assert_eq!(times(Some(b.id)), [at(1), at(5), at(5)]);
    assert_eq!(times(None), [at(0)], "what belongs to no agent keeps its time");
}

/// A page begins after any number and holds at most what was asked for; facts read back as they were logged.
pub async fn pages_from_any_number(bench: &dyn Bench) {
    let store = store(bench).await;
    let facts: Vec<LogRecord> = (0..25).map(|n| loose("x", n)).collect();
    store.log(facts.clone()).await.unwrap();
    store.log(Vec::new()).await.unwrap();
    for (after, limit, first, count) in [(0, 10, 1, 10), (10, 10, 11, 10), (20, 10, 21, 5), (24, 1, 25, 1)] {
        let page = store.entries(after, limit).await.unwrap();
        assert_eq!((page[0].seq, page.len()), (first, count));
        for entry in page {
            assert_eq!(entry.fact, facts[entry.seq as usize - 1]);
        }
    }
    assert!(store.entries(25, 10).await.unwrap().is_empty());
    assert!(store.entries(u64::MAX, 10).await.unwrap().is_empty());
    let odd = LogRecord::stored("odd '\"\u{0}", None, None, at(1), Value::Null);
    store.log(vec![odd.clone()]).await.unwrap();
    assert_eq!(store.entries(25, 1).await.unwrap()[0].fact, odd);
}

/// Pausing twice logs once, so does letting go.
pub async fn set_pause_logs_once(bench: &dyn Bench) {
    let store = store(bench).await;
    let pause = Pause { by: "alice".to_owned(), reason: None, at: T0 };
    for wanted in [None, Some(pause.clone()), Some(pause), None, None] {
        let kind = if wanted.is_some() { "queue.paused" } else { "queue.resumed" };
        store.set_pause(wanted, loose(kind, 1)).await.unwrap();
    }
    let kinds: Vec<String> =
        store.entries(0, 10).await.unwrap().into_iter().map(|entry| entry.fact.kind().to_owned()).collect();
    assert_eq!(kinds, ["queue.paused", "queue.resumed"]);
}
