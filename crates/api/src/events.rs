//! The event stream.

use serde::{Deserialize, Serialize};

use crate::agents::AgentView;
use crate::queue::{Counts, Pause};

/// Data of the event `reset`: the client starts over.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct EventReset {
    /// Reason, for people.
    pub reason: String,
}

/// Data of the event `snapshot`: the state as of the newest event.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct EventSnapshot {
    /// Counts of all entries.
    pub counts: Counts,
    /// Dispatch is paused.
    pub paused: bool,
    /// The pause that stands.
    pub pause: Option<Pause>,
    /// Agents that have not ended, newest first, at most 500.
    pub agents: Vec<AgentView>,
    /// There are more agents.
    pub truncated: bool,
}
