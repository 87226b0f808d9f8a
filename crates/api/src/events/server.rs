//! Details of events about the server, its queue, its orders and its nodes.

use serde::{Deserialize, Serialize};

use crate::words::BreakerPart;

/// Details of a breaker that opened or closed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct BreakerTurned {
    /// Part of the node's work that it is about.
    pub part: BreakerPart,
    /// The repository, for a part that has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repository: Option<String>,
    /// The runtime, for a part that has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runtime: Option<String>,
    /// The node.
    pub node: String,
    /// Seconds for which nothing of it is tried.
    pub pause_seconds: Option<u64>,
    /// The failure.
    pub error: Option<String>,
}

/// Details of a pause of dispatch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct QueuePaused {
    /// The caller.
    pub by: String,
    /// The caller's reason.
    pub reason: Option<String>,
}

/// Details of the end of a pause.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct QueueResumed {
    /// The caller.
    pub by: String,
}

/// Details of a job whose new data were refused.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct DataRefused {
    /// The job.
    pub job_id: String,
    /// Reason for the refusal.
    pub reason: String,
}

/// Details of a job of another producer that cannot be run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct JobRefused {
    /// The job.
    pub job_id: String,
    /// Reason for the refusal.
    pub reason: String,
}

/// Details of the engaged kill switch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct KillSwitchEngaged {
    /// The caller.
    pub by: String,
    /// The caller's reason.
    pub reason: Option<String>,
}

/// Details of the released kill switch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct KillSwitchReleased {
    /// The caller.
    pub by: String,
}

/// Details of a node that became one of the fleet.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct NodeJoined {
    /// The node.
    pub node: String,
    /// Its slots.
    pub slots: u64,
}

/// Details of a node that misses its heartbeats.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct NodeLost {
    /// The node.
    pub node: String,
    /// Time of its last heartbeat.
    pub seen_at: String,
}

/// Details of a node that takes nothing new.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct NodeCordoned {
    /// The node.
    pub node: String,
    /// The caller; `mosaic` when the node did so itself.
    pub by: String,
    /// The reason.
    pub reason: Option<String>,
    /// Its server ends once nothing runs there.
    pub drain: bool,
}

/// Details of a node that takes work again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct NodeUncordoned {
    /// The node.
    pub node: String,
}

/// Details of a node that was taken off the list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct NodeDelisted {
    /// The node.
    pub node: String,
    /// The caller.
    pub by: String,
    /// The reason.
    pub reason: Option<String>,
    /// It was declared lost for good.
    pub lost: bool,
}

/// Details of a server that ended because its node was drained.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct NodeDrained {
    /// The node.
    pub node: String,
}

/// Details of a finished kill-all.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct KillAllDone {
    /// Agents that it was about.
    pub total: u64,
    /// Of these, ended by it.
    pub killed: u64,
    /// Of these, not confirmed in time.
    pub failed: u64,
    /// The caller and the reason.
    pub note: String,
}
