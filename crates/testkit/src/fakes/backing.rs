//! A store with the queue of external clients that belongs to it, as a fake world takes them.

use std::sync::Arc;

use mosaic_core::ports::external_queue::{ExternalQueue, NoExternalQueue};
use mosaic_core::ports::store::Store;

/// A store and its queue.
pub struct Backing {
    /// The store.
    pub store: Arc<dyn Store>,
    /// Its queue as external clients share it.
    pub external_queue: Arc<dyn ExternalQueue>,
}

impl<S: Store + ExternalQueue + 'static> From<Arc<S>> for Backing {
    fn from(store: Arc<S>) -> Self {
        Self { external_queue: Arc::clone(&store) as Arc<dyn ExternalQueue>, store }
    }
}

impl From<Arc<dyn Store>> for Backing {
    fn from(store: Arc<dyn Store>) -> Self {
        Self { store, external_queue: Arc::new(NoExternalQueue) }
    }
}
