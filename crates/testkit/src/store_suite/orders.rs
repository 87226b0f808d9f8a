//! Standing orders: what a kill-all covers, and what the kill switch holds back.

use mosaic_core::domain::ids::Timestamp;
use mosaic_core::domain::orders::{Barrier, KillOrder, Latch, StandingOrders};
use mosaic_core::ports::store::{OrderChange, Store, Versioned};

use super::Bench;
use super::sample::*;

fn barrier(seq: Option<u64>, by: &str, when: Timestamp) -> Barrier {
    Barrier { seq, before: Timestamp(0), by: by.to_owned(), reason: Some("enough".to_owned()), at: when }
}

fn latch(by: &str, when: Timestamp) -> Latch {
    Latch { by: by.to_owned(), reason: None, at: when }
}

async fn change(store: &dyn Store, change: OrderChange) -> StandingOrders {
    let about = agent("x", T0);
    store.set_orders(change, vec![fact("killswitch.x", &about, T0)]).await.unwrap()
}

/// A barrier without a place is put after everything that is admitted in the same step.
pub async fn a_kill_all_covers_what_is_admitted(bench: &dyn Bench) {
    let store = store(bench).await;
    assert_eq!(store.orders().await.unwrap(), StandingOrders::default());
    let empty = change(&*store, OrderChange::Raise(barrier(None, "alice", at(1)))).await;
    assert_eq!(empty.barrier, Some(barrier(Some(0), "alice", at(1))));
    let mut callers = tokio::task::JoinSet::new();
    for n in 0..20 {
        let store = store.clone();
        callers.spawn(async move { admit(&*store, &agent(&format!("t{n}"), at(2))).await.seq });
    }
    callers.join_next().await.unwrap().unwrap();
    let raised = change(&*store, OrderChange::Raise(barrier(None, "bob", at(3)))).await;
    callers.join_all().await;
    let later = admit(&*store, &agent("later", at(4))).await;
    let covers = raised.barrier.clone().unwrap();
    assert_eq!((covers.by.as_str(), covers.at), ("bob", at(3)));
    assert!((1..later.seq).contains(&covers.seq.unwrap()), "{covers:?}");
    assert_eq!(store.orders().await.unwrap(), raised);
}

/// A lower place changes nothing and logs nothing.
pub async fn the_barrier_never_sinks(bench: &dyn Bench) {
    let store = store(bench).await;
    change(&*store, OrderChange::Raise(barrier(Some(7), "alice", at(1)))).await;
    let logged = store.entries(0, 10).await.unwrap().len();
    assert_eq!(logged, 1);
    let same = change(&*store, OrderChange::Raise(barrier(Some(3), "bob", at(2)))).await;
    assert_eq!(same.barrier, Some(barrier(Some(7), "alice", at(1))));
    assert_eq!(store.entries(0, 10).await.unwrap().len(), logged);
}

/// Engaging twice keeps who was first; a release removes it; each change is logged once.
pub async fn the_first_latch_stands_until_released(bench: &dyn Bench) {
    let store = store(bench).await;
    change(&*store, OrderChange::Engage(latch("alice", at(1)))).await;
    let twice = change(&*store, OrderChange::Engage(latch("bob", at(2)))).await;
    assert_eq!(twice.latch, Some(latch("alice", at(1))));
    assert_eq!(store.orders().await.unwrap(), twice);
    assert_eq!(change(&*store, OrderChange::Release).await.latch, None);
    assert_eq!(change(&*store, OrderChange::Release).await.latch, None);
    assert_eq!(store.entries(0, 10).await.unwrap().len(), 2);
}

/// While the switch is engaged nothing is leased and everything keeps its place; afterwards it starts.
pub async fn nothing_is_leased_under_the_latch(bench: &dyn Bench) {
    let store = store(bench).await;
    admit(&*store, &agent("a", T0)).await;
    change(&*store, OrderChange::Engage(latch("alice", at(1)))).await;
    admit(&*store, &agent("b", at(2))).await;
    assert!(store.lease(&node("n1"), at(3)).await.unwrap().is_none());
    assert_eq!(store.counts(at(3)).await.unwrap().waiting, 2);
    change(&*store, OrderChange::Release).await;
    assert_eq!(lease(&*store, at(4)).await.1.agent.spec.task_id.as_str(), "a");
}

/// Barrier and latch are as they were.
pub async fn a_new_start_knows_the_orders(bench: &dyn Bench) {
    let store = store(bench).await;
    admit(&*store, &agent("a", T0)).await;
    change(&*store, OrderChange::Raise(barrier(None, "alice", at(1)))).await;
    let orders = change(&*store, OrderChange::Engage(latch("bob", at(2)))).await;
    let Some(store) = bench.reopen(store).await else { return };
    assert_eq!(store.orders().await.unwrap(), orders);
    assert_eq!(orders.barrier, Some(barrier(Some(1), "alice", at(1))));
}

/// An order about one agent stands beside the others, the first one with its words, until it is deleted; it is logged
/// when it changes something.
pub async fn an_order_to_end_one_agent_stands_until_carried_out(bench: &dyn Bench) {
    let store = store(bench).await;
    let (one, two) = (admit(&*store, &agent("a", T0)).await, admit(&*store, &agent("b", T0)).await);
    let kill = |record: &Versioned, by: &str| KillOrder {
        agent: record.agent.id,
        by: by.to_owned(),
        reason: None,
        at: at(1),
    };
    let logged = store.entries(0, 10).await.unwrap().len();
    change(&*store, OrderChange::Kill(kill(&one, "alice"))).await;
    change(&*store, OrderChange::Kill(kill(&two, "alice"))).await;
    let twice = change(&*store, OrderChange::Kill(kill(&one, "bob"))).await;
    assert!(twice.kills.contains(&kill(&one, "alice")), "{twice:?}");
    assert_eq!(twice.kills.len(), 2);
    assert_eq!(store.entries(0, 10).await.unwrap().len(), logged + 2);
    let left = change(&*store, OrderChange::Killed(one.agent.id)).await;
    assert_eq!(left.kills, vec![kill(&two, "alice")]);
    let Some(store) = bench.reopen(store).await else { return };
    assert_eq!(store.orders().await.unwrap(), left);
}
