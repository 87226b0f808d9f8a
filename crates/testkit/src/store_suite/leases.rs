//! Leases: one holder at a time, epochs that rise, and the fencing of whoever lost one.

use std::collections::HashSet;

use mosaic_core::domain::agent::Status;
use mosaic_core::domain::ids::Epoch;
use mosaic_core::domain::outcome::EndReason;
use mosaic_core::ports::store::{Lease, Store, StoreError};

use super::Bench;
use super::sample::*;

async fn assert_fenced(store: &dyn Store, lease: &Lease, agent: &mosaic_core::domain::agent::Agent) {
    let before = store.get(lease.agent).await.unwrap();
    let seen = *store.newest().borrow();
    let answer = store.advance(lease, change(working(agent.clone(), T0), "late", T0)).await;
    assert!(matches!(&answer, Err(StoreError::Fenced(id)) if *id == lease.agent), "{answer:?}");
    assert_eq!(store.get(lease.agent).await.unwrap(), before, "a fenced write writes nothing");
    assert_eq!(*store.newest().borrow(), seen, "a fenced write logs nothing");
}

/// Twenty callers share five hundred entries: each goes to one of them.
pub async fn an_entry_goes_to_one_caller(bench: &dyn Bench) {
    let store = store(bench).await;
    let mut admissions = tokio::task::JoinSet::new();
    for n in 0..500 {
        let store = store.clone();
        admissions.spawn(async move { admit(&*store, &agent(&format!("t{n}"), T0)).await.seq });
    }
    let seqs: HashSet<u64> = admissions.join_all().await.into_iter().collect();
    assert_eq!(seqs, (1..=500).collect(), "admissions are numbered without gaps");
    let mut callers = tokio::task::JoinSet::new();
    for n in 0..20 {
        let store = store.clone();
        callers.spawn(async move {
            let mut mine = Vec::new();
            let node = node(&format!("n{n}"));
            while let Some((lease, record)) = store.lease(&node, T0).await.unwrap() {
                assert_eq!((&lease.node, lease.epoch, lease.agent), (&node, Epoch(1), record.agent.id));
                mine.push(lease.agent);
            }
            mine
        });
    }
    let all: Vec<_> = callers.join_all().await.into_iter().flatten().collect();
    assert_eq!(all.len(), 500);
    assert_eq!(all.iter().collect::<HashSet<_>>().len(), 500, "none was given twice");
    assert_eq!(store.counts(T0).await.unwrap().active, 500);
}

/// Every lease of an agent has a higher epoch than the one before, and the record says who holds it.
pub async fn epochs_rise(bench: &dyn Bench) {
    let store = store(bench).await;
    let a = agent("a", T0);
    admit(&*store, &a).await;
    for round in 0..3u64 {
        let (held, record) = lease(&*store, T0).await;
        assert_eq!(held.epoch, Epoch(2 * round + 1));
        assert_eq!((record.epoch, record.node.as_ref()), (held.epoch, Some(&held.node)));
        assert_eq!(store.get(a.id).await.unwrap(), record);
        bench.lapse(a.id).await;
        let (taken, record) = store.take_over(a.id, &node("n2")).await.unwrap();
        assert_eq!((taken.epoch, taken.node.as_str()), (Epoch(2 * round + 2), "n2"));
        assert_eq!((record.epoch, record.node.as_ref()), (taken.epoch, Some(&taken.node)));
        store.advance(&taken, change(a.clone(), "back", T0)).await.unwrap();
        let free = store.get(a.id).await.unwrap();
        assert_eq!((free.epoch, free.node), (taken.epoch, None));
    }
}

/// A lease is refused after a take-over, after its end, and after the next lease of the same node.
pub async fn an_old_lease_is_fenced(bench: &dyn Bench) {
    let store = store(bench).await;
    let a = agent("a", T0);
    admit(&*store, &a).await;
    let (first, _) = lease(&*store, T0).await;
    // The same node takes it over, so that nothing but the epoch tells the old lease from the new one.
    let (second, _) = store.take_over(a.id, &first.node).await.unwrap();
    assert_fenced(&*store, &first, &a).await;
    let forged = Lease { node: node("other"), ..second.clone() };
    assert_fenced(&*store, &forged, &a).await;
    store.advance(&second, change(working(a.clone(), T0), "x", T0)).await.unwrap();
    store.advance(&second, change(working(a.clone(), T0), "back", T0)).await.unwrap();
    let waits = in_backoff(working(a.clone(), T0), at(5));
    store.advance(&second, change(waits.clone(), "back", T0)).await.unwrap();
    assert_fenced(&*store, &second, &waits).await;
    let (third, record) = lease(&*store, at(5)).await;
    assert_fenced(&*store, &second, &waits).await;
    let end = settled(record.agent, Status::Completed, EndReason::Done, at(6));
    store.advance(&third, change(end.clone(), "end", at(6))).await.unwrap();
    assert_fenced(&*store, &third, &end).await;
}

/// Queued or settled ends a lease; every other state keeps it.
pub async fn a_lease_ends_with_its_state(bench: &dyn Bench) {
    let store = store(bench).await;
    let a = agent("a", T0);
    admit(&*store, &a).await;
    let (held, _) = lease(&*store, T0).await;
    for state in [in_checkout(a.clone()), working(a.clone(), T0)] {
        store.advance(&held, change(state, "x", T0)).await.unwrap();
        assert_eq!(store.get(a.id).await.unwrap().node, Some(held.node.clone()));
        assert!(store.waiting(0, 10, T0).await.unwrap().is_empty());
    }
    let waits = in_backoff(working(a.clone(), T0), at(5));
    store.advance(&held, change(waits.clone(), "back", T0)).await.unwrap();
    assert_eq!(store.get(a.id).await.unwrap().node, None);
    assert_eq!(ids(&store.waiting(0, 10, T0).await.unwrap()), [a.id]);
    let (held, _) = lease(&*store, at(5)).await;
    let end = settled(waits, Status::Failed, EndReason::AgentError, at(6));
    store.advance(&held, change(end, "end", at(6))).await.unwrap();
    assert_eq!(store.get(a.id).await.unwrap().node, None);
    assert!(
        store.leased().await.unwrap().is_empty() && store.waiting(0, 10, at(6)).await.unwrap().is_empty()
    );
}

/// Only what is leased can be adopted.
pub async fn take_over_needs_a_lease(bench: &dyn Bench) {
    let store = store(bench).await;
    let a = agent("a", T0);
    let unknown = store.take_over(a.id, &node("n2")).await;
    assert!(matches!(unknown, Err(StoreError::NotFound(_))), "{unknown:?}");
    admit(&*store, &a).await;
    let queued = store.take_over(a.id, &node("n2")).await;
    assert!(matches!(queued, Err(StoreError::Conflict(_))), "{queued:?}");
    let (held, _) = lease(&*store, T0).await;
    let end = settled(a.clone(), Status::Killed, EndReason::Operator, T0);
    store.advance(&held, change(end, "end", T0)).await.unwrap();
    let ended = store.take_over(a.id, &node("n2")).await;
    assert!(matches!(ended, Err(StoreError::Conflict(_))), "{ended:?}");
}

/// Leased agents are listed, oldest admission first.
pub async fn leased_lists_what_is_held(bench: &dyn Bench) {
    let store = store(bench).await;
    let (old, young) =
        (agent("old", T0), agent_from(serde_json::json!({"taskId": "young", "priority": 1}), at(1)));
    for one in [&old, &young, &agent("waits", at(2))] {
        admit(&*store, one).await;
    }
    lease(&*store, at(2)).await;
    lease(&*store, at(2)).await;
    let held = store.leased().await.unwrap();
    assert_eq!(ids(&held), [old.id, young.id]);
    assert!(held.iter().all(|record| record.node == Some(node("n1")) && record.epoch == Epoch(1)));
}

/// Of twenty take-overs at once by the node that holds it each gets an epoch of its own, and only the highest can write.
pub async fn racing_take_overs_leave_one_holder(bench: &dyn Bench) {
    let store = store(bench).await;
    let a = agent("a", T0);
    admit(&*store, &a).await;
    lease(&*store, T0).await;
    let mut callers = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let (store, id) = (store.clone(), a.id);
        callers.spawn(async move { store.take_over(id, &node("n1")).await.unwrap().0 });
    }
    let mut leases = callers.join_all().await;
    leases.sort_by_key(|lease| lease.epoch);
    let epochs: Vec<u64> = leases.iter().map(|lease| lease.epoch.0).collect();
    assert_eq!(epochs, (2..=21).collect::<Vec<_>>());
    let last = leases.pop().unwrap();
    for lease in &leases {
        assert_fenced(&*store, lease, &a).await;
    }
    store.advance(&last, change(working(a.clone(), T0), "x", T0)).await.unwrap();
}

/// The node of the newest lease stays known after the lease ended.
pub async fn home_is_where_it_was_leased_last(bench: &dyn Bench) {
    let store = store(bench).await;
    let admitted = admit(&*store, &agent("a", T0)).await;
    assert_eq!(admitted.home, None);
    let (held, record) = lease(&*store, at(1)).await;
    assert_eq!(record.home, Some(node("n1")));
    store.advance(&held, change(in_backoff(record.agent, at(2)), "agent.backoff", at(1))).await.unwrap();
    assert_eq!(store.get(admitted.agent.id).await.unwrap().home, Some(node("n1")));
    let (_, again) = store.lease(&node("n2"), at(3)).await.unwrap().unwrap();
    assert_eq!((again.node.clone(), again.home), (Some(node("n2")), again.node));
}
