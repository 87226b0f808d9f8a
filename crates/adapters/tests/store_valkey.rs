//! The shared store passes the conformance suite of the store port, on a real server that the test starts.

#![cfg(feature = "valkey")]
#![expect(clippy::unwrap_used, reason = "test code: a panic is how it fails")]

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use async_trait::async_trait;
use mosaic_adapters::store_valkey::{LinkOptions, TimeSource, ValkeyOptions, ValkeyStore};
use mosaic_core::domain::ids::AgentId;
use mosaic_core::limits;
use mosaic_core::ports::store::Store;
use mosaic_testkit::store_suite::Bench;
use mosaic_testkit::valkey_server::ValkeyServer;

/// One server for all tests of this program; each has a prefix of its own.
static SERVER: OnceLock<Option<Mutex<ValkeyServer>>> = OnceLock::new();

fn server() -> Option<&'static Mutex<ValkeyServer>> {
    SERVER.get_or_init(|| ValkeyServer::start().map(Mutex::new)).as_ref()
}

/// A part of the server that no other test uses.
struct Prefixed(String);

impl Prefixed {
    fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self(format!("{{t{}}}", NEXT.fetch_add(1, Ordering::Relaxed)))
    }

    async fn open(&self, queue_entries: u64) -> Arc<dyn Store> {
        let port = server().unwrap().lock().unwrap().port();
        let link = LinkOptions {
            host: "127.0.0.1".to_owned(),
            port,
            prefix: self.0.clone(),
            ..LinkOptions::default()
        };
        let options =
            ValkeyOptions { link, queue_entries, time: TimeSource::Caller, ..ValkeyOptions::default() };
        Arc::new(ValkeyStore::connect(options).await.unwrap())
    }
}

#[async_trait]
impl Bench for Prefixed {
    async fn make(&self, queue_entries: u64) -> Arc<dyn Store> {
        self.open(queue_entries).await
    }

    async fn reopen(&self, store: Arc<dyn Store>) -> Option<Arc<dyn Store>> {
        drop(store);
        Some(self.open(limits::QUEUE_ENTRIES).await)
    }

    async fn lapse(&self, agent: AgentId) {
        let lock = format!("DEL {}:bull:orchestrator-tasks:{agent}:lock", self.0);
        assert_eq!(server().unwrap().lock().unwrap().ask(&lock).unwrap(), ":1");
    }
}

mosaic_testkit::store_suite!(Prefixed::new(), if server().is_some());
