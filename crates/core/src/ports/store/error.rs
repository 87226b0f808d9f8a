//! Errors of the store, each with what its callers branch on.

use thiserror::Error;

use crate::domain::ids::{AgentId, NodeId, Timestamp};

/// Why the store did not do what was asked.
#[derive(Debug, Error)]
pub enum StoreError {
    /// No such record.
    #[error("no agent {0}")]
    NotFound(AgentId),
    /// An agent of the same task and type has not ended yet.
    #[error("task is being worked on by agent {agent}")]
    TaskActive {
        /// The active agent.
        agent: AgentId,
    },
    /// The idempotency key was used with another request.
    #[error("idempotency key was used for another request")]
    IdempotencyMismatch,
    /// The queue holds [`crate::limits::QUEUE_ENTRIES`] entries.
    #[error("queue is full ({0} entries)")]
    QueueFull(u64),
    /// A newer lease on the agent exists, or none: whoever holds this one must stop.
    #[error("lease on agent {0} was lost")]
    Fenced(AgentId),
    /// The record changed since the version that was read.
    #[error("agent {0} changed meanwhile")]
    Conflict(AgentId),
    /// The record cannot be read; it was set aside and everything else goes on.
    #[error("record of agent {0} is damaged and was quarantined")]
    Quarantined(AgentId),
    /// The record was removed; only a note of it is left.
    #[error("agent {agent} was removed at {at}")]
    Pruned {
        /// The agent.
        agent: AgentId,
        /// When it was removed.
        at: Timestamp,
        /// The node that removed it, where there are several: only what lies there was looked at before. Nothing when its work
        /// was given up on all of them.
        node: Option<NodeId>,
    },
    /// The store does not answer, or its disk is full. May pass.
    #[error("store unavailable: {0}")]
    Unavailable(String),
    /// The store takes the write, but too few replicas have it to survive a failover. Whether it stands is not known. May
    /// pass.
    #[error("store is not safe: {0}")]
    NotSafe(String),
    /// The record lies in the archive of another node, which cannot be reached. May pass.
    #[error("the record of agent {agent} lies in the archive of node {node}, which cannot be reached: {why}")]
    ArchiveAway {
        /// The agent.
        agent: AgentId,
        /// The node.
        node: NodeId,
        /// Why not.
        why: String,
    },
    /// Another server holds the store's files.
    #[error("{0}")]
    InUse(String),
    /// The store's files cannot be used: they come from a newer version, or the place does not allow it.
    #[error("{0}")]
    Unusable(String),
    /// The store's files are damaged.
    #[error("{0}")]
    Damaged(String),
}

/// Reasons why the archive of a node says nothing.
#[derive(Debug, Error)]
pub enum ArchiveError {
    /// This node's own archive, or the shared store, failed.
    #[error(transparent)]
    Own(#[from] StoreError),
    /// The node was not reached, or gave no answer that can be used.
    #[error(transparent)]
    Peer(Box<dyn std::error::Error + Send + Sync>),
}

impl ArchiveError {
    /// Takes the error of the way to a node, or a message.
    pub fn peer(reason: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Peer(reason.into())
    }
}
