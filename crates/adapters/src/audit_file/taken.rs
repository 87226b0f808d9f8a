//! The mark of a record that was taken over from the command line's own chain.

use mosaic_core::domain::audit::AuditEntry;

/// Returns the mark of a record with this number.
pub(super) fn mark(n: u64) -> String {
    format!("local-{n}")
}

/// Returns the number that a record's mark has, when it has one.
pub(super) fn number(entry: &AuditEntry) -> Option<u64> {
    entry.request.as_deref()?.strip_prefix("local-")?.parse().ok()
}
