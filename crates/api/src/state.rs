//! The node in one snapshot.

use serde::{Deserialize, Serialize};

use crate::fleet::{Breaker, Cordon, NodeRuntime, NodeSlots};
use crate::queue::{Counts, Pause};

/// Clock of a machine against the store's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Clock {
    /// Milliseconds by which it is ahead.
    pub offset_ms: i64,
    /// Error of the measurement, in milliseconds.
    pub error_ms: u64,
    /// The offset is within the bound.
    pub ok: bool,
}

/// Room of the machine for another agent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Admission {
    /// Another agent may start.
    pub open: bool,
    /// Reason why none may.
    pub reason: Option<String>,
    /// Available memory, in bytes.
    pub memory_bytes: Option<u64>,
    /// Least available memory for a start, in bytes.
    pub memory_floor_bytes: u64,
    /// Load average of the last minute per core.
    pub load_per_core: Option<f64>,
    /// Highest load for a start beside what runs.
    pub load_ceiling: f64,
    /// Least free disk space for a start, in bytes.
    pub disk_floor_bytes: u64,
}

/// A limit of a model service that was reached.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Quota {
    /// Runtime of the credential.
    pub runtime: String,
    /// End of the limit.
    pub until: String,
    /// The service's message.
    pub why: String,
}

/// Number of nodes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct NodeCount {
    /// All that are known.
    pub total: usize,
    /// Those with a fresh heartbeat.
    pub alive: usize,
}

/// Answer of `GET /v1/state`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct NodeState {
    /// Name of the node.
    pub node: String,
    /// Version of the program.
    pub version: String,
    /// Time of the start.
    pub started_at: String,
    /// Counts of all entries.
    pub counts: Counts,
    /// Agents at once on this node.
    pub slots: NodeSlots,
    /// `running`, `paused`, `held` or `stopped`.
    pub dispatch: String,
    /// The pause that stands.
    pub pause: Option<Pause>,
    /// Room of the machine.
    pub admission: Admission,
    /// Breakers that are not closed.
    pub breakers: Vec<Breaker>,
    /// Limits of model services that hold agents back.
    pub quotas: Vec<Quota>,
    /// Number of live agents that need a person.
    pub attention: usize,
    /// Number of these that are stalled.
    pub stalled: usize,
    /// Number of live agents with warnings.
    pub with_warnings: usize,
    /// Number of ended agents that hold something that could not be cleaned up.
    pub cleanup_pending: usize,
    /// Number of nodes.
    pub nodes: NodeCount,
    /// A cordon stands.
    pub cordoned: bool,
    /// The cordon that stands.
    pub cordon: Option<Cordon>,
    /// Runtimes that cannot be used.
    pub missing_runtimes: Vec<NodeRuntime>,
    /// Seconds since the start.
    pub uptime_seconds: u64,
    /// Clock of this machine; null where none is shared.
    pub clock: Option<Clock>,
}

/// Answer of `POST /v1/drain`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct DrainStarted {
    /// Always true.
    pub draining: bool,
    /// Number of agents that run.
    pub running: usize,
}
