//! The in-memory store passes the conformance suite of the store port.

use std::sync::Arc;

use async_trait::async_trait;
use mosaic_core::ports::store::Store;
use mosaic_testkit::fake_store::FakeStore;
use mosaic_testkit::store_suite::Bench;

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
