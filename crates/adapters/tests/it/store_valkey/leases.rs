//! Leases that run out: who may take what from whom, and what a foreign job may not hold up.

use std::time::Duration;

use mosaic_adapters::store_valkey::{ValkeyOptions, ValkeyStore};
use mosaic_core::domain::ids::Epoch;
use mosaic_core::domain::orders::KillOrder;
use mosaic_core::ports::store::{OrderChange, Store, StoreError};
use mosaic_testkit::store_suite::sample::*;
use serde_json::json;

use super::World;

#[tokio::test]
async fn another_node_waits_until_the_lease_has_run_out() {
    let Some(world) = World::new(&[]).await else { return };
    let store = world.store().await;
    let a = agent("a", T0);
    admit(&*store, &a).await;
    let (held, _) = lease(&*store, T0).await;
    let lock = format!("~{}:lock", a.id);
    assert_eq!(world.ask::<String>(&format!("GET {lock}")).await, "n1:1");
    let left: u64 = world.ask(&format!("PTTL {lock}")).await;
    assert!((100_000..=120_000).contains(&left), "{left} ms");
    let early = store.take_over(a.id, &node("n2")).await;
    assert!(matches!(early, Err(StoreError::Conflict(_))), "{early:?}");
    world.ask::<()>(&format!("DEL {lock}")).await;
    // Still its holder's, as long as nobody else was given it; the write makes the lease hold again.
    store.advance(&held, change(working(a.clone(), T0), "x", T0)).await.unwrap();
    assert_eq!(world.ask::<String>(&format!("GET {lock}")).await, "n1:1");
    world.ask::<()>(&format!("DEL {lock}")).await;
    let mut callers = tokio::task::JoinSet::new();
    for n in 2..22 {
        let (store, id) = (store.clone(), a.id);
        callers.spawn(async move { store.take_over(id, &node(&format!("n{n}"))).await });
    }
    let mut won: Vec<_> = callers.join_all().await.into_iter().filter_map(Result::ok).collect();
    assert_eq!(won.len(), 1, "one of twenty nodes gets it");
    let (new, record) = won.remove(0);
    assert_eq!((new.epoch, record.node.as_ref()), (Epoch(2), Some(&new.node)));
    let late = store.advance(&held, change(working(a, T0), "late", T0)).await;
    assert!(matches!(late, Err(StoreError::Fenced(_))), "{late:?}");
}

#[tokio::test]
async fn a_lease_runs_out_by_itself() {
    let Some(world) = World::new(&[]).await else { return };
    let options = ValkeyOptions { term: Duration::from_millis(50), ..world.options() };
    let store = ValkeyStore::connect(options).await.unwrap();
    let a = agent("a", T0);
    admit(&store, &a).await;
    lease(&store, T0).await;
    let until = std::time::Instant::now() + Duration::from_secs(10);
    while store.take_over(a.id, &node("n2")).await.is_err() {
        assert!(std::time::Instant::now() < until, "the lease never ends");
    }
}

/// A grant whose answer never reached its node, or that a failover took from it, is found again later. No attempt began
/// under it, so BullMQ's `attemptsStarted` does not count it.
#[tokio::test]
async fn a_grant_that_was_lost_is_no_start_of_the_job() {
    let Some(world) = World::new(&[]).await else { return };
    let store = world.store().await;
    let a = agent("a", T0);
    admit(&*store, &a).await;
    let starts = async || world.ask::<String>(&format!("HGET ~{} ats", a.id)).await;
    lease(&*store, T0).await;
    let (held, record) = store.take_over(a.id, &node("n1")).await.unwrap();
    assert_eq!(starts().await, "1", "the same node found its own grant again");
    store.advance(&held, change(record.agent, "back", at(1))).await.unwrap();
    assert_eq!(starts().await, "0", "nothing was begun under it");
    let (held, record) = lease(&*store, at(2)).await;
    store.advance(&held, change(working(record.agent, at(3)), "x", at(3))).await.unwrap();
    let (held, record) = store.take_over(a.id, &node("n1")).await.unwrap();
    assert_eq!(starts().await, "1", "a server that takes over what runs begins nothing");
    store.advance(&held, change(in_backoff(record.agent, at(9)), "x", at(4))).await.unwrap();
    lease(&*store, at(9)).await;
    assert_eq!(starts().await, "2", "a second attempt is a second start");
}

#[tokio::test]
async fn a_job_put_back_by_others_runs_once() {
    let Some(world) = World::new(&[]).await else { return };
    let store = world.store().await;
    let a = agent("a", T0);
    admit(&*store, &a).await;
    let (held, _) = lease(&*store, T0).await;
    // What another client's stall check does with a job whose lock is gone.
    world.ask::<()>(&format!("DEL ~{}:lock", a.id)).await;
    world.ask::<()>(&format!("LREM ~active 1 {}", a.id)).await;
    world.ask::<()>(&format!("RPUSH ~wait {}", a.id)).await;
    assert!(store.lease(&node("n2"), T0).await.unwrap().is_none(), "it is held");
    store.take_over(a.id, &node("n2")).await.unwrap();
    let (wait, active): (Vec<String>, Vec<String>) =
        (world.ask("LRANGE ~wait 0 -1").await, world.ask("LRANGE ~active 0 -1").await);
    assert_eq!((wait.len(), active), (0, vec![a.id.to_string()]));
    assert!(matches!(store.advance(&held, change(a.clone(), "x", T0)).await, Err(StoreError::Fenced(_))));
}

#[tokio::test]
async fn foreign_jobs_and_ordered_kills_hold_up_nobody() {
    let Some(world) = World::new(&[]).await else { return };
    let store = world.store().await;
    for n in 0..250 {
        world.ask::<()>(&format!("HSET ~f{n} name spawn data {{}} opts {{}} timestamp 1 priority 5")).await;
        world.ask::<()>(&format!("ZADD ~prioritized {} f{n}", 5 * (1u64 << 32))).await;
        world.ask::<()>(&format!("HSET ~w{n} name spawn data {{}} opts {{}} timestamp 1 priority 0")).await;
        world.ask::<()>(&format!("LPUSH ~wait w{n}")).await;
    }
    let [a, b] = [agent("a", T0), agent("b", at(1))];
    admit(&*store, &a).await;
    admit(&*store, &b).await;
    let kill = KillOrder { agent: a.id, by: "alice".to_owned(), reason: None, at: at(2) };
    store.set_orders(OrderChange::Kill(kill), Vec::new()).await.unwrap();
    let (_, record) = lease(&*store, at(3)).await;
    assert_eq!(record.agent.id, b.id);
    assert!(store.lease(&node("n1"), at(3)).await.unwrap().is_none(), "a waits for its end");
    store.set_orders(OrderChange::Killed(a.id), Vec::new()).await.unwrap();
    assert_eq!(lease(&*store, at(3)).await.1.agent.id, a.id);
}

#[tokio::test]
async fn a_job_of_another_producer_is_tied_and_keeps_its_place() {
    let Some(world) = World::new(&[]).await else { return };
    let store = world.store().await;
    let one = 1u64 << 32;
    world.ask::<()>(&format!("HSET ~j1 name spawn data {{}} opts {{}} timestamp {} priority 3", T0.0)).await;
    world.ask::<()>(&format!("ZADD ~prioritized {} j1", 3 * one + 1)).await;
    world.ask::<()>("SET ~pc 1").await;
    world
        .ask::<()>(&format!("HSET ~odd\"id\\ name spawn data {{}} opts {{}} timestamp {} priority 0", T0.0))
        .await;
    world.ask::<()>("LPUSH ~wait odd\"id\\").await;
    let with = |task: &str, priority: u64| agent_from(json!({"taskId": task, "priority": priority}), at(9));
    admit(&*store, &with("later", 3)).await;
    let mut tied = Vec::new();
    for (job, priority) in [("j1", 3), ("odd\"id\\", 1)] {
        let agent = with(job.split('"').next().unwrap(), priority);
        let mut admission = admission(&agent);
        admission.job = Some(job.to_owned());
        store.admit(admission.clone()).await.unwrap();
        admission.agent = with("again", 3);
        let again = store.admit(admission).await;
        assert!(matches!(again, Err(StoreError::Conflict(_))), "an agent works on it already: {again:?}");
        tied.push(agent.id);
    }
    let (first, _) = lease(&*store, at(10)).await;
    assert_eq!(first.agent, tied[1], "no priority goes first");
    let (second, record) = lease(&*store, at(10)).await;
    assert_eq!(second.agent, tied[0], "it came before");
    assert_eq!(world.ask::<String>("GET ~j1:lock").await, "n1:1");
    store
        .advance(&second, change(in_backoff(working(record.agent, at(11)), at(20)), "x", at(11)))
        .await
        .unwrap();
    assert_eq!(world.ask::<u64>("ZSCORE ~delayed j1").await / 4096, at(20).0);
    let (back, _) = lease(&*store, at(20)).await;
    assert_eq!(back.agent, tied[0], "it has its place again");
    assert_eq!(world.ask::<String>("HGET ~j1 ats").await, "2");
    assert_eq!(world.ask::<String>("HGET ~j1 atm").await, "1");
}
