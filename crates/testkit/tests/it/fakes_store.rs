//! The in-memory store passes the conformance suite of the store port, and panics on what no caller may do.

use std::sync::Arc;

use async_trait::async_trait;
use mosaic_core::ports::store::Store;
use mosaic_testkit::fakes::store::FakeStore;
use mosaic_testkit::store_suite::Bench;
use mosaic_testkit::store_suite::sample::*;

struct InMemory;

#[async_trait]
impl Bench for InMemory {
    async fn make(&self, queue_entries: u64) -> Arc<dyn Store> {
        Arc::new(FakeStore::limited(queue_entries))
    }

    async fn reopen(&self, _: Arc<dyn Store>) -> Option<Arc<dyn Store>> {
        None
    }
}

mosaic_testkit::store_suite!(InMemory);

#[tokio::test]
#[should_panic(expected = "must be queued")]
async fn admitting_an_agent_that_is_not_queued_panics() {
    let _ = FakeStore::new().admit(admission(&working(agent("t", T0), T0))).await;
}

#[tokio::test]
#[should_panic(expected = "held by nobody")]
async fn making_an_agent_run_without_a_lease_panics() {
    let store = FakeStore::new();
    let one = agent("t", T0);
    admit(&store, &one).await;
    let _ = store.amend(vec![(1, change(working(one, T0), "x", T0))]).await;
}

#[tokio::test]
#[should_panic(expected = "its names never change")]
async fn renaming_an_agent_panics() {
    let store = FakeStore::new();
    let mut one = agent("t", T0);
    admit(&store, &one).await;
    let (held, _) = lease(&store, T0).await;
    one.name = "other".to_owned();
    let _ = store.advance(&held, change(working(one, T0), "x", T0)).await;
}
