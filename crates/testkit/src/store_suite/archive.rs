//! Moves to an archive: nobody sees a difference but where the record lies. A backend that keeps everything where it is
//! passes by doing nothing.

use mosaic_core::domain::agent::Status;
use mosaic_core::domain::outcome::EndReason;
use mosaic_core::ports::store::{
    Admission, Admitted, EndedAfter, Idempotency, Moving, Query, Removal, Store, StoreError, Versioned,
};
use serde_json::json;

use super::Bench;
use super::sample::*;

/// Admits an agent of this task, lets it run on the node and ends it at this second.
async fn ended(store: &dyn Store, task: &str, second: u64) -> Versioned {
    let body =
        json!({"taskId": task, "labels": {"team": "core"}, "context": {"workItems": ["x".repeat(500)]}});
    let one = agent_from(body, T0);
    admit(store, &one).await;
    let (held, record) = lease(store, at(second)).await;
    let mut end = settled(working(record.agent, at(second)), Status::Completed, EndReason::Done, at(second));
    end.work.result = Some("a long text ".repeat(50));
    store.advance(&held, change(end, "agent.completed", at(second))).await.unwrap();
    store.get(one.id).await.unwrap()
}

/// Moves everything that ended before this second; returns what was found to be moved.
async fn move_all(store: &dyn Store, second: u64) -> Vec<Moving> {
    let found = store.movable(&node("n1"), at(second), true, 100).await.unwrap();
    store.archive(&found).await.unwrap();
    for answer in store.shorten(&found, &node("n1")).await.unwrap() {
        answer.unwrap();
    }
    found
}

async fn listed(store: &dyn Store, query: Query) -> Vec<Versioned> {
    let found = store.list(Query { limit: 100, ..query }).await.unwrap();
    store.whole(found).await.unwrap()
}

/// Every way to read a record gives what it gave before.
pub async fn a_moved_record_reads_the_same(bench: &dyn Bench) {
    let store = store(bench).await;
    let (first, second) = (ended(&*store, "t1", 10).await, ended(&*store, "t2", 20).await);
    let waits = admit(&*store, &agent("t3", T0)).await;
    let counts = store.counts(at(30)).await.unwrap();
    let moved = move_all(&*store, 15).await;
    assert!(moved.len() <= 1, "{moved:?}");
    move_all(&*store, 9999).await;
    assert!(store.movable(&node("n1"), at(9999), true, 100).await.unwrap().is_empty() || moved.is_empty());
    assert_eq!(store.get(first.agent.id).await.unwrap(), first);
    let all = [waits.clone(), second.clone(), first.clone()];
    assert_eq!(listed(&*store, Query::default()).await, all);
    let label = Some(("team".to_owned(), "core".to_owned()));
    assert_eq!(listed(&*store, Query { label, ..Query::default() }).await, all[1..]);
    let query =
        Query { repository: Some(first.agent.spec.context.repository.to_string()), ..Query::default() };
    assert_eq!(listed(&*store, query).await, all);
    let query = Query { status: vec![Status::Completed], text: Some("T2".to_owned()), ..Query::default() };
    assert_eq!(listed(&*store, query).await, all[1..2]);
    let of_task = store.of_task(&first.agent.spec.task_id).await.unwrap();
    assert_eq!(store.whole(of_task).await.unwrap(), all[2..]);
    assert_eq!(store.counts(at(30)).await.unwrap(), counts);
    let old = store.settled(at(9999), EndedAfter::default(), 100).await.unwrap();
    assert_eq!(old, [first.clone(), second]);
    let glance = store.glance(first.agent.id).await.unwrap();
    let (agent, whole) = (&glance.agent, &first.agent);
    assert_eq!((agent.id, agent.status(), agent.end()), (whole.id, whole.status(), whole.end()));
    assert_eq!((agent.spawned_at, agent.started_at), (whole.spawned_at, whole.started_at));
    assert_eq!((glance.seq, glance.version, &glance.home), (first.seq, first.version, &first.home));
    let Some(store) = bench.reopen(store).await else { return };
    assert_eq!(store.get(first.agent.id).await.unwrap(), first);
}

/// A write over a moved record makes it whole again, by its version and only with the same end; it moves again.
pub async fn a_moved_record_is_written_over_as_before(bench: &dyn Bench) {
    let store = store(bench).await;
    let record = ended(&*store, "t", 10).await;
    move_all(&*store, 9999).await;
    let mut warned = record.agent.clone();
    warned.warn("one");
    let stale = store.amend(vec![(record.version - 1, change(warned.clone(), "x", at(20)))]).await.unwrap();
    assert!(matches!(stale[..], [Err(StoreError::Conflict(_))]), "{stale:?}");
    let other = settled(record.agent.clone(), Status::Failed, EndReason::Timeout, at(10));
    let other = store.amend(vec![(record.version, change(other, "x", at(20)))]).await.unwrap();
    assert!(matches!(other[..], [Err(StoreError::Conflict(_))]), "{other:?}");
    assert_eq!(store.get(record.agent.id).await.unwrap(), record);
    let written =
        store.amend(vec![(record.version, change(warned.clone(), "x", at(20)))]).await.unwrap().remove(0);
    assert_eq!(written.unwrap(), record.version + 1);
    let expected = Versioned { agent: warned, version: record.version + 1, ..record };
    assert_eq!(store.get(expected.agent.id).await.unwrap(), expected);
    move_all(&*store, 9999).await;
    assert_eq!(store.get(expected.agent.id).await.unwrap(), expected);
    assert_eq!(store.settled(at(9999), EndedAfter::default(), 100).await.unwrap(), [expected]);
}

/// A record that changed between the two halves of its move stays whole.
pub async fn a_record_that_changes_meanwhile_stays_whole(bench: &dyn Bench) {
    let store = store(bench).await;
    let record = ended(&*store, "t", 10).await;
    let found = store.movable(&node("n1"), at(9999), true, 100).await.unwrap();
    store.archive(&found).await.unwrap();
    let mut warned = record.agent.clone();
    warned.warn("one");
    store
        .amend(vec![(record.version, change(warned.clone(), "x", at(20)))])
        .await
        .unwrap()
        .remove(0)
        .unwrap();
    for answer in store.shorten(&found, &node("n1")).await.unwrap() {
        assert!(matches!(answer, Err(StoreError::Conflict(_))), "{answer:?}");
    }
    let now = store.get(record.agent.id).await.unwrap();
    assert_eq!((now.agent, now.version, now.short), (warned, record.version + 1, None));
}

/// A process that ends between the two halves leaves the record whole, and the next one moves it.
pub async fn a_move_that_is_broken_off_loses_nothing(bench: &dyn Bench) {
    let store = store(bench).await;
    let record = ended(&*store, "t", 10).await;
    let found = store.movable(&node("n1"), at(9999), true, 100).await.unwrap();
    store.archive(&found).await.unwrap();
    let Some(store) = bench.reopen(store).await else { return };
    assert_eq!(store.get(record.agent.id).await.unwrap(), record);
    assert_eq!(
        store.settled(at(9999), EndedAfter::default(), 100).await.unwrap().len(),
        1,
        "it is listed once"
    );
    assert_eq!(move_all(&*store, 9999).await, found);
    // The answer to the second half was lost, and it is asked for again.
    for answer in store.shorten(&found, &node("n1")).await.unwrap() {
        answer.unwrap();
    }
    assert_eq!(store.get(record.agent.id).await.unwrap(), record);
}

/// A moved record goes for good like any other.
pub async fn a_moved_record_is_removed_with_a_note(bench: &dyn Bench) {
    let store = store(bench).await;
    let record = ended(&*store, "t", 10).await;
    move_all(&*store, 9999).await;
    let removal = |version| Removal {
        agent: record.agent.id,
        version,
        at: at(900),
        why: "test".to_owned(),
        node: Some(node("n1")),
        facts: vec![fact("agent.removed", &record.agent, at(900))],
    };
    let stale = store.remove(removal(record.version - 1)).await;
    assert!(matches!(stale, Err(StoreError::Conflict(_))), "{stale:?}");
    store.remove(removal(record.version)).await.unwrap();
    assert!(matches!(store.get(record.agent.id).await, Err(StoreError::Pruned { .. })));
    assert!(listed(&*store, Query::default()).await.is_empty());
    assert!(store.of_task(&record.agent.spec.task_id).await.unwrap().is_empty());
    assert!(store.settled(at(9999), EndedAfter::default(), 100).await.unwrap().is_empty());
    assert_eq!(store.counts(at(30)).await.unwrap().completed, 0);
}

/// A moved agent is in nobody's way, and its key still stands for it.
pub async fn a_task_goes_on_after_its_agent_was_moved(bench: &dyn Bench) {
    let store = store(bench).await;
    let keyed = |task: &str| {
        let idempotency = Some(Idempotency { key: "k".to_owned(), fingerprint: "f".to_owned() });
        Admission { idempotency, ..admission(&agent(task, T0)) }
    };
    let first = keyed("t");
    let one = first.agent.clone();
    store.admit(first).await.unwrap();
    let (held, record) = lease(&*store, T0).await;
    let end = settled(record.agent, Status::Killed, EndReason::Operator, at(1));
    store.advance(&held, change(end, "x", at(1))).await.unwrap();
    let before = store.get(one.id).await.unwrap();
    move_all(&*store, 9999).await;
    store.log(vec![fact("late", &one, at(5))]).await.unwrap();
    match store.admit(keyed("t")).await.unwrap() {
        Admitted::Replay(first) => assert_eq!(first, before),
        Admitted::New(_) => panic!("the key was forgotten"),
    }
    let again = admit(&*store, &agent("t", at(10))).await;
    assert_eq!(ids(&store.of_task(&one.spec.task_id).await.unwrap()), [again.agent.id, one.id]);
    assert_eq!(lease(&*store, at(11)).await.1.agent.id, again.agent.id);
}
