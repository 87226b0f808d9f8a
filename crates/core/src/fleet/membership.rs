//! Memory of a node about itself and the other nodes of its fleet.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::{Notify, watch};

use crate::clocks::Clocks;
use crate::domain::ids::{AgentId, NodeId, Timestamp, Word};
use crate::domain::placement::Conditions;
use crate::domain::spreading::Unused;
use crate::driver::Drivers;
use crate::fleet::known_faults::Health;
use crate::limits;
use crate::monitor::Monitor;
use crate::orders::standing::Orders;
use crate::ports::Ports;
use crate::ports::external_queue::ExternalQueue;
use crate::ports::fleet::{Cordon, Fleet, NodeState};
use crate::ports::host::Host;
use crate::ports::processes::Processes;
use crate::ports::runtime::Runtime;
use crate::ports::sandbox::Sandbox;
use crate::ports::scanner::SecretScanner;
use crate::ports::store::Store;
use crate::settings::Settings;
use crate::stop::Shutdown;

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

/// This node as one of its fleet: what it says of itself, what it knows of the others, and the ports by which it learns that.
pub(crate) struct FleetMembership {
    /// This node.
    pub(super) node: NodeId,
    pub(super) slots: usize,
    pub(super) default_runtime: Word,
    pub(super) fleet: Arc<dyn Fleet>,
    pub(super) store: Arc<dyn Store>,
    pub(super) external_queue: Arc<dyn ExternalQueue>,
    pub(super) processes: Arc<dyn Processes>,
    pub(super) host: Arc<dyn Host>,
    pub(super) sandbox: Arc<dyn Sandbox>,
    pub(super) runtimes: BTreeMap<String, Arc<dyn Runtime>>,
    pub(super) scanner: Arc<dyn SecretScanner>,
    pub(super) clocks: Arc<Clocks>,
    pub(super) drivers: Arc<Drivers>,
    pub(super) orders: Arc<Orders>,
    pub(super) monitor: Arc<Monitor>,
    pub(super) shutdown: Arc<Shutdown>,
    /// The dispatcher sleeps until this is notified.
    pub(super) wake: Arc<Notify>,
    pub(super) about: OnceLock<About>,
    pub(super) started: OnceLock<Timestamp>,
    pub(super) joined: watch::Sender<bool>,
    pub(super) seen: Mutex<FleetView>,
    /// Agents whose earlier work is being salvaged here although another node has them.
    pub(super) keeping: watch::Sender<BTreeSet<AgentId>>,
}

/// Parts of the orchestrator that the membership works with.
pub(crate) struct Parts {
    pub(crate) clocks: Arc<Clocks>,
    pub(crate) drivers: Arc<Drivers>,
    pub(crate) orders: Arc<Orders>,
    pub(crate) monitor: Arc<Monitor>,
    pub(crate) shutdown: Arc<Shutdown>,
    pub(crate) wake: Arc<Notify>,
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
pub(crate) struct SalvageGuard<'a>(&'a FleetMembership, AgentId);

impl Drop for SalvageGuard<'_> {
    fn drop(&mut self) {
        self.0.keeping.send_modify(|agents| {
            agents.remove(&self.1);
        });
    }
}

impl FleetMembership {
    pub(crate) fn new(settings: &Settings, ports: &Ports, parts: Parts) -> Self {
        let Parts { clocks, drivers, orders, monitor, shutdown, wake } = parts;
        Self {
            node: settings.node.clone(),
            slots: settings.slots,
            default_runtime: settings.default_runtime.clone(),
            fleet: Arc::clone(&ports.fleet),
            store: Arc::clone(&ports.store),
            external_queue: Arc::clone(&ports.external_queue),
            processes: Arc::clone(&ports.processes),
            host: Arc::clone(&ports.host),
            sandbox: Arc::clone(&ports.sandbox),
            runtimes: ports.runtimes.clone(),
            scanner: Arc::clone(&ports.scanner),
            clocks,
            drivers,
            orders,
            monitor,
            shutdown,
            wake,
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
        // Looked up and entered in one step under the channel's lock, so that of two passes at the same agent
        // only one begins.
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

impl FleetMembership {
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
