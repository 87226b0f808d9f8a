//! Removal of ended agents.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::agents::KeptWork;

/// A commit that is on no branch of the remote.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct UnmergedCommit {
    /// The commit.
    pub commit: String,
    /// First line of its message.
    pub subject: String,
}

/// Work of an agent that is kept nowhere else.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Unmerged {
    /// The agent.
    pub agent_id: String,
    /// Its name, which must be given to discard the work.
    pub name: String,
    /// Commits that are on no branch of the remote, newest first.
    pub commits: Vec<UnmergedCommit>,
    /// There are more.
    pub more: bool,
    /// Reason why work of its tree could not be received.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tree: Option<String>,
    /// Reason why a push of these commits does not count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote: Option<String>,
    /// Work of earlier attempts on other nodes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub elsewhere: Vec<KeptWork>,
}

/// Answer of `DELETE /v1/agents/{id}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Removed {
    /// The agent.
    pub agent_id: String,
    /// Its name.
    pub name: String,
    /// Bytes of transcripts and logs that were freed.
    pub freed_bytes: u64,
    /// Work that was discarded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub discarded: Option<Unmerged>,
}

/// Answer of `POST /v1/prune`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Pruned {
    /// Agents that were removed, or would be.
    pub removed: u64,
    /// Agents that stay because of their work.
    pub unmerged: Vec<Unmerged>,
    /// Number of agents that stay because they ran on another node, by node.
    pub elsewhere: BTreeMap<String, u64>,
    /// One line per agent that could not be removed.
    pub errors: Vec<String>,
    /// Bytes of transcripts and logs that were freed, or would be.
    pub freed_bytes: u64,
    /// Nothing was removed.
    pub dry_run: bool,
    /// Cursor of the next page; null at the end.
    pub next_cursor: Option<String>,
}
