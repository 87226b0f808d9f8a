//! Nodes of the fleet.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::state::Clock;

/// Agents at once on a node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct NodeSlots {
    /// Most agents at once.
    pub total: usize,
    /// Agents that run.
    pub used: usize,
}

/// An order that a node takes nothing new.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Cordon {
    /// Origin of the order; `mosaic` when the node gave it itself.
    pub by: String,
    /// Reason, when one was given.
    pub reason: Option<String>,
    /// Time of the order.
    pub at: String,
    /// The node's server ends once nothing runs there.
    pub drain: bool,
}

/// A breaker that is not closed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Breaker {
    /// `fetch`, `push`, `run` or `machine`.
    pub part: String,
    /// Repository of `fetch` and `push`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repository: Option<String>,
    /// Runtime of `run`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runtime: Option<String>,
    /// `open` or `trial`.
    pub state: String,
    /// Milliseconds until the next trial.
    pub retry_in_ms: Option<u64>,
    /// Agent that is on trial.
    pub trial_agent_id: Option<String>,
    /// The last failure.
    pub why: String,
}

/// A runtime as a node has it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct NodeRuntime {
    /// Its name.
    pub name: String,
    /// Version of its program.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Reason why it cannot be used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// One node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Node {
    /// Its name.
    pub node: String,
    /// It is the node that was asked.
    pub here: bool,
    /// Its heartbeat is fresh.
    pub alive: bool,
    /// Time of its last heartbeat.
    pub seen_at: String,
    /// Time at which its leases end.
    pub leases_end_at: Option<String>,
    /// The cordon that stands.
    pub cordon: Option<Cordon>,
    /// It takes nothing new and ends once nothing runs.
    pub draining: bool,
    /// Its slots.
    pub slots: NodeSlots,
    /// Version of its program.
    pub version: String,
    /// Address under which other nodes reach it.
    pub url: Option<String>,
    /// Its clock against the store's; null where no clock is shared.
    pub clock: Option<Clock>,
    /// Labels for placement.
    pub labels: BTreeMap<String, String>,
    /// Time of its start.
    pub started_at: String,
    /// `taking`, `cordoned`, `draining` or `away`.
    pub health: String,
    /// Reason why its machine starts nothing.
    pub held: Option<String>,
    /// Its breakers that are not closed.
    pub breakers: Vec<Breaker>,
    /// Its runtimes.
    pub runtimes: Vec<NodeRuntime>,
    /// Its sandbox.
    pub sandbox: Option<String>,
}

/// A node that was declared lost for good.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct LostNode {
    /// Its name.
    pub node: String,
    /// Origin of the declaration.
    pub by: String,
    /// Reason, when one was given.
    pub reason: Option<String>,
    /// Time of the declaration.
    pub at: String,
}

/// Answer of `GET /v1/nodes`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct NodeList {
    /// Nodes of the fleet.
    pub nodes: Vec<Node>,
    /// Nodes that were declared lost for good.
    pub lost: Vec<LostNode>,
    /// Milliseconds that a lease lasts; null where there is one node only.
    pub lease_ms: Option<u64>,
}

/// Answer of `DELETE /v1/nodes/{node}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct NodeRemoved {
    /// Its name.
    pub node: String,
    /// It was declared lost for good.
    pub lost: bool,
}
