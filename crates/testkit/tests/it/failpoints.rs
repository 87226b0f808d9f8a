//! Failpoints that are not planned change nothing: a store within them passes the conformance suite of its port.

use std::sync::Arc;

use async_trait::async_trait;
use mosaic_core::ports::store::Store;
use mosaic_testkit::failpoints::{self, Plan};
use mosaic_testkit::fakes::store::FakeStore;
use mosaic_testkit::store_suite::Bench;

struct Wrapped;

#[async_trait]
impl Bench for Wrapped {
    async fn make(&self, queue_entries: u64) -> Arc<dyn Store> {
        failpoints::store(&Arc::new(Plan::default()), Arc::new(FakeStore::limited(queue_entries)))
    }

    async fn reopen(&self, _: Arc<dyn Store>) -> Option<Arc<dyn Store>> {
        None
    }
}

mosaic_testkit::store_suite!(Wrapped);
