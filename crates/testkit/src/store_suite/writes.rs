//! Writing records: under a lease, and without one by version.

use mosaic_core::domain::agent::Status;
use mosaic_core::domain::outcome::EndReason;
use mosaic_core::ports::store::StoreError;

use super::Bench;
use super::sample::*;

/// An advance writes the record, counts the version and logs its facts in order.
pub async fn advance_writes_record_and_facts(bench: &dyn Bench) {
    let store = store(bench).await;
    let a = agent("a", T0);
    admit(&*store, &a).await;
    let (held, leased) = lease(&*store, T0).await;
    assert_eq!(leased.version, 1, "a lease is no write of the record");
    let mut new = working(a.clone(), at(3));
    new.warn("careful");
    let mut both = change(new.clone(), "one", at(3));
    both.facts.push(fact("two", &a, at(4)));
    assert_eq!(store.advance(&held, both).await.unwrap(), 2);
    let record = store.get(a.id).await.unwrap();
    assert_eq!((&record.agent, record.version, record.seq), (&new, 2, 1));
    let kinds: Vec<String> =
        store.entries(1, 10).await.unwrap().into_iter().map(|entry| entry.fact.kind().to_owned()).collect();
    assert_eq!(kinds, ["one", "two"]);
    let silent = mosaic_core::ports::store::Change {
        safety: mosaic_core::ports::store::Safety::Power,
        agent: new,
        facts: Vec::new(),
    };
    assert_eq!(store.advance(&held, silent).await.unwrap(), 3);
    assert_eq!(*store.newest().borrow(), 3);
}

/// An amend is written only over the version that was read.
pub async fn amend_compares_versions(bench: &dyn Bench) {
    let store = store(bench).await;
    let a = agent("a", T0);
    let read = admit(&*store, &a).await;
    let mut warned = a.clone();
    warned.warn("one");
    let first = store.amend(vec![(read.version, change(warned.clone(), "x", T0))]).await.unwrap();
    assert_eq!(first.into_iter().map(Result::unwrap).collect::<Vec<_>>(), [2]);
    let killed = settled(a.clone(), Status::Killed, EndReason::Operator, T0);
    let stale = store.amend(vec![(read.version, change(killed.clone(), "x", T0))]).await.unwrap();
    assert!(matches!(stale[..], [Err(StoreError::Conflict(id))] if id == a.id), "{stale:?}");
    assert_eq!(store.get(a.id).await.unwrap().agent, warned);
    assert_eq!(store.entries(0, 10).await.unwrap().len(), 2, "a conflict logs nothing");
    store.amend(vec![(2, change(killed.clone(), "x", T0))]).await.unwrap().remove(0).unwrap();
    assert_eq!(store.get(a.id).await.unwrap().agent, killed);
    assert!(store.lease(&node("n1"), T0).await.unwrap().is_none(), "a killed entry never starts");
}

/// A leased record is its holder's alone.
pub async fn amend_refuses_what_is_held(bench: &dyn Bench) {
    let store = store(bench).await;
    let a = agent("a", T0);
    let read = admit(&*store, &a).await;
    lease(&*store, T0).await;
    let killed = settled(a.clone(), Status::Killed, EndReason::Operator, T0);
    let answer = store.amend(vec![(read.version, change(killed, "x", T0))]).await.unwrap();
    assert!(matches!(answer[..], [Err(StoreError::Conflict(_))]), "{answer:?}");
}

/// Each change has its own answer, and those that can be written are.
pub async fn amend_answers_one_by_one(bench: &dyn Bench) {
    let store = store(bench).await;
    let (a, b, c, unknown) = (agent("a", T0), agent("b", T0), agent("c", T0), agent("u", T0));
    for one in [&a, &b, &c] {
        admit(&*store, one).await;
    }
    let killed = |agent: &mosaic_core::domain::agent::Agent| {
        change(settled(agent.clone(), Status::Killed, EndReason::KillAll, T0), "x", T0)
    };
    let changes = vec![(1, killed(&a)), (1, killed(&unknown)), (7, killed(&b)), (1, killed(&c))];
    let answers = store.amend(changes).await.unwrap();
    let expected = (&answers[0], &answers[1], &answers[2], &answers[3]);
    assert!(
        matches!(expected, (Ok(2), Err(StoreError::NotFound(u)), Err(StoreError::Conflict(_)), Ok(2)) if *u == unknown.id),
        "{answers:?}"
    );
    assert_eq!(store.counts(T0).await.unwrap().killed, 2);
    assert!(store.amend(Vec::new()).await.unwrap().is_empty());
}

/// Nothing follows an end.
pub async fn an_end_never_changes(bench: &dyn Bench) {
    let store = store(bench).await;
    let a = agent("a", T0);
    let read = admit(&*store, &a).await;
    let killed = settled(a.clone(), Status::Killed, EndReason::Operator, T0);
    store.amend(vec![(read.version, change(killed.clone(), "x", T0))]).await.unwrap().remove(0).unwrap();
    for other in [a.clone(), settled(a.clone(), Status::Completed, EndReason::Done, T0)] {
        let answer = store.amend(vec![(2, change(other, "x", T0))]).await.unwrap();
        assert!(matches!(answer[..], [Err(StoreError::Conflict(_))]), "{answer:?}");
    }
    assert_eq!(store.get(a.id).await.unwrap().agent, killed);
}

/// Of callers that amend one version at once one wins, so nobody's write is lost unseen.
pub async fn amends_in_parallel_lose_nothing(bench: &dyn Bench) {
    let store = store(bench).await;
    let a = agent("a", T0);
    admit(&*store, &a).await;
    let mut callers = tokio::task::JoinSet::new();
    for n in 0..20 {
        let (store, id) = (store.clone(), a.id);
        callers.spawn(async move {
            loop {
                let read = store.get(id).await.unwrap();
                let mut next = read.agent;
                next.warn(format!("warning {n}"));
                match store.amend(vec![(read.version, change(next, "x", T0))]).await.unwrap().remove(0) {
                    Ok(_) => return,
                    Err(StoreError::Conflict(_)) => {}
                    Err(e) => panic!("{e}"),
                }
            }
        });
    }
    callers.join_all().await;
    let record = store.get(a.id).await.unwrap();
    assert_eq!((record.version, record.agent.warnings.len()), (21, 20));
}

/// An id that was never admitted is not found by anything.
pub async fn unknown_agents_are_not_found(bench: &dyn Bench) {
    let store = store(bench).await;
    let unknown = agent("u", T0);
    let answer = store.get(unknown.id).await;
    assert!(matches!(answer, Err(StoreError::NotFound(id)) if id == unknown.id), "{answer:?}");
    let lease = mosaic_core::ports::store::Lease {
        agent: unknown.id,
        node: node("n1"),
        epoch: mosaic_core::domain::ids::Epoch(1),
    };
    let answer = store.advance(&lease, change(unknown.clone(), "x", T0)).await;
    assert!(matches!(answer, Err(StoreError::NotFound(_))), "{answer:?}");
    assert!(store.of_task(&unknown.spec.task_id).await.unwrap().is_empty());
    assert!(store.damaged().await.unwrap().is_empty());
    store.check().await.unwrap();
}
