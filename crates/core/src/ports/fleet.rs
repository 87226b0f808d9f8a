//! The fleet: the nodes that share one store, how they know of each other, and how long a node that sends no heartbeat
//! keeps what it holds. On one machine alone there is one node, and its leases never run out.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use tokio::sync::watch;

use super::store::{Lease, StoreError};
use crate::domain::breaker::BreakerState;
use crate::domain::ids::{AgentId, NodeId, Timestamp};
use crate::domain::journal::LogRecord;
use crate::domain::kept_work::WorkReport;

/// The format of what this build writes into a shared store. It goes up by one with whatever a build before cannot read or would
/// write over wrongly; what that build merely does not know stays within the format.
pub const FORMAT: u32 = 1;

/// The format of builds that do not say one.
fn first_format() -> u32 {
    1
}

/// Description that a node sends of itself with every heartbeat.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeInfo {
    /// Its name.
    pub node: NodeId,
    /// The identity of its data directory, which tells a restart from another machine of the same name.
    pub instance: String,
    /// The device and inode of that identity, which tells a directory from its copy; none from an earlier version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub directory: Option<String>,
    /// The boot of the machine, which tells a machine from one made of its image; none from an earlier version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot: Option<String>,
    /// Where other nodes reach its API; none when it cannot be reached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// The program's version.
    pub version: String,
    /// Agents at once.
    pub slots: usize,
    /// Agents that it runs now.
    pub running: usize,
    /// Labels that the operator gave the node.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Milliseconds by which its machine's wall clock is ahead of the store's, negative when it is behind; none while that is not
    /// known, and from an earlier version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock_offset_ms: Option<i64>,
    /// Milliseconds by which that may be wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock_error_ms: Option<u64>,
    /// It reads records that were moved to an archive; builds before archives do not, and take such a record for damaged.
    #[serde(default)]
    pub archives: bool,
    /// The newest format that it reads, and the one that it writes.
    #[serde(default = "first_format")]
    pub format: u32,
    /// When this server started.
    pub started_at: Timestamp,
    /// It takes nothing new, because it is about to stop.
    pub draining: bool,
    /// Abilities and condition of the node; empty from an earlier version.
    #[serde(default)]
    pub health: NodeHealth,
}

/// Abilities and condition of a node.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NodeHealth {
    /// The runtimes that it knows; none when it has not looked.
    pub runtimes: Vec<RuntimeHealth>,
    /// Its sandbox.
    pub sandbox: Option<String>,
    /// Breakers that are not closed there.
    pub breakers: Vec<BreakerState>,
    /// Why its machine starts nothing now.
    pub held: Option<String>,
    /// Agents that crashed there one after the other.
    pub crashes: u32,
    /// Agents whose program came to its end well since its server started.
    pub completed: u64,
}

impl NodeHealth {
    /// Tells whether a runtime is known not to be usable there.
    pub fn lacks(&self, runtime: &str) -> bool {
        !self.runtimes.is_empty()
            && self.runtimes.iter().all(|one| one.name != runtime || one.error.is_some())
    }
}

/// A runtime of a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RuntimeHealth {
    /// Its name.
    pub name: String,
    /// Its program's version, when it says one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Why it cannot be used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// A node that takes nothing new because somebody said so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Cordon {
    /// Origin of the order.
    pub by: String,
    /// Why, when said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Since when.
    pub at: Timestamp,
    /// Its server stops once what it runs has ended.
    pub drain: bool,
}

/// A node as the others see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeState {
    /// Description in its last heartbeat.
    #[serde(flatten)]
    pub info: NodeInfo,
    /// When its last heartbeat came, by the store's clock.
    pub seen_at: Timestamp,
    /// Its last heartbeat came within the term of a lease.
    pub alive: bool,
    /// When the leases that it holds end unless it sends a heartbeat again; none where leases never end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leases_end_at: Option<Timestamp>,
    /// It takes nothing new.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cordon: Option<Cordon>,
}

/// A node that a person declared lost for good, with everything that only it had.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LostNode {
    /// The node.
    pub node: NodeId,
    /// Origin of the declaration.
    pub by: String,
    /// Why, when said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Since when.
    pub at: Timestamp,
}

/// Outcome of taking a node off the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NodeRemoval {
    /// It is off the list.
    Done,
    /// There is no such node.
    Unknown,
    /// Its last heartbeat came within the term of a lease, at this time.
    Alive(Timestamp),
    /// It holds leases until this time.
    Holds(Timestamp),
}

/// The answer to a heartbeat.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HeartbeatReply {
    /// Somebody said that this node takes nothing new.
    pub cordon: Option<Cordon>,
    /// Of the leases that were to be extended, those that are not the newest any more: their holder must stop.
    pub lost: Vec<AgentId>,
}

/// Until when the right to do something holds, by [`Clock::elapsed`](super::clock::Clock::elapsed): a lease's end as its
/// node sees it, which is earlier than the store's. Heartbeats move it on, so it is asked again and again.
#[derive(Debug, Clone)]
pub struct Hold(watch::Receiver<Option<Duration>>);

impl Hold {
    /// Makes one that never ends.
    pub fn forever() -> Self {
        Self(watch::channel(None).1)
    }

    /// Makes one that whoever has the sender moves on. `None` is indefinitely.
    pub fn of(moved: watch::Receiver<Option<Duration>>) -> Self {
        Self(moved)
    }

    /// Returns when it ends, as far as is known now; never when `None`.
    pub fn until(&self) -> Option<Duration> {
        *self.0.borrow()
    }

    /// Waits until it was moved since this was called last; indefinitely when nobody can move it any more. Cancel-safe.
    pub async fn moved(&mut self) {
        if self.0.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// Why a node cannot be one of the fleet.
#[derive(Debug, Error)]
pub enum JoinError {
    /// Another data directory's server has the name and is alive.
    #[error(
        "another server is node {node} of this fleet, with a heartbeat at {seen_at}; give this one a name of its own with \
         MOSAIC_NODE, or stop the other one first (if its data directory is a copy, remove the file \"instance\" in it)"
    )]
    NameTaken {
        /// The name.
        node: NodeId,
        /// When the last heartbeat of that one came.
        seen_at: Timestamp,
    },
    /// A server on this data directory has the name and was alive a moment ago, under another boot: this machine was started
    /// anew, or is made from the image of one that still runs. Time tells which.
    #[error(
        "a server of this data directory under another boot of the machine is node {node} of this fleet, with a heartbeat at {seen_at}; \
         this one joins once that has been silent for a whole lease. If this machine was made from an image of that one, \
         remove the file \"instance\" from the data directory and give it a name of its own with MOSAIC_NODE"
    )]
    Restarted {
        /// The name.
        node: NodeId,
        /// When the last heartbeat of that one came.
        seen_at: Timestamp,
    },
    /// The store has what a newer build wrote, and this one could read wrongly.
    #[error(
        "a newer build of Mosaic has joined this fleet: the store is of format {store}, and this build reads up to {own}; nothing \
         was changed. Start the build that the other nodes run (\"mosaic nodes\" shows it)"
    )]
    StoreNewer {
        /// The format of the store.
        store: u64,
        /// That of this build.
        own: u32,
    },
    /// A node of an older build is alive, which could not read what this one writes.
    #[error(
        "node {node} runs a build that cannot read format {own}, which this one writes; nothing was changed. Drain the nodes of \
         the older build first (\"mosaic nodes drain NAME\"), then start this one"
    )]
    OthersOlder {
        /// One of those nodes.
        node: String,
        /// The format of this build.
        own: u32,
    },
    /// The store refused.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The nodes that share one store.
#[async_trait]
pub trait Fleet: Send + Sync {
    /// Returns for how long a lease holds after it was granted or extended, by the store's clock; `None` when leases
    /// never run out, because there is one node only.
    fn term(&self) -> Option<Duration>;

    /// Returns the store's time, where nodes share a store that has a clock; `None` where this machine's clock is the only one.
    async fn store_time(&self) -> Result<Option<Timestamp>, StoreError> {
        Ok(None)
    }

    /// Makes this node known, before anything is taken. Errors with `NameTaken` while another data directory's server of
    /// that name is alive, with `Restarted` while one of this data directory under another boot is; a server that was started
    /// again under the same boot is let in at once, as its lock on the directory proves that the one before is gone. Errors with
    /// `StoreNewer` or `OthersOlder` where builds cannot share the store; the format of the store only grows.
    async fn join(&self, info: &NodeInfo) -> Result<(), JoinError>;

    /// Says that this node is alive and extends these leases of its own by a whole term, all in one step. A lease whose
    /// time is over is extended, too, unless somebody else was given the agent meanwhile.
    async fn heartbeat(&self, info: &NodeInfo, leases: &[Lease]) -> Result<HeartbeatReply, StoreError>;

    /// Says that this node's server ends: it is not missed, and listed as draining and not alive from then on. What it still
    /// holds stays its own until the leases end.
    async fn leave(&self, node: &NodeId) -> Result<(), StoreError>;

    /// Lists the nodes by name. Those that sent no heartbeat for [`crate::limits::NODE_MEMORY`] and hold nothing are
    /// left out.
    async fn nodes(&self) -> Result<Vec<NodeState>, StoreError>;

    /// Cordons a node (`Some`) or lets it take work again (`None`), with a fact to log; false when there is no such node.
    /// Idempotent; survives the node's restart.
    async fn cordon(
        &self,
        node: &NodeId,
        cordon: Option<Cordon>,
        fact: LogRecord,
    ) -> Result<bool, StoreError>;

    /// Takes a node that is gone off the list, with a fact to log; with `lost` it is declared lost for good as well, listed or
    /// not. Nothing is changed of one that sends heartbeats or holds leases. A node of that name that joins later is an ordinary
    /// one again.
    async fn remove_node(
        &self,
        node: &NodeId,
        lost: Option<&LostNode>,
        fact: LogRecord,
    ) -> Result<NodeRemoval, StoreError> {
        let _ = (node, lost, fact);
        Ok(NodeRemoval::Unknown)
    }

    /// Lists the nodes that were declared lost for good, by name.
    async fn lost_nodes(&self) -> Result<Vec<LostNode>, StoreError> {
        Ok(Vec::new())
    }

    /// Records what a node keeps of an agent, in place of what it reported before; the facts are logged when that is new.
    /// Of an agent without a record nothing is recorded.
    async fn report_work(
        &self,
        agent: AgentId,
        report: &WorkReport,
        facts: Vec<LogRecord>,
    ) -> Result<(), StoreError> {
        let _ = (agent, report, facts);
        Ok(())
    }

    /// Lists what nodes reported of an agent, by node. It goes with the record.
    async fn work_reports(&self, agent: AgentId) -> Result<Vec<WorkReport>, StoreError> {
        let _ = agent;
        Ok(Vec::new())
    }

    /// Returns what this fleet's nodes show each other to be answered; `None` where there are no others. Made once, at
    /// random, when it is asked for first.
    async fn peer_secret(&self) -> Result<Option<String>, StoreError> {
        Ok(None)
    }

    /// Lists agents whose lease has run out, held by any node, at most `limit`. Empty for a whole term after this node
    /// connected to the store, or connected again: a store that came back may have forgotten the newest extensions.
    async fn lapsed(&self, limit: usize) -> Result<Vec<AgentId>, StoreError>;
}
