//! Knowledge that a backend that keeps anything must still have after a new start.

use mosaic_core::domain::agent::Status;
use mosaic_core::domain::outcome::EndReason;
use mosaic_core::ports::store::{Admitted, Idempotency, Pause, Query, StoreError};

use super::Bench;
use super::sample::*;

/// Records, order, counts, log, keys and pause are as they were.
pub async fn a_new_start_sees_everything(bench: &dyn Bench) {
    let store = store(bench).await;
    for n in 0..5 {
        admit(&*store, &agent(&format!("t{n}"), at(n))).await;
    }
    let keyed = |task: &str| {
        let idempotency = Some(Idempotency { key: "k".to_owned(), fingerprint: "f".to_owned() });
        mosaic_core::ports::store::Admission { idempotency, ..admission(&agent(task, at(9))) }
    };
    store.admit(keyed("keyed")).await.unwrap();
    let (held, record) = lease(&*store, at(9)).await;
    let end = settled(record.agent, Status::Failed, EndReason::AgentError, at(9));
    store.advance(&held, change(end, "x", at(9))).await.unwrap();
    let (held, record) = lease(&*store, at(9)).await;
    store.advance(&held, change(in_backoff(record.agent, at(90)), "x", at(9))).await.unwrap();
    lease(&*store, at(9)).await;
    let pause = Pause { by: "alice".to_owned(), reason: None, at: at(9) };
    let about = agent("x", at(9));
    store.set_pause(Some(pause.clone()), fact("queue.paused", &about, at(9))).await.unwrap();

    let list = store.list(Query { limit: 100, ..Query::default() }).await.unwrap();
    let waiting = store.waiting(0, 100, at(9)).await.unwrap();
    let (log, counts) = (store.entries(0, 100).await.unwrap(), store.counts(at(9)).await.unwrap());
    let Some(store) = bench.reopen(store).await else { return };
    assert_eq!(store.list(Query { limit: 100, ..Query::default() }).await.unwrap(), list);
    assert_eq!(store.waiting(0, 100, at(9)).await.unwrap(), waiting);
    assert_eq!(store.entries(0, 100).await.unwrap(), log);
    assert_eq!(store.counts(at(9)).await.unwrap(), counts);
    assert_eq!(store.pause().await.unwrap(), Some(pause));
    assert_eq!(store.next_due().await.unwrap(), Some(at(90)));
    assert_eq!(*store.newest().borrow(), log.len() as u64);
    assert!(matches!(store.admit(keyed("keyed")).await.unwrap(), Admitted::Replay(_)));
    let second = store.admit(admission(&agent("t4", at(10)))).await;
    assert!(matches!(second, Err(StoreError::TaskActive { .. })), "{second:?}");
}

/// A held agent is still held: the next server lists it, takes it over and fences the server before.
pub async fn leases_survive_and_can_be_taken_over(bench: &dyn Bench) {
    let store = store(bench).await;
    let a = agent("a", T0);
    admit(&*store, &a).await;
    let (old, _) = lease(&*store, T0).await;
    store.advance(&old, change(working(a.clone(), T0), "x", T0)).await.unwrap();
    let Some(store) = bench.reopen(store).await else { return };
    assert_eq!(ids(&store.leased().await.unwrap()), [a.id]);
    let (new, _) = store.take_over(a.id, &old.node).await.unwrap();
    assert!(new.epoch > old.epoch);
    let late = store.advance(&old, change(working(a.clone(), T0), "x", T0)).await;
    assert!(matches!(late, Err(StoreError::Fenced(_))), "{late:?}");
    store.advance(&new, change(working(a, T0), "x", T0)).await.unwrap();
}

/// Versions, admissions and facts are numbered on from where they were, and time does not go back.
pub async fn numbers_go_on(bench: &dyn Bench) {
    let store = store(bench).await;
    let a = agent("a", at(50));
    let read = admit(&*store, &a).await;
    let Some(store) = bench.reopen(store).await else { return };
    store.log(vec![fact("x", &a, at(1))]).await.unwrap();
    let log = store.entries(1, 10).await.unwrap();
    assert_eq!((log[0].seq, log[0].fact.at), (2, at(50)));
    assert_eq!(
        store.amend(vec![(read.version, change(a.clone(), "x", at(51)))]).await.unwrap().remove(0).unwrap(),
        2
    );
    assert_eq!(admit(&*store, &agent("b", at(60))).await.seq, 2);
}
