//! The audit log.

use std::time::Duration;

/// Longest text of one field of an audit record, in bytes.
pub const AUDIT_FIELD_BYTES: usize = 1024;
/// Longest line of the audit log, in bytes: every field full of characters that JSON writes with six.
pub const AUDIT_LINE_BYTES: usize = 64 * 1024;
/// Size of one file of the audit log, in bytes; then the next one begins. About ten thousand records.
pub const AUDIT_FILE_BYTES: u64 = 4 * 1024 * 1024;
/// Audit entries that may wait for the writer of the audit log: a kill-all of every agent a node can hold, twice.
pub const AUDIT_WAITING: usize = 2048;
/// Most records that are made durable together.
pub const AUDIT_BATCH: usize = 256;
/// Longest wait until a record is durable, before the action it announces is refused.
pub const AUDIT_ANSWER: Duration = Duration::from_secs(10);
/// Longest time for reading or checking the audit log, which may have hundreds of megabytes.
pub const AUDIT_CHECK: Duration = Duration::from_secs(60);
/// Most records that are looked at for one page.
pub const AUDIT_SCAN: usize = 100_000;
/// Most remarks of one check of the audit log.
pub const AUDIT_REMARKS: usize = 20;
/// Longest wait of the command line for another command line that is just recording an audit entry.
pub const AUDIT_LOCAL_WAIT: Duration = Duration::from_secs(2);
