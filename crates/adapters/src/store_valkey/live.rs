//! The state of the connection: the one that stands, or why there is none.

use std::sync::Arc;
use std::time::Duration;

use mosaic_core::limits;
use redis::aio::MultiplexedConnection;
use tokio::time::Instant;

use super::address::Address;
use super::replicas::Replicas;

/// A connection that stands, until it does not.
#[derive(Clone)]
pub(super) struct Live {
    pub(super) connection: MultiplexedConnection,
    /// Counts the connections.
    pub(super) generation: u64,
    /// Since when it stands.
    pub(super) since: Instant,
    pub(super) address: Address,
    /// Its scripts may say in their first line what they do.
    pub(super) flags: bool,
    pub(super) replicas: Arc<Replicas>,
}

/// The state of the connection.
#[derive(Clone)]
pub(super) enum Standing {
    Up(Live),
    Down {
        /// For people: which server, and why.
        why: Arc<str>,
        since: Instant,
    },
}

/// Returns the longest backoff after so many failures: doubled each time.
pub(super) fn backoff(failures: u32) -> Duration {
    limits::LINK_BACKOFF.saturating_mul(1 << failures.min(16)).min(limits::LINK_BACKOFF_CAP)
}
