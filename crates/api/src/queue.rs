//! The queue and tasks.

use serde::{Deserialize, Serialize};

use crate::agents::{AgentView, Links};
use crate::fleet::NodeSlots;
use crate::words::{AgentType, EndReason, Phase, Status};

/// Counts of queue entries and agents.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Counts {
    /// Queued and ready.
    pub waiting: u64,
    /// Queued, but not before a later time.
    pub delayed: u64,
    /// Leased by a node.
    pub active: u64,
    /// Ended as completed.
    pub completed: u64,
    /// Ended as failed.
    pub failed: u64,
    /// Ended as killed.
    pub killed: u64,
    /// Failed although every attempt was used.
    pub dead: u64,
}

/// A pause of dispatch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Pause {
    /// Origin of the order.
    pub by: String,
    /// Reason, when one was given.
    pub reason: Option<String>,
    /// Time of the order.
    pub since: String,
}

/// Answer to pausing and resuming dispatch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Dispatch {
    /// Dispatch is paused.
    pub paused: bool,
    /// The pause that stands.
    pub pause: Option<Pause>,
}

/// One entry of the queue.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct QueueEntry {
    /// The agent.
    pub agent_id: String,
    /// Its task.
    pub task_id: String,
    /// Its purpose.
    pub agent_type: AgentType,
    /// Its name.
    pub name: String,
    /// Priority, 1 (first) to 10.
    pub priority: u8,
    /// Its status.
    pub status: Status,
    /// Its phase.
    pub phase: Phase,
    /// The running or last attempt, from 1; 0 before the first.
    pub attempt: u32,
    /// Time of its admission.
    pub spawned_at: String,
    /// Earliest time of its next start.
    pub not_before: Option<String>,
    /// Time of its end.
    pub completed_at: Option<String>,
    /// Reason for its end.
    pub end_reason: Option<EndReason>,
    /// Error of its end or of the attempt that failed.
    pub error: Option<String>,
    /// Addresses of its parts.
    pub links: Links,
    /// Number of entries that start before it; waiting entries only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position: Option<u64>,
    /// Reason why it still waits; waiting entries only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Answer of `GET /v1/queue`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Queue {
    /// Dispatch is paused.
    pub paused: bool,
    /// The pause that stands.
    pub pause: Option<Pause>,
    /// The node takes nothing new and ends once nothing runs.
    pub draining: bool,
    /// Reason why the machine starts nothing.
    pub held: Option<String>,
    /// Counts of all entries.
    pub counts: Counts,
    /// Agents at once on the node that was asked.
    pub slots: NodeSlots,
    /// Entries in the order in which they will start.
    pub waiting: Vec<QueueEntry>,
    /// The newest entries that failed although every attempt was used.
    pub dead: Vec<QueueEntry>,
}

/// Answer of `GET /v1/tasks/{taskId}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct TaskAgents {
    /// The task.
    pub task_id: String,
    /// One of its agents has not ended.
    pub active: bool,
    /// Number of its agents.
    pub total: usize,
    /// Its newest agents, newest first.
    pub agents: Vec<AgentView>,
}

/// Answer of `DELETE /v1/tasks/{taskId}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct TaskRemoved {
    /// The task.
    pub task_id: String,
    /// Waiting agents that were ended.
    pub removed: Vec<String>,
    /// Agents that run on.
    pub running: Vec<String>,
}
