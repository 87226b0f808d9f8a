//! Records that cannot be read: one is set aside, everything else goes on, and the queue does not stand still behind it.

use mosaic_core::ports::store::{Query, Store, StoreError};
use mosaic_testkit::store_suite::sample::*;

use super::World;

#[tokio::test]
async fn a_damaged_record_is_set_aside_and_everything_else_goes_on() {
    let Some(world) = World::new(&[]).await else { return };
    let store = world.store().await;
    let mut agents = Vec::new();
    for n in 0..8 {
        agents.push(admit(&*store, &agent(&format!("t{n}"), at(n))).await.agent.id);
    }
    let key = |n: usize| format!("orchestrator:agent:{}", agents[n]);
    let whole = world.text(&key(0)).await;
    // Its end is missing; all of it is; it is another's; its head is; it is no text; its status is not its own.
    world.set(&key(0), &whole.as_bytes()[..whole.len() / 2]).await;
    world.set(&key(1), b"").await;
    world.set(&key(2), world.text(&key(7)).await.as_bytes()).await;
    world.set(&key(3), world.text(&key(3)).await.replacen("\"epoch\":0", "\"epoch\":x", 1).as_bytes()).await;
    world.set(&key(4), b"\xff\x00\xff").await;
    let changed = world.text(&key(5)).await.replacen("\"status\":\"spawning\"", "\"status\":\"failed\"", 1);
    world.set(&key(5), changed.as_bytes()).await;
    let (_, record) = lease(&*store, at(10)).await;
    assert_ne!(record.agent.id, agents[0]);
    let good = store.list(Query { limit: 100, ..Query::default() }).await.unwrap();
    assert_eq!(ids(&good), [agents[7], agents[6]]);
    assert_eq!(record.agent.id, agents[6]);
    let damaged = store.damaged().await.unwrap();
    assert_eq!(damaged.len(), 6, "{damaged:?}");
    assert!(damaged.iter().all(|one| !one.why.is_empty()));
    assert!(matches!(store.get(agents[4]).await, Err(StoreError::Quarantined(id)) if id == agents[4]));
    let kept: Vec<u8> = world.ask(&format!("GET orchestrator:quarantine:{}", agents[4])).await;
    assert_eq!(kept, b"\xff\x00\xff", "what it was is kept");
    let counts = store.counts(at(10)).await.unwrap();
    assert_eq!((counts.waiting, counts.active, counts.failed), (1, 1, 0));
    let reason: String = world.ask(&format!("HGET ~{} failedReason", agents[0])).await;
    assert!(reason.contains("damaged"), "{reason}");
    admit(&*store, &agent("t0", at(11))).await;
    drop(store);
    assert_eq!(world.store().await.damaged().await.unwrap(), damaged, "it stays set aside");
}

#[tokio::test]
async fn every_verb_survives_damaged_records() {
    let Some(world) = World::new(&[]).await else { return };
    for verb in 0..8 {
        world.ask::<()>("FLUSHALL").await;
        let store = world.store().await;
        let agents = [agent("a", T0), agent("b", at(1))];
        for one in &agents {
            admit(&*store, one).await;
        }
        let (held, _) = lease(&*store, at(1)).await;
        let [a, b] = [agents[0].id, agents[1].id];
        for id in [a, b] {
            world.set(&format!("orchestrator:agent:{id}"), b"{}").await;
        }
        match verb {
            0 => assert!(matches!(store.get(a).await, Err(StoreError::Quarantined(_)))),
            1 => assert!(store.leased().await.unwrap().is_empty()),
            2 => assert!(store.waiting(0, 10, at(1)).await.unwrap().is_empty()),
            3 => assert!(store.of_task(&agents[0].spec.task_id).await.unwrap().is_empty()),
            4 => assert!(matches!(store.take_over(a, &node("n2")).await, Err(StoreError::Quarantined(_)))),
            5 => {
                let late = store.advance(&held, change(agents[0].clone(), "x", at(2))).await;
                assert!(matches!(late, Err(StoreError::Quarantined(_))), "{late:?}");
            }
            6 => {
                let answers = store.amend(vec![(1, change(agents[1].clone(), "x", at(2)))]).await.unwrap();
                assert!(matches!(answers[..], [Err(StoreError::Quarantined(_))]), "{answers:?}");
            }
            _ => {
                admit(&*store, &agent("a", at(3))).await;
                admit(&*store, &agent("b", at(3))).await;
                continue;
            }
        }
        assert!(store.position(b).await.unwrap().is_none_or(|before| before == 0));
        assert!(store.lease(&node("n1"), at(2)).await.unwrap().is_none(), "verb {verb}");
        assert!(store.list(Query { limit: 10, ..Query::default() }).await.unwrap().is_empty());
        assert_eq!(store.counts(at(2)).await.unwrap(), Default::default(), "verb {verb}");
        assert_eq!(store.damaged().await.unwrap().len(), 2);
        assert_eq!(world.ask::<u64>("LLEN ~active").await, 0);
    }
}

#[tokio::test]
async fn what_is_gone_leaves_the_lists() {
    let Some(world) = World::new(&[]).await else { return };
    let store = world.store().await;
    let [a, b] = [agent("a", T0), agent("b", at(1))];
    admit(&*store, &a).await;
    admit(&*store, &b).await;
    world.ask::<()>(&format!("DEL orchestrator:agent:{}", a.id)).await;
    let (_, record) = lease(&*store, at(2)).await;
    assert_eq!(record.agent.id, b.id, "a job without a record holds up nobody");
    assert_eq!(ids(&store.list(Query { limit: 10, ..Query::default() }).await.unwrap()), [b.id]);
    assert_eq!(store.damaged().await.unwrap().len(), 1);
    assert!(matches!(store.get(a.id).await, Err(StoreError::Quarantined(_))));
    admit(&*store, &agent("a", at(3))).await;
}

#[tokio::test]
async fn foreign_texts_under_our_keys_are_overwritten() {
    let Some(world) = World::new(&[]).await else { return };
    let store = world.store().await;
    world.set("orchestrator:task:a", br#"{"taskId":"a","from":"another program"}"#).await;
    world.ask::<()>("LPUSH orchestrator:task:b x").await;
    for task in ["a", "b"] {
        let read = admit(&*store, &agent(task, T0)).await;
        assert_eq!(ids(&store.of_task(&read.agent.spec.task_id).await.unwrap()), [read.agent.id]);
    }
    world.set("orchestrator:orders", b"").await;
    assert!(store.orders().await.is_err(), "what is no hash is no order");
}
