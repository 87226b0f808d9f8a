//! Details of facts about the server, its queue, its orders and its nodes.

use serde::Serialize;

use crate::domain::blame::Part;
use crate::domain::ids::{NodeId, Stamp};

/// Details of a breaker that opened or closed.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BreakerTurned {
    /// Part of the node's work that it is about.
    #[serde(flatten)]
    pub part: Part,
    /// The node.
    pub node: NodeId,
    /// Seconds for which nothing of it is tried.
    pub pause_seconds: Option<u64>,
    /// The failure.
    pub error: Option<String>,
}

/// Details of a pause of dispatch.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct QueuePaused {
    /// The caller.
    pub by: String,
    /// The caller's reason.
    pub reason: Option<String>,
}

/// Details of the end of a pause.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct QueueResumed {
    /// The caller.
    pub by: String,
}

/// Details of a job whose new data were refused.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DataRefused {
    /// The job.
    pub job_id: String,
    /// Reason for the refusal.
    pub reason: String,
}

/// Details of a job of another producer that cannot be run.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct JobRefused {
    /// The job.
    pub job_id: String,
    /// Reason for the refusal.
    pub reason: String,
}

/// Details of the engaged kill switch.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct KillSwitchEngaged {
    /// The caller.
    pub by: String,
    /// The caller's reason.
    pub reason: Option<String>,
}

/// Details of the released kill switch.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct KillSwitchReleased {
    /// The caller.
    pub by: String,
}

/// Details of a node that became one of the fleet.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct NodeJoined {
    /// The node.
    pub node: NodeId,
    /// Its slots.
    pub slots: usize,
}

/// Details of a node that misses its heartbeats.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeLost {
    /// The node.
    pub node: NodeId,
    /// Time of its last heartbeat.
    pub seen_at: Stamp,
}

/// Details of a node that takes nothing new.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct NodeCordoned {
    /// The node.
    pub node: NodeId,
    /// The caller; `mosaic` when the node did so itself.
    pub by: String,
    /// The reason.
    pub reason: Option<String>,
    /// Its server ends once nothing runs there.
    pub drain: bool,
}

/// Details of a node that takes work again.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct NodeUncordoned {
    /// The node.
    pub node: NodeId,
}

/// Details of a node that was taken off the list.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct NodeRemoved {
    /// The node.
    pub node: NodeId,
    /// The caller.
    pub by: String,
    /// The reason.
    pub reason: Option<String>,
    /// It was declared lost for good.
    pub lost: bool,
}

/// Details of a server that ended because its node was drained.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct NodeDrained {
    /// The node.
    pub node: NodeId,
}

/// Details of a finished kill-all.
#[derive(Debug, Clone, PartialEq, Serialize)]
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
