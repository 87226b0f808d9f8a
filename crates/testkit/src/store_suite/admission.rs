//! Admission: task, agent, queue entry, facts and key in one step, or nothing.

use std::collections::HashSet;

use mosaic_core::domain::agent::Status;
use mosaic_core::domain::outcome::EndReason;
use mosaic_core::limits::IDEMPOTENCY;
use mosaic_core::ports::store::{Admission, Admitted, Idempotency, Store, StoreError};
use serde_json::json;

use super::Bench;
use super::sample::*;

fn keyed(agent: &mosaic_core::domain::agent::Agent, key: &str, fingerprint: &str) -> Admission {
    let idempotency = Some(Idempotency { key: key.to_owned(), fingerprint: fingerprint.to_owned() });
    Admission { idempotency, ..admission(agent) }
}

async fn is_empty(store: &dyn Store) -> bool {
    store.waiting(0, 10, T0).await.unwrap().is_empty() && store.entries(0, 10).await.unwrap().is_empty()
}

/// Everything an admission writes can be read after it.
pub async fn writes_everything_in_one_step(bench: &dyn Bench) {
    let store = store(bench).await;
    let rich = agent_from(
        json!({"taskId": "Ärger 1", "priority": 2, "labels": {"team.x": "a=b"}, "budget": {"usd": 1.25},
            "context": {"skills": ["lint"], "instructions": "first\nsecond"}}),
        T0,
    );
    let record = admit(&*store, &rich).await;
    assert_eq!((record.version, record.seq, record.epoch.0, &record.node), (1, 1, 0, &None));
    assert_eq!(record.agent, rich);
    assert_eq!(store.get(rich.id).await.unwrap(), record);
    assert_eq!(store.waiting(0, 10, T0).await.unwrap(), std::slice::from_ref(&record));
    assert_eq!(store.of_task(&rich.spec.task_id).await.unwrap(), [record]);
    assert_eq!(store.counts(T0).await.unwrap().waiting, 1);
    let log = store.entries(0, 10).await.unwrap();
    assert_eq!((log.len(), log[0].seq, &log[0].fact), (1, 1, &fact("agent.spawned", &rich, T0)));
    assert_eq!(admit(&*store, &agent("t2", T0)).await.seq, 2);
}

/// A second agent of the same (task, type) is refused until the first has ended.
pub async fn refuses_a_second_agent_of_a_task(bench: &dyn Bench) {
    let store = store(bench).await;
    let first = agent("t", T0);
    admit(&*store, &first).await;
    let refused = |answer| match answer {
        Err(StoreError::TaskActive { agent }) => agent,
        other => panic!("expected TaskActive, got {other:?}"),
    };
    assert_eq!(refused(store.admit(admission(&agent("t", T0))).await), first.id);
    admit(&*store, &agent_from(json!({"taskId": "t", "agentType": "tester"}), T0)).await;
    let (held, record) = lease(&*store, T0).await;
    assert_eq!(refused(store.admit(admission(&agent("t", T0))).await), first.id);
    store.advance(&held, change(working(record.agent.clone(), T0), "x", T0)).await.unwrap();
    assert_eq!(refused(store.admit(admission(&agent("t", T0))).await), first.id);
    let end = settled(working(record.agent, T0), Status::Failed, EndReason::Timeout, T0);
    store.advance(&held, change(end, "x", T0)).await.unwrap();
    admit(&*store, &agent("t", T0)).await;
}

/// A known key answers with the agent of then; with another fingerprint it is refused.
pub async fn replays_a_known_key(bench: &dyn Bench) {
    let store = store(bench).await;
    let first = agent("t", T0);
    store.admit(keyed(&first, "k", "f")).await.unwrap();
    let seen = store.entries(0, 10).await.unwrap().len();
    match store.admit(keyed(&agent("t", at(5)), "k", "f")).await.unwrap() {
        Admitted::Replay(record) => assert_eq!(record.agent, first),
        Admitted::New(_) => panic!("the key was known"),
    }
    let other = store.admit(keyed(&agent("u", at(5)), "k", "g")).await;
    assert!(matches!(other, Err(StoreError::IdempotencyMismatch)), "{other:?}");
    assert_eq!(store.entries(0, 10).await.unwrap().len(), seen, "a replay writes nothing");
    // Replays also after the end of the agent.
    let (held, record) = lease(&*store, T0).await;
    let end = settled(record.agent, Status::Completed, EndReason::Done, T0);
    store.advance(&held, change(end.clone(), "x", T0)).await.unwrap();
    match store.admit(keyed(&agent("t", at(9)), "k", "f")).await.unwrap() {
        Admitted::Replay(record) => assert_eq!(record.agent, end),
        Admitted::New(_) => panic!("the key was known"),
    }
}

/// A key is forgotten after its time, counted from the admission.
pub async fn forgets_an_old_key(bench: &dyn Bench) {
    let store = store(bench).await;
    store.admit(keyed(&agent("a", T0), "k", "f")).await.unwrap();
    let last = IDEMPOTENCY.as_secs() - 1;
    let young = store.admit(keyed(&agent("b", at(last)), "k", "f")).await.unwrap();
    assert!(matches!(young, Admitted::Replay(_)));
    let old = store.admit(keyed(&agent("b", at(last + 1)), "k", "g")).await.unwrap();
    assert!(matches!(old, Admitted::New(_)));
    let again = store.admit(keyed(&agent("c", at(last + 2)), "k", "g")).await.unwrap();
    assert!(matches!(again, Admitted::Replay(_)), "the key stands for the newer agent now");
}

/// A hundred callers with one key get one agent.
pub async fn one_key_in_parallel_makes_one_agent(bench: &dyn Bench) {
    let store = store(bench).await;
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..100 {
        let store = store.clone();
        calls.spawn(async move { store.admit(keyed(&agent("t", T0), "k", "f")).await.unwrap() });
    }
    let (mut new, mut agents) = (0, HashSet::new());
    for answer in calls.join_all().await {
        match answer {
            Admitted::New(record) => {
                new += 1;
                agents.insert(record.agent.id);
            }
            Admitted::Replay(record) => {
                agents.insert(record.agent.id);
            }
        }
    }
    assert_eq!((new, agents.len()), (1, 1));
    assert_eq!(store.entries(0, 200).await.unwrap().len(), 1);
}

/// A hundred callers with one task and no key get one agent between them.
pub async fn one_task_in_parallel_makes_one_agent(bench: &dyn Bench) {
    let store = store(bench).await;
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..100 {
        let store = store.clone();
        calls.spawn(async move { store.admit(admission(&agent("t", T0))).await });
    }
    let (mut new, mut refused) = (Vec::new(), Vec::new());
    for answer in calls.join_all().await {
        match answer {
            Ok(Admitted::New(record)) => new.push(record.agent.id),
            Err(StoreError::TaskActive { agent }) => refused.push(agent),
            other => panic!("unexpected {other:?}"),
        }
    }
    assert_eq!((new.len(), refused.len()), (1, 99));
    assert!(refused.iter().all(|holder| *holder == new[0]));
}

/// The bound counts what waits, delayed work included; what is leased makes room.
pub async fn refuses_when_the_queue_is_full(bench: &dyn Bench) {
    let store = bench.make(3).await;
    for task in ["a", "b"] {
        admit(&*store, &agent(task, T0)).await;
    }
    admit(&*store, &in_backoff(agent("c", T0), at(100))).await;
    let full = store.admit(admission(&agent("d", T0))).await;
    assert!(matches!(full, Err(StoreError::QueueFull(3))), "{full:?}");
    lease(&*store, T0).await;
    admit(&*store, &agent("d", T0)).await;
    let full = store.admit(admission(&agent("e", T0))).await;
    assert!(matches!(full, Err(StoreError::QueueFull(3))), "{full:?}");
}

/// A refused admission leaves no agent, no fact, no key and no number behind.
pub async fn a_refusal_writes_nothing(bench: &dyn Bench) {
    let store = bench.make(0).await;
    let full = store.admit(keyed(&agent("a", T0), "k", "f")).await;
    assert!(matches!(full, Err(StoreError::QueueFull(0))));
    assert!(is_empty(&*store).await);
    let again = store.admit(keyed(&agent("a", T0), "k", "g")).await;
    assert!(matches!(again, Err(StoreError::QueueFull(0))), "the key was not remembered: {again:?}");
    assert_eq!(*store.newest().borrow(), 0);
}
