//! Answers that never come: what was written once is not written twice, and nobody is told that it was not written.

use std::time::Duration;

use mosaic_core::domain::agent::Status;
use mosaic_core::domain::outcome::EndReason;
use mosaic_core::ports::store::{Store, StoreError};
use mosaic_testkit::store_suite::sample::*;
use tokio::time::timeout;

use super::World;

#[tokio::test]
async fn the_same_write_again_changes_nothing_more() {
    let Some(world) = World::new(&[]).await else { return };
    let store = world.store().await;
    let a = agent("a", T0);
    admit(&*store, &a).await;
    let (held, _) = lease(&*store, T0).await;
    let works = change(working(a.clone(), at(1)), "agent.running", at(1));
    assert_eq!(store.advance(&held, works.clone()).await.unwrap(), 2);
    assert_eq!(store.advance(&held, works.clone()).await.unwrap(), 2);
    let end =
        change(settled(works.agent, Status::Completed, EndReason::Done, at(2)), "agent.completed", at(2));
    assert_eq!(store.advance(&held, end.clone()).await.unwrap(), 3);
    assert_eq!(store.advance(&held, end.clone()).await.unwrap(), 3, "its lease ended with the write itself");
    let late = change(working(a.clone(), at(3)), "late", at(3));
    assert!(matches!(store.advance(&held, late).await, Err(StoreError::Fenced(_))));
    assert_eq!(store.entries(0, 10).await.unwrap().len(), 3);
    assert_eq!(world.ask::<String>(&format!("HGET ~{} atm", a.id)).await, "1");
}

#[tokio::test]
async fn a_server_that_was_killed_has_what_it_answered_and_the_store_comes_back() {
    // With `everysec` the server may hold an answered write back while a sync is under way, and the kill of this test
    // would now and then take it.
    let Some(mut world) = World::new(&["--appendfsync", "always"]).await else { return };
    let store = world.store().await;
    let mut newest = store.newest();
    for n in 0..20 {
        admit(&*store, &agent(&format!("t{n}"), at(n))).await;
    }
    let (held, record) = lease(&*store, at(30)).await;
    world.server.kill();
    let answer = store.get(held.agent).await;
    assert!(matches!(answer, Err(StoreError::Unavailable(_))), "{answer:?}");
    let works = change(working(record.agent, at(31)), "agent.running", at(31));
    let answer = store.advance(&held, works.clone()).await;
    assert!(matches!(answer, Err(StoreError::Unavailable(_))), "{answer:?}");
    world.server.restart();
    let back = async {
        while store.advance(&held, works.clone()).await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(Duration::from_secs(20), back).await.expect("the store comes back by itself");
    assert_eq!(store.counts(at(31)).await.unwrap().waiting, 19);
    // Another client's facts are told again, too.
    let other = world.store().await;
    newest.borrow_and_update();
    other.log(vec![fact("x", &agent("x", T0), at(32))]).await.unwrap();
    timeout(Duration::from_secs(20), newest.wait_for(|seen| *seen >= 22)).await.expect("news come").unwrap();
}

#[tokio::test]
async fn news_of_others_come_by_the_channel() {
    let Some(world) = World::new(&[]).await else { return };
    let (one, other) = (world.store().await, world.store().await);
    let mut newest = one.newest();
    admit(&*other, &agent("a", T0)).await;
    timeout(Duration::from_secs(10), newest.wait_for(|seen| *seen == 1)).await.expect("news come").unwrap();
    assert_eq!(one.entries(0, 10).await.unwrap().len(), 1);
}
