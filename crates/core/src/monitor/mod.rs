//! The monitor: what is known about the agents of this node and the node itself besides their records. One loop samples
//! every live agent; supervision reports what it hears; the dispatcher asks whether there is capacity and whether a
//! repository's breaker is closed. All of it is in memory and starts afresh with the server: nothing here decides what
//! is true about an agent, and breakers that forget only cost a few attempts.

pub(crate) mod attention;
pub(crate) mod breakers;
pub(crate) mod capacity;
mod quotas;
mod resources;
pub(crate) mod sampler;
mod signs;
pub mod state;
pub mod vitals;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use parking_lot::Mutex;

use crate::domain::ids::AgentId;
use crate::domain::quota::Quotas;
use crate::monitor::breakers::Breakers;
use crate::monitor::capacity::Capacity;
use crate::monitor::vitals::Vitals;

/// Memory of the monitor.
#[derive(Default)]
pub(crate) struct Monitor {
    vitals: Mutex<HashMap<AgentId, Arc<Vitals>>>,
    pub(crate) breakers: Breakers,
    quotas: Mutex<Quotas>,
    pub(crate) capacity: Capacity,
    cleanup_pending: AtomicUsize,
}

impl Monitor {
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
}
