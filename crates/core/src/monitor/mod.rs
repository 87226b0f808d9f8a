//! The monitor: what is known about the agents of this node and the node itself besides their records. One loop samples
//! every live agent; supervision reports what it hears; the dispatcher asks whether there is capacity and whether a
//! repository's breaker is closed. All of it is in memory and starts afresh with the server: nothing here decides what
//! is true about an agent, and breakers that forget only cost a few attempts.

pub(crate) mod attention;
pub(crate) mod breakers;
pub(crate) mod capacity;
mod machine_answer;
mod quotas;
mod resources;
pub(crate) mod sampler;
mod signs;
pub mod state;
pub mod vitals;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::clocks::Clocks;
use crate::domain::capacity::CapacityLimits;
use crate::domain::ids::{AgentId, NodeId, Word};
use crate::domain::lifecycle::Now;
use crate::domain::quota::Quotas;
use crate::driver::Drivers;
use crate::monitor::breakers::Breakers;
use crate::monitor::machine_answer::MachineAnswer;
use crate::monitor::vitals::{Moment, Vitals};
use crate::ports::Ports;
use crate::ports::clock::Chance;
use crate::ports::host::Host;
use crate::ports::processes::Processes;
use crate::ports::runtime::Runtime;
use crate::ports::scanner::SecretScanner;
use crate::ports::store::Store;
use crate::settings::Settings;

/// Knowledge about the agents of this node and its machine, in addition to the records.
pub(crate) struct Monitor {
    node: NodeId,
    default_runtime: Word,
    /// Silence after which an agent is killed.
    stall: Duration,
    capacity_limits: CapacityLimits,
    /// Bytes that must be free where the state is kept.
    disk_floor: u64,
    store: Arc<dyn Store>,
    chance: Arc<dyn Chance>,
    scanner: Arc<dyn SecretScanner>,
    runtimes: BTreeMap<String, Arc<dyn Runtime>>,
    processes: Arc<dyn Processes>,
    host: Arc<dyn Host>,
    clocks: Arc<Clocks>,
    drivers: Arc<Drivers>,
    /// The dispatcher sleeps until this is notified.
    wake: Arc<Notify>,
    vitals: Mutex<HashMap<AgentId, Arc<Vitals>>>,
    pub(crate) breakers: Breakers,
    quotas: Mutex<Quotas>,
    asked: Mutex<MachineAnswer>,
    cleanup_pending: AtomicUsize,
}

impl Monitor {
    pub(crate) fn new(
        settings: &Settings,
        ports: &Ports,
        clocks: Arc<Clocks>,
        drivers: Arc<Drivers>,
        wake: Arc<Notify>,
    ) -> Self {
        Self {
            node: settings.node.clone(),
            default_runtime: settings.default_runtime.clone(),
            stall: settings.stall,
            capacity_limits: settings.capacity,
            disk_floor: settings.retention.disk_floor,
            store: Arc::clone(&ports.store),
            chance: Arc::clone(&ports.chance),
            scanner: Arc::clone(&ports.scanner),
            runtimes: ports.runtimes.clone(),
            processes: Arc::clone(&ports.processes),
            host: Arc::clone(&ports.host),
            clocks,
            drivers,
            wake,
            vitals: Mutex::default(),
            breakers: Breakers::default(),
            quotas: Mutex::default(),
            asked: Mutex::default(),
            cleanup_pending: AtomicUsize::new(0),
        }
    }

    /// Returns what is known about a live agent; starts knowing it when nothing is.
    pub(crate) fn vitals(&self, agent: AgentId) -> Arc<Vitals> {
        Arc::clone(self.vitals.lock().entry(agent).or_default())
    }

    /// Returns what is known about an agent, when something is.
    fn known(&self, agent: AgentId) -> Option<Arc<Vitals>> {
        self.vitals.lock().get(&agent).cloned()
    }

    /// Forgets an agent that is not driven any more.
    pub(crate) fn forget(&self, agent: AgentId) {
        self.vitals.lock().remove(&agent);
    }

    /// Takes how many ended agents hold something that could not be cleaned up yet, from the newest look at them.
    pub(crate) fn note_cleanup_pending(&self, agents: usize) {
        self.cleanup_pending.store(agents, Ordering::Relaxed);
    }

    /// Returns how many ended agents hold something that could not be cleaned up yet.
    pub(crate) fn cleanup_pending(&self) -> usize {
        self.cleanup_pending.load(Ordering::Relaxed)
    }

    /// Returns this moment by both clocks.
    pub(crate) fn moment(&self) -> Moment {
        (self.clocks.elapsed(), self.clocks.now())
    }

    /// Returns what a decision is made with.
    fn decide_now(&self) -> Now {
        Now { at: self.clocks.now(), dice: self.chance.dice() }
    }
}
