//! A server whose memory is full: new work is refused with words, what runs is recorded to its end.

use mosaic_core::domain::agent::Status;
use mosaic_core::domain::orders::Latch;
use mosaic_core::domain::outcome::EndReason;
use mosaic_core::ports::store::{OrderChange, Removal, Store, StoreError};
use mosaic_testkit::store_suite::sample::*;

use super::World;

#[tokio::test]
async fn full_memory_refuses_new_work_and_records_transitions() {
    let Some(world) = World::new(&["--maxmemory-policy", "noeviction"]).await else { return };
    let store = world.store().await;
    let [a, b, c] = [agent("a", T0), agent("b", T0), agent("c", T0)];
    for one in [&a, &b, &c] {
        admit(&*store, one).await;
    }
    let (held, _) = lease(&*store, T0).await;
    world.ask::<()>("CONFIG SET maxmemory 1").await;
    let full = |answer: &StoreError| matches!(answer, StoreError::Unavailable(why) if why.contains("memory") && why.contains("full"));
    let refused = store.admit(admission(&agent("d", T0))).await.unwrap_err();
    assert!(full(&refused), "{refused}");
    assert!(full(&store.check().await.unwrap_err()));
    store.advance(&held, change(working(a.clone(), at(1)), "agent.running", at(1))).await.unwrap();
    let killed = settled(b.clone(), Status::Killed, EndReason::Operator, at(2));
    store.amend(vec![(1, change(killed, "agent.killed", at(2)))]).await.unwrap().remove(0).unwrap();
    let latch = Latch { by: "alice".to_owned(), reason: None, at: at(2) };
    store.set_orders(OrderChange::Engage(latch), vec![fact("killswitch.x", &a, at(2))]).await.unwrap();
    store.set_orders(OrderChange::Release, Vec::new()).await.unwrap();
    let end = settled(working(a.clone(), at(1)), Status::Completed, EndReason::Done, at(3));
    let version = store.advance(&held, change(end, "agent.completed", at(3))).await.unwrap();
    assert_eq!(lease(&*store, at(4)).await.0.agent, c.id, "what waits may start: that makes room");
    let removal = Removal {
        agent: a.id,
        version,
        at: at(5),
        why: "room".to_owned(),
        node: Some(node("n1")),
        facts: Vec::new(),
    };
    store.remove(removal).await.unwrap();
    let kinds: Vec<_> =
        store.entries(3, 10).await.unwrap().into_iter().map(|entry| entry.fact.kind().to_owned()).collect();
    assert_eq!(kinds, ["agent.running", "agent.killed", "killswitch.x", "agent.completed"]);
    world.ask::<()>("CONFIG SET maxmemory 0").await;
    admit(&*store, &agent("d", at(6))).await;
}
