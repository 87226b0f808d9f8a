//! Values as they stand in columns.

use mosaic_core::domain::ids::AgentId;

/// Not in the queue, ready, delayed: the values of the column `queue`.
pub(super) const NOT_QUEUED: i64 = 0;
pub(super) const READY: i64 = 1;
pub(super) const DELAYED: i64 = 2;

/// Turns a number into a column; what no column can hold becomes the largest that one can.
pub(super) fn int(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

/// Turns a column into a number; negative ones never were written.
pub(super) fn uint(n: i64) -> u64 {
    u64::try_from(n).unwrap_or(0)
}

/// Returns an id as it stands in a column.
pub(super) fn key(id: AgentId) -> [u8; 16] {
    id.0.into_bytes()
}
