//! The audit log: a chain of records that only grows. What stands in one is in [`crate::domain::audit`].

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::domain::audit::{AuditEntry, Broken, Head, Record};
use crate::domain::ids::Timestamp;

/// Why an entry could not be recorded, or the log not be read.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum AuditError {
    /// The disk refused, or did not answer in time. Nothing was recorded.
    #[error("the audit log cannot be used: {0}")]
    Unavailable(String),
    /// Another program writes this log.
    #[error("the audit log is being written by another program: {0}")]
    InUse(String),
}

/// Which records a reader wants.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Only records after this number.
    pub after: u64,
    /// At most this many.
    pub limit: usize,
    /// Only of this actor, or of those below it: `agent` has `agent/7d0c…`.
    pub actor: Option<String>,
    /// Only this action.
    pub action: Option<String>,
    /// Only at or after this time.
    pub since: Option<Timestamp>,
}

impl Wanted {
    /// Tells whether a record is wanted, its place left aside.
    pub fn fits(&self, entry: &AuditEntry) -> bool {
        let below = |actor: &str| {
            entry.actor == actor || entry.actor.strip_prefix(actor).is_some_and(|rest| rest.starts_with('/'))
        };
        self.actor.as_deref().is_none_or(below)
            && self.action.as_deref().is_none_or(|action| entry.action == action)
            && self.since.is_none_or(|since| entry.at >= since)
    }
}

/// Records in their order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// The records.
    pub records: Vec<Record>,
    /// Where to go on; none when everything there was has been looked at.
    pub next: Option<u64>,
}

/// Result of a check of the whole log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Verified {
    /// The chain's name: the node's.
    pub chain: String,
    /// The newest record.
    pub head: Head,
    /// The number of the oldest record that is kept; the one before it is the anchor.
    pub first: u64,
    /// The first place at which the chain does not hold.
    pub broken: Option<Broken>,
    /// Remarks that concern no fault of the chain and should be known: healed ends, lost records, oldest first.
    pub remarks: Vec<String>,
}

/// Records audit entries. Records are numbered from 1 without gaps, and each carries the hash of the one before it. They are
/// appended in the order in which the calls took their place in the queue, whichever of the two calls it was.
#[async_trait]
pub trait Audit: Send + Sync {
    /// Appends a record. When this returns it is durable, and no later crash loses it. Errors when it
    /// cannot be written within [`crate::limits::AUDIT_ANSWER`]; there is no record then, unless the time ended while it
    /// was being written: the log may have an entry for an action that was refused, never the other way round.
    async fn append(&self, entry: AuditEntry) -> Result<Head, AuditError>;

    /// Puts an audit entry into the queue and returns at once, whatever the disk does. What cannot be recorded is logged as
    /// an error and counted in the next record that can be written.
    fn note(&self, entry: AuditEntry);

    /// Reads records in their order; at most [`crate::limits::AUDIT_SCAN`] are looked at for one page.
    async fn read(&self, wanted: Wanted) -> Result<Page, AuditError>;

    /// Checks the whole log, also against what this port itself has written since it was opened.
    async fn verify(&self) -> Result<Verified, AuditError>;

    /// Returns the newest record's number and hash.
    fn head(&self) -> Head;
}
