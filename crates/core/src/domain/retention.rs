//! Retention of records, transcripts and archives: the ages and sizes after which they are removed.

use std::time::Duration;

use crate::limits;

/// Bounds of age and size of what is kept of ended agents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Transcripts and logs since they were last written.
    pub transcripts: Duration,
    /// Records of ended agents, and events.
    pub records: Duration,
    /// Time that the record of an ended agent of a fleet stays whole in the shared store before it moves to an archive.
    pub whole: Duration,
    /// Bytes of this node's archive; the oldest records go first.
    pub archive: u64,
    /// Bytes of all transcripts and logs; the oldest go first.
    pub bytes: u64,
    /// Free bytes below which nothing new is started.
    pub disk_floor: u64,
}

impl Default for Retention {
    fn default() -> Self {
        let days = |n: u64| Duration::from_secs(n * 24 * 3600);
        let (bytes, disk_floor) = (10 << 30, limits::DISK_FLOOR_BYTES);
        Self {
            transcripts: days(30),
            records: days(90),
            whole: limits::ARCHIVE_AFTER,
            archive: 20 << 30,
            bytes,
            disk_floor,
        }
    }
}
