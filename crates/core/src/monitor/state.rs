//! The state of this node in one cheap snapshot: what status bars, `doctor` and the dashboard read.

use serde::{Deserialize, Serialize};

use crate::dispatch_gate::Blocked;
use crate::domain::agent::AttentionKind;
use crate::domain::breaker::BreakerState;
use crate::domain::capacity::HostLoad;
use crate::domain::ids::NodeId;
use crate::domain::quota::Held;
use crate::orchestrator::Orchestrator;
use crate::ports::fleet::{Cordon, RuntimeHealth};
use crate::ports::store::{Counts, Pause, StoreError};

/// State of dispatch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dispatch {
    /// Agents are started.
    Running,
    /// A person paused the queue.
    Paused,
    /// The node is cordoned, or its machine has no capacity now.
    Held,
    /// The server is stopping, or the kill switch is engaged.
    Stopped,
}

/// Snapshot of one node: its capacity, its dispatch and what needs a person.
#[derive(Debug, Clone, PartialEq)]
pub struct NodeSnapshot {
    /// The node.
    pub node: NodeId,
    /// Entries and agents by status.
    pub counts: Counts,
    /// Agents at once on this node.
    pub slots: usize,
    /// Of these, in use.
    pub used: usize,
    /// State of dispatch.
    pub dispatch: Dispatch,
    /// The pause, when there is one.
    pub pause: Option<Pause>,
    /// Why this node starts nothing new, a pause aside.
    pub held: Option<String>,
    /// Newest load of this machine.
    pub host_load: HostLoad,
    /// Breakers that are not closed.
    pub breakers: Vec<BreakerState>,
    /// Limits of model services that hold up their credentials.
    pub quotas: Vec<Held>,
    /// Live agents that need a person.
    pub attention: usize,
    /// Of these, stalled ones.
    pub stalled: usize,
    /// Live agents with warnings.
    pub warnings: usize,
    /// Ended agents of which something could not be released yet.
    pub cleanup_pending: usize,
    /// Nodes of the fleet that are known, this one included, and how many of them are alive.
    pub nodes: (usize, usize),
    /// Why this node takes nothing new, when it is out of service.
    pub cordon: Option<Cordon>,
    /// Runtimes that cannot be used here.
    pub missing: Vec<RuntimeHealth>,
}

impl Orchestrator {
    /// Takes the snapshot: three short reads of the store, of which only the leased records count agents.
    pub async fn state(&self) -> Result<NodeSnapshot, StoreError> {
        let store = &self.ports.store;
        let (counts, pause, leased) =
            tokio::try_join!(store.counts(self.now()), store.pause(), store.leased())?;
        let blocked = self.blocked();
        let dispatch = match (&blocked, &pause) {
            (Some(Blocked::Draining | Blocked::KillSwitch(_)), _) => Dispatch::Stopped,
            (_, Some(_)) => Dispatch::Paused,
            (Some(_), None) => Dispatch::Held,
            (None, None) => Dispatch::Running,
        };
        let agents = || leased.iter().map(|record| &record.agent);
        let stalled = agents().filter(|a| a.attention.iter().any(|one| one.kind == AttentionKind::Stalled));
        Ok(NodeSnapshot {
            node: self.settings.node.clone(),
            slots: self.settings.slots,
            used: self.running(),
            counts,
            dispatch,
            held: blocked.map(|blocked| blocked.message()),
            host_load: self.monitor.host_load(),
            breakers: self.monitor.breakers.shown(self.elapsed()),
            quotas: self.monitor.quotas(),
            attention: agents().filter(|agent| !agent.attention.is_empty()).count(),
            stalled: stalled.count(),
            warnings: agents().filter(|agent| !agent.warnings.is_empty()).count(),
            cleanup_pending: self.monitor.cleanup_pending(),
            nodes: self.fleet.node_counts(),
            cordon: self.cordoned(),
            missing: self.fleet.missing_runtimes(),
            pause,
        })
    }
}
