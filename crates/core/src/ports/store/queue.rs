//! The queue: leases on its entries, the pause of dispatch.

use serde::{Deserialize, Serialize};

use crate::domain::ids::{AgentId, Epoch, NodeId, Timestamp};

/// The right to run one agent. Whoever holds it may write the agent's state until a newer epoch is granted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// The agent.
    pub agent: AgentId,
    /// The node it was granted to.
    pub node: NodeId,
    /// Its place in the order of all leases on this agent; newer is higher.
    pub epoch: Epoch,
}

/// Why and since when dispatch is paused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pause {
    /// Origin of the pause.
    pub by: String,
    /// Why, when said.
    pub reason: Option<String>,
    /// Since when.
    pub at: Timestamp,
}
