//! Records and facts that go for good: what is told afterwards, and what stays as it was.

use mosaic_core::domain::agent::{Agent, Status};
use mosaic_core::domain::ids::AgentId;
use mosaic_core::domain::outcome::EndReason;
use mosaic_core::ports::store::{
    Admission, EndedAfter, Idempotency, Query, Removal, Store, StoreError, Versioned,
};

use super::Bench;
use super::sample::*;

/// Admits an agent of this task and ends it at this second.
async fn ended(store: &dyn Store, task: &str, second: u64) -> Versioned {
    let one = agent(task, T0);
    let read = admit(store, &one).await;
    let end = settled(one.clone(), Status::Killed, EndReason::Operator, at(second));
    store
        .amend(vec![(read.version, change(end, "agent.killed", at(second)))])
        .await
        .unwrap()
        .remove(0)
        .unwrap();
    store.get(one.id).await.unwrap()
}

fn removal(record: &Versioned) -> Removal {
    let facts = vec![fact("agent.removed", &record.agent, at(900))];
    let why = "test".to_owned();
    Removal {
        agent: record.agent.id,
        version: record.version,
        at: at(900),
        why,
        node: Some(node("n1")),
        facts,
    }
}

async fn everything(store: &dyn Store) -> Vec<AgentId> {
    ids(&store.list(Query { limit: 100, ..Query::default() }).await.unwrap())
}

/// The record goes from every list and count; whoever asks is told when it went; the fact is logged.
pub async fn a_removed_record_leaves_a_note(bench: &dyn Bench) {
    let store = store(bench).await;
    let (gone, stays) = (ended(&*store, "gone", 1).await, ended(&*store, "stays", 2).await);
    store.remove(removal(&gone)).await.unwrap();
    let answer = store.get(gone.agent.id).await;
    let told = |answer: &Result<Versioned, StoreError>| matches!(answer, Err(StoreError::Pruned { agent, at: when, .. }) if *agent == gone.agent.id && *when == at(900));
    assert!(told(&answer), "{answer:?}");
    let again = store.remove(removal(&gone)).await;
    assert!(matches!(again, Err(StoreError::Pruned { .. })), "{again:?}");
    assert_eq!(everything(&*store).await, [stays.agent.id]);
    assert!(store.of_task(&gone.agent.spec.task_id).await.unwrap().is_empty());
    assert_eq!(store.counts(T0).await.unwrap().killed, 1);
    assert!(store.position(gone.agent.id).await.unwrap().is_none());
    let last = store.entries(0, 100).await.unwrap().pop().unwrap();
    assert_eq!((last.fact.kind(), last.fact.agent), ("agent.removed", Some(gone.agent.id)));
    let amended = store.amend(vec![(gone.version, change(gone.agent.clone(), "x", at(901)))]).await.unwrap();
    assert!(matches!(amended[..], [Err(StoreError::Pruned { .. })]), "{amended:?}");
    assert_eq!(store.get(stays.agent.id).await.unwrap(), stays);
}

/// Agents that wait, run or changed since stay as they are, and an unknown agent is not found.
pub async fn only_ended_agents_of_the_version_are_removed(bench: &dyn Bench) {
    let store = store(bench).await;
    let runs = admit(&*store, &agent("runs", T0)).await;
    let (held, record) = lease(&*store, T0).await;
    store.advance(&held, change(working(record.agent, T0), "x", T0)).await.unwrap();
    let runs = store.get(runs.agent.id).await.unwrap();
    let waits = admit(&*store, &agent("waits", T0)).await;
    let done = ended(&*store, "done", 1).await;
    let mut warned: Agent = done.agent.clone();
    warned.warn("one");
    store.amend(vec![(done.version, change(warned, "x", at(2)))]).await.unwrap().remove(0).unwrap();
    let log = store.entries(0, 100).await.unwrap();
    for record in [&runs, &waits, &done] {
        let answer = store.remove(removal(record)).await;
        assert!(matches!(answer, Err(StoreError::Conflict(id)) if id == record.agent.id), "{answer:?}");
    }
    let unknown = Removal { agent: agent("u", T0).id, facts: Vec::new(), ..removal(&done) };
    assert!(matches!(store.remove(unknown).await, Err(StoreError::NotFound(_))));
    assert_eq!(everything(&*store).await.len(), 3);
    assert_eq!(store.entries(0, 100).await.unwrap(), log, "a refusal logs nothing");
}

/// A removed agent is in nobody's way, and no number is given twice.
pub async fn a_removed_task_may_be_spawned_again(bench: &dyn Bench) {
    let store = store(bench).await;
    let gone = ended(&*store, "t", 1).await;
    store.remove(removal(&gone)).await.unwrap();
    let again = admit(&*store, &agent("t", at(1000))).await;
    assert_eq!((gone.seq, again.seq), (1, 2));
}

/// A repeated request is told that its agent was removed; it never becomes a second one.
pub async fn a_key_of_a_removed_agent_admits_nothing_new(bench: &dyn Bench) {
    let store = store(bench).await;
    let keyed = |task: &str| {
        let idempotency = Some(Idempotency { key: "k".to_owned(), fingerprint: "f".to_owned() });
        Admission { idempotency, ..admission(&agent(task, T0)) }
    };
    let first = keyed("t");
    let one = first.agent.clone();
    store.admit(first).await.unwrap();
    let end = settled(one.clone(), Status::Killed, EndReason::Operator, at(1));
    store.amend(vec![(1, change(end, "x", at(1)))]).await.unwrap().remove(0).unwrap();
    store.remove(removal(&store.get(one.id).await.unwrap())).await.unwrap();
    let again = store.admit(keyed("t")).await;
    assert!(matches!(again, Err(StoreError::Pruned { agent, .. }) if agent == one.id), "{again:?}");
    assert!(everything(&*store).await.is_empty());
}

/// Ended agents come by their end, each once, whatever is removed between two pages.
pub async fn settled_lists_by_end_in_pages(bench: &dyn Bench) {
    let store = store(bench).await;
    let mut expected = Vec::new();
    for (n, second) in [50, 10, 30, 10, 20, 40].into_iter().enumerate() {
        expected.push((second, ended(&*store, &format!("t{n}"), second).await.agent.id));
    }
    admit(&*store, &agent("waits", T0)).await;
    expected.sort_by_key(|(second, _)| *second);
    expected.retain(|(second, _)| *second < 50);
    let (mut found, mut after) = (Vec::new(), EndedAfter::default());
    loop {
        let page = store.settled(at(50), after, 2).await.unwrap();
        let Some(last) = page.last() else { break };
        after = last.ended_after().unwrap();
        // An entry goes between two pages, so that a list which counts from its beginning would pass over the next one.
        store.remove(removal(&page[0])).await.unwrap();
        found.extend(page);
    }
    assert_eq!(ids(&found), expected.into_iter().map(|(_, id)| id).collect::<Vec<_>>());
    assert_eq!(store.settled(at(50), EndedAfter::default(), 100).await.unwrap().len(), 2);
    assert!(store.settled(at(10), EndedAfter::default(), 100).await.unwrap().is_empty());
}

/// Old facts go from the beginning, in pieces; what stays keeps its number, and new ones go on.
pub async fn pruned_facts_leave_numbers_as_they_were(bench: &dyn Bench) {
    let store = store(bench).await;
    for n in 0..10 {
        admit(&*store, &agent(&format!("t{n}"), at(n))).await;
    }
    assert_eq!(store.prune_events(at(0), 100).await.unwrap(), 0);
    assert_eq!(store.prune_events(at(4), 3).await.unwrap(), 3);
    assert_eq!(store.prune_events(at(4), 3).await.unwrap(), 1);
    assert_eq!(store.prune_events(at(4), 3).await.unwrap(), 0);
    let numbers =
        |log: Vec<mosaic_core::domain::journal::Entry>| log.iter().map(|e| e.seq).collect::<Vec<_>>();
    assert_eq!(numbers(store.entries(0, 100).await.unwrap()), [5, 6, 7, 8, 9, 10]);
    assert_eq!(numbers(store.entries(2, 2).await.unwrap()), [5, 6]);
    assert_eq!(numbers(store.entries(8, 100).await.unwrap()), [9, 10]);
    assert_eq!(store.prune_events(at(999), 100).await.unwrap(), 5, "the newest stays");
    assert_eq!(store.prune_events(at(999), 100).await.unwrap(), 0);
    let late = fact("late", &agent("x", at(1)), at(1));
    store.log(vec![late.clone(), late]).await.unwrap();
    assert_eq!(numbers(store.entries(0, 100).await.unwrap()), [10, 11, 12]);
    assert_eq!(*store.newest().borrow(), 12);
    assert!(store.entries(12, 100).await.unwrap().is_empty());
    // Time may go back between agents: what follows a younger fact waits for it.
    store
        .log(vec![fact("young", &agent("y", T0), at(5000)), fact("old", &agent("z", T0), at(1))])
        .await
        .unwrap();
    assert_eq!(store.prune_events(at(4000), 100).await.unwrap(), 3);
    assert_eq!(numbers(store.entries(0, 100).await.unwrap()), [13, 14]);
}

/// Notes, counts, order and numbers are as they were.
pub async fn removal_survives_a_new_start(bench: &dyn Bench) {
    let store = store(bench).await;
    let (gone, stays) = (ended(&*store, "gone", 1).await, ended(&*store, "stays", 2).await);
    store.remove(removal(&gone)).await.unwrap();
    store.prune_events(at(9999), 100).await.unwrap();
    let newest = *store.newest().borrow();
    let Some(store) = bench.reopen(store).await else { return };
    assert!(matches!(store.get(gone.agent.id).await, Err(StoreError::Pruned { .. })));
    assert_eq!(store.get(stays.agent.id).await.unwrap(), stays);
    assert_eq!(store.counts(T0).await.unwrap().killed, 1);
    assert_eq!(*store.newest().borrow(), newest, "numbers go on although older facts are gone");
    assert_eq!(ids(&store.settled(at(99), EndedAfter::default(), 10).await.unwrap()), [stays.agent.id]);
    assert_eq!(admit(&*store, &agent("new", at(3000))).await.seq, 3);
}

/// Of callers that remove one agent at once one does it; the others are told.
pub async fn of_racing_removals_one_wins(bench: &dyn Bench) {
    let store = store(bench).await;
    let record = ended(&*store, "t", 1).await;
    let mut callers = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let (store, removal) = (store.clone(), removal(&record));
        callers.spawn(async move { store.remove(removal).await });
    }
    let answers = callers.join_all().await;
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1);
    let told = |answer: &&Result<(), StoreError>| matches!(answer, Err(StoreError::Pruned { .. }));
    assert_eq!(answers.iter().filter(told).count(), 19, "{answers:?}");
    let log = store.entries(0, 100).await.unwrap();
    assert_eq!(log.iter().filter(|entry| entry.fact.kind() == "agent.removed").count(), 1);
}
