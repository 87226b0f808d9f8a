//! The embedded store passes the conformance suite of the store port.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use mosaic_adapters::store_sqlite::SqliteStore;
use mosaic_core::limits;
use mosaic_core::ports::store::Store;
use mosaic_testkit::store_suite::Bench;
use tempfile::TempDir;

/// Keeps the directory until its test has ended.
struct OnDisk(Mutex<Option<TempDir>>);

impl OnDisk {
    fn new() -> Self {
        Self(Mutex::new(None))
    }
}

#[async_trait]
impl Bench for OnDisk {
    async fn make(&self, queue_entries: u64) -> Arc<dyn Store> {
        let dir = tempfile::tempdir().unwrap();
        let store = SqliteStore::open_limited(dir.path(), queue_entries).unwrap();
        *self.0.lock().unwrap() = Some(dir);
        Arc::new(store)
    }

    async fn reopen(&self, store: Arc<dyn Store>) -> Option<Arc<dyn Store>> {
        drop(store);
        let dir = self.0.lock().unwrap().as_ref().unwrap().path().to_owned();
        Some(Arc::new(SqliteStore::open_limited(&dir, limits::QUEUE_ENTRIES).unwrap()))
    }
}

mosaic_testkit::store_suite!(OnDisk::new());
