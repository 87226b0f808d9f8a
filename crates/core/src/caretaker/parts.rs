//! The caretaker's part of the orchestrator: what it knows from round to round, and the ports that its passes need.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;

use super::report::CareReport;
use crate::clocks::Clocks;
use crate::domain::audit::{Action, AuditEntry, MOSAIC};
use crate::domain::ids::{AgentId, NodeId, Timestamp};
use crate::domain::retention::Retention;
use crate::driver::Drivers;
use crate::fleet::membership::FleetMembership;
use crate::orders::standing::Orders;
use crate::ports::Ports;
use crate::ports::fleet::Fleet;
use crate::ports::host::Host;
use crate::ports::processes::Processes;
use crate::ports::repositories::{KeptWork, Trees};
use crate::ports::sandbox::Sandbox;
use crate::ports::store::Store;
use crate::ports::transcripts::Transcripts;
use crate::settings::Settings;

/// The caretaker of one node: its newest report, and the ports by which its passes look and delete. What an agent's own
/// end does, done again, is asked of [`Repairs`](super::repairs::Repairs).
pub(crate) struct Caretaker {
    pub(super) node: NodeId,
    pub(super) retention: Retention,
    pub(super) store: Arc<dyn Store>,
    pub(super) fleet: Arc<dyn Fleet>,
    pub(super) trees: Arc<dyn Trees>,
    pub(super) kept_work: Arc<dyn KeptWork>,
    pub(super) sandbox: Arc<dyn Sandbox>,
    pub(super) processes: Arc<dyn Processes>,
    pub(super) transcripts: Arc<dyn Transcripts>,
    pub(super) host: Arc<dyn Host>,
    pub(super) clocks: Arc<Clocks>,
    pub(super) membership: Arc<FleetMembership>,
    drivers: Arc<Drivers>,
    orders: Arc<Orders>,
    report: Mutex<CareReport>,
}

/// Parts of the orchestrator that the caretaker works with.
pub(crate) struct Parts {
    pub(crate) clocks: Arc<Clocks>,
    pub(crate) drivers: Arc<Drivers>,
    pub(crate) orders: Arc<Orders>,
    pub(crate) membership: Arc<FleetMembership>,
}

impl Caretaker {
    pub(crate) fn new(settings: &Settings, ports: &Ports, parts: Parts) -> Self {
        let Parts { clocks, drivers, orders, membership } = parts;
        Self {
            node: settings.node.clone(),
            retention: settings.retention,
            store: Arc::clone(&ports.store),
            fleet: Arc::clone(&ports.fleet),
            trees: Arc::clone(&ports.trees),
            kept_work: Arc::clone(&ports.kept_work),
            sandbox: Arc::clone(&ports.sandbox),
            processes: Arc::clone(&ports.processes),
            transcripts: Arc::clone(&ports.transcripts),
            host: Arc::clone(&ports.host),
            clocks,
            membership,
            drivers,
            orders,
            report: Mutex::default(),
        }
    }

    /// Returns what was last seen.
    pub(crate) fn report(&self) -> CareReport {
        self.report.lock().clone()
    }

    pub(super) fn publish(&self, report: CareReport) {
        *self.report.lock() = report;
    }

    /// Returns the current time for records; see [`Clocks::now`].
    pub(super) fn now(&self) -> Timestamp {
        self.clocks.now()
    }

    pub(super) async fn sleep(&self, time: Duration) {
        self.clocks.sleep(time).await;
    }

    /// Tells whether this node drives an agent now.
    pub(super) fn is_driven(&self, agent: AgentId) -> bool {
        self.drivers.lock().contains_key(&agent)
    }

    /// Watches the kill switch: what could not be kept under it is tried again once it is released.
    pub(super) fn watch_latch(&self) -> watch::Receiver<bool> {
        self.orders.watch_latch()
    }

    /// Starts an audit entry for an action of the caretaker, now.
    pub(super) fn entry(&self, action: Action) -> AuditEntry {
        AuditEntry::new(action, MOSAIC, self.now())
    }
}
