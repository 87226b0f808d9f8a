//! Conditions that stories wait for, and the store that they begin with.

use std::sync::Arc;

use mosaic_core::domain::agent::Phase;
use mosaic_core::ports::store::Versioned;
use mosaic_testkit::fakes::store::FakeStore;

pub(crate) fn store() -> Arc<FakeStore> {
    Arc::new(FakeStore::new())
}

pub(crate) fn ended(record: &Versioned) -> bool {
    record.agent.is_terminal()
}

pub(crate) fn working(record: &Versioned) -> bool {
    record.agent.phase() == Phase::Working
}
