//! What happened, as it is written into the event log: one [`Entry`] per fact, numbered without gaps by the store.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::ids::{AgentId, TaskId, Timestamp};

/// A fact that is about to be logged.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Fact {
    /// The kind, such as `agent.running`; a closed list in `docs/events.md`.
    pub kind: String,
    /// The agent it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent: Option<AgentId>,
    /// The task it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub task: Option<TaskId>,
    /// When it happened.
    pub at: Timestamp,
    /// What else belongs to it; free of secrets.
    pub data: Value,
}

/// A logged fact with its number.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Its place in the log, from 1, without gaps.
    pub seq: u64,
    /// The fact.
    #[serde(flatten)]
    pub fact: Fact,
}
