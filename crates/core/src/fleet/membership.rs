//! Memory of a node about itself and the other nodes of its fleet.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::OnceLock;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::watch;

use crate::domain::ids::{AgentId, NodeId, Timestamp};
use crate::domain::placement::Conditions;
use crate::domain::spreading::Unused;
use crate::fleet::known_faults::Health;
use crate::limits;
use crate::ports::fleet::{Cordon, NodeState};

/// Properties that this node reports about itself, in addition to its settings.
#[derive(Debug, Clone, Default)]
pub struct About {
    /// The identity of its data directory.
    pub instance: String,
    /// The device and inode of that identity.
    pub directory: Option<String>,
    /// The boot of the machine.
    pub boot: Option<String>,
    /// Where other nodes reach its API, when they can.
    pub url: Option<String>,
    /// The program's version.
    pub version: String,
    /// Labels that the operator gave the node.
    pub labels: BTreeMap<String, String>,
}

/// Knowledge of this node about its fleet.
pub(crate) struct Membership {
    pub(super) about: OnceLock<About>,
    pub(super) started: OnceLock<Timestamp>,
    pub(super) joined: watch::Sender<bool>,
    pub(super) seen: Mutex<FleetView>,
    /// Agents whose earlier work is being kept here although somebody else has them.
    pub(super) keeping: watch::Sender<BTreeSet<AgentId>>,
}

/// View of the fleet as of the last heartbeat.
#[derive(Default)]
pub(super) struct FleetView {
    pub(super) cordon: Option<Cordon>,
    /// Heard a first answer: a drain that stood before was carried out by the server before.
    pub(super) heard: bool,
    pub(super) nodes: Vec<NodeState>,
    /// Declared lost for good.
    pub(super) lost: BTreeSet<NodeId>,
    pub(super) failing: bool,
    pub(super) avoided: Avoided,
    pub(super) spreading: Spreading,
    pub(super) health: Health,
}

/// The right to keep what an agent left here, while nobody starts it here.
pub(crate) struct SalvageGuard<'a>(&'a Membership, AgentId);

impl Drop for SalvageGuard<'_> {
    fn drop(&mut self) {
        self.0.keeping.send_modify(|agents| {
            agents.remove(&self.1);
        });
    }
}

impl Membership {
    pub(crate) fn new() -> Self {
        Self {
            about: OnceLock::new(),
            started: OnceLock::new(),
            joined: watch::Sender::new(false),
            seen: Mutex::default(),
            keeping: watch::Sender::new(BTreeSet::new()),
        }
    }

    pub(super) fn seen(&self) -> MutexGuard<'_, FleetView> {
        self.seen.lock()
    }

    /// Tells whether every node that is alive can read what was moved to an archive.
    pub(crate) fn all_read_archives(&self) -> bool {
        self.seen().nodes.iter().filter(|node| node.alive).all(|node| node.info.archives)
    }

    /// Returns the names of the nodes that were alive when they were looked at last.
    pub(crate) fn alive(&self) -> Vec<NodeId> {
        self.seen().nodes.iter().filter(|node| node.alive).map(|node| node.info.node.clone()).collect()
    }

    /// Begins to keep what an agent left; nothing when somebody does so already.
    pub(crate) fn keep(&self, agent: AgentId) -> Option<SalvageGuard<'_>> {
        let begun = self.keeping.send_if_modified(|agents| agents.insert(agent));
        begun.then(|| SalvageGuard(self, agent))
    }

    /// Waits until nobody keeps what the agent left.
    pub(crate) async fn kept(&self, agent: AgentId) {
        // Errors never: the sender is ours.
        let _ = self.keeping.subscribe().wait_for(|agents| !agents.contains(&agent)).await;
    }
}

/// Agents that this node does not take for a while, with why.
#[derive(Default)]
pub(super) struct Avoided(HashMap<AgentId, (String, Duration)>);

impl Avoided {
    fn add(&mut self, agent: AgentId, why: String, until: Duration) {
        if self.0.len() >= limits::NODE_AVOIDED
            && let Some(first) = self.0.iter().min_by_key(|(_, (_, until))| *until).map(|(id, _)| *id)
        {
            self.0.remove(&first);
        }
        self.0.insert(agent, (why, until));
    }

    fn of(&mut self, now: Duration) -> &HashMap<AgentId, (String, Duration)> {
        self.0.retain(|_, (_, until)| *until > now);
        &self.0
    }
}

impl Membership {
    /// Does not take an agent before this time of this node's clock.
    pub(crate) fn avoid(&self, agent: AgentId, why: String, until: Duration) {
        self.seen().avoided.add(agent, why, until);
    }

    /// Says why an agent is not taken here now, when it failed here before.
    pub(crate) fn avoids(&self, agent: AgentId, now: Duration) -> Option<String> {
        self.seen().avoided.of(now).get(&agent).map(|(why, _)| why.clone())
    }

    /// Adds what is avoided to the conditions under which this node takes work.
    pub(crate) fn add_avoided(&self, conditions: &mut Conditions, now: Duration) {
        conditions.agents.extend(self.seen().avoided.of(now).keys());
    }
}

/// The state of spreading on this node.
#[derive(Default)]
pub(super) struct Spreading {
    pub(super) given: Option<Given>,
    pub(super) unused: Unused,
}

/// A moment in which the best entry is left to other nodes.
pub(super) struct Given {
    pub(super) entry: AgentId,
    pub(super) moment: Duration,
    pub(super) until: Duration,
}
