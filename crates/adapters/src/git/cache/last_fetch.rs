//! The last fetch of a branch, for callers that wait for the same.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use mosaic_core::domain::ids::CommitId;

/// When a fetch of a branch began and what it found.
#[derive(Debug, Clone)]
pub(crate) struct LastFetch {
    pub(crate) began: Instant,
    pub(crate) tip: CommitId,
}

/// Held by whoever fetches into a bare repository, with what was fetched last by the branch's name.
pub(crate) type RepositoryLock = Arc<tokio::sync::Mutex<HashMap<String, LastFetch>>>;
