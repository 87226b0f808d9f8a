//! The archives of the other nodes. Each node of a fleet keeps the whole records of agents that ended on it on its own disk;
//! what the shared store says of them is a short form.

use std::collections::BTreeMap;

use async_trait::async_trait;

use super::store::{ArchiveError, Versioned};
use crate::domain::ids::{AgentId, NodeId, Timestamp};

/// Reads what other nodes keep.
#[async_trait]
pub trait ArchivePeers: Send + Sync {
    /// Reads these records from the archive of a node, as far as it has them. Errors when the node does
    /// not answer within [`crate::limits::ARCHIVE_ANSWER`].
    async fn read(&self, node: &NodeId, agents: &[AgentId]) -> Result<Vec<Versioned>, ArchiveError>;

    /// Counts, by node, the records of agents that ended before this time in the archives of all other nodes; an error
    /// in place of the number where a node does not answer within [`crate::limits::ARCHIVE_ANSWER`] or cannot tell.
    async fn ended_before(&self, before: Timestamp) -> BTreeMap<NodeId, Result<u64, ArchiveError>>;
}
