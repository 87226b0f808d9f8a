//! The store on one machine, and every wait for a store.

use std::time::Duration;

/// Pause before a driver tries again after the store refused for a passing reason.
pub const STORE_RETRY: Duration = Duration::from_millis(200);
/// Longest wait for an answer of the embedded store's disk before it counts as unavailable.
pub const STORE_ANSWER: Duration = Duration::from_secs(30);
/// Writes that may wait for the embedded store's writer; more callers than this wait for a place.
pub const STORE_WAITING_WRITES: usize = 1024;
/// Most writes in one transaction of the embedded store, so that the first of them is not kept waiting.
pub const STORE_BATCH: usize = 256;
/// Read connections of the embedded store: reads are short, and each keeps a cache of its own.
pub const STORE_READERS: usize = 3;
/// Most records of one page of a list.
pub const STORE_PAGE: usize = 1000;
/// Longest wait of a statement of the embedded store for a lock that a foreign program, such as a backup, holds.
pub const STORE_BUSY: Duration = Duration::from_secs(5);
/// Up to this size the embedded store's file is checked as a whole at the start: about a tenth of a second.
pub const STORE_CHECKED_BYTES: u64 = 16 * 1024 * 1024;
