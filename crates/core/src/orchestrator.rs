//! The orchestrator as its callers see it: what the HTTP routes and the in-process command line call. It holds the
//! ports and the live drivers, and no other state: the truth is in the store.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use parking_lot::MutexGuard;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use tokio::sync::Notify;

use crate::caretaker::parts::{self as caretaker, Caretaker};
use crate::caretaker::report::CareReport;
use crate::clocks::Clocks;
use crate::domain::access::AgentAccess;
use crate::domain::capacity::HostLoad;
use crate::domain::facts::{Fact, QueuePaused, QueueResumed};
use crate::domain::ids::{AgentId, NodeId, Timestamp};
use crate::domain::journal::LogRecord;
use crate::domain::lifecycle::Now;
use crate::domain::orders::Latch;
use crate::domain::quota::Held;
use crate::domain::spec::{FieldError, GateProfile};
use crate::driver::{AgentHandle, Drivers};
use crate::fleet::membership::{About, FleetMembership, Parts};
use crate::gate_history::KnownJudgements;
use crate::limits;
use crate::monitor::Monitor;
use crate::monitor::vitals::Resources;
use crate::orders::standing::Orders;
use crate::orders::{ReleaseError, SwitchState};
use crate::ports::Ports;
use crate::ports::fleet::{Cordon, JoinError, LostNode, NodeRemoval, NodeState};
use crate::ports::gatekeeper::GatekeeperHealth;
use crate::ports::store::{Pause, Query, StoreError, Versioned};
use crate::settings::Settings;
use crate::stop::Shutdown;

/// Why a spawn was refused.
#[derive(Debug, Error)]
pub enum SpawnError {
    /// The body is wrong; every fault.
    #[error("the request has {} faulty fields", .0.len())]
    Invalid(Vec<FieldError>),
    /// Policy forbids the repository.
    #[error("{0}")]
    Denied(String),
    /// The request cannot be satisfied here.
    #[error("{0}")]
    Unsatisfiable(String),
    /// The node is stopping.
    #[error("the server is shutting down")]
    ShuttingDown,
    /// The kill switch is engaged.
    #[error("dispatch is stopped by {}", .0.by)]
    Stopped(Latch),
    /// The disk is below the floor.
    #[error("{0}")]
    DiskLow(String),
    /// The store refused.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why a manual retry was refused.
#[derive(Debug, Error)]
pub enum RetryError {
    /// The agent has not ended.
    #[error("agent {0} has not ended yet")]
    StillActive(AgentId),
    /// The new agent was refused.
    #[error(transparent)]
    Spawn(#[from] SpawnError),
}

/// An admitted agent.
#[derive(Debug, Clone)]
pub struct Spawned {
    /// The record.
    pub record: Versioned,
    /// The answer repeats an earlier one with the same idempotency key.
    pub replayed: bool,
}

/// One check of readiness.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// Name of the part that was checked: `store`, `disk`, `git`, `dispatcher`, where gates are judged elsewhere `coordinator`, and
    /// where there are several nodes `fleet` and `clock`.
    pub name: String,
    /// True when it is in order.
    pub ok: bool,
    /// True when it is not as it should be, and work can be taken all the same.
    #[serde(default)]
    pub warns: bool,
    /// Result of the check, in words.
    pub detail: String,
}

/// The orchestrator of one node.
pub struct Orchestrator {
    pub(crate) ports: Ports,
    pub(crate) settings: Settings,
    pub(crate) orders: Arc<Orders>,
    pub(crate) drivers: Arc<Drivers>,
    /// Something may be ready to start, or a slot became free.
    pub(crate) wake: Arc<Notify>,
    /// Knowledge of the monitor, in addition to the records.
    pub(crate) monitor: Arc<Monitor>,
    /// Clocks of this machine and of the store.
    pub(crate) clocks: Arc<Clocks>,
    /// Access through which agents see themselves; see [`Orchestrator::grant_access`].
    pub(crate) access: OnceLock<AgentAccess>,
    /// Progress of the shutdown.
    pub(crate) shutdown: Arc<Shutdown>,
    pub(crate) caretaker: Arc<Caretaker>,
    pub(crate) fleet: Arc<FleetMembership>,
    pub(crate) gate_history: KnownJudgements,
}

impl Orchestrator {
    /// Makes an orchestrator. Nothing runs until [`crate::engine::run`].
    pub fn new(ports: Ports, settings: Settings) -> Arc<Self> {
        let clocks = Arc::new(Clocks::new(Arc::clone(&ports.clock), Arc::clone(&ports.fleet)));
        let (drivers, wake) = (Arc::new(Drivers::default()), Arc::new(Notify::new()));
        let orders = Orders::new(
            settings.node.clone(),
            &ports,
            Arc::clone(&clocks),
            Arc::clone(&drivers),
            Arc::clone(&wake),
        );
        let monitor =
            Monitor::new(&settings, &ports, Arc::clone(&clocks), Arc::clone(&drivers), Arc::clone(&wake));
        let (monitor, orders, shutdown) = (Arc::new(monitor), Arc::new(orders), Arc::new(Shutdown::new()));
        let parts = Parts {
            clocks: Arc::clone(&clocks),
            drivers: Arc::clone(&drivers),
            orders: Arc::clone(&orders),
            monitor: Arc::clone(&monitor),
            shutdown: Arc::clone(&shutdown),
            wake: Arc::clone(&wake),
        };
        let fleet = Arc::new(FleetMembership::new(&settings, &ports, parts));
        let parts = caretaker::Parts {
            clocks: Arc::clone(&clocks),
            drivers: Arc::clone(&drivers),
            orders: Arc::clone(&orders),
            membership: Arc::clone(&fleet),
        };
        let caretaker = Arc::new(Caretaker::new(&settings, &ports, parts));
        Arc::new(Self {
            ports,
            settings,
            orders,
            drivers,
            wake,
            monitor,
            clocks,
            access: OnceLock::new(),
            shutdown,
            caretaker,
            fleet,
            gate_history: KnownJudgements::default(),
        })
    }

    /// Returns the ports, for reading.
    pub fn ports(&self) -> &Ports {
        &self.ports
    }

    /// Returns the settings.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Returns the clocks of this node.
    pub fn clocks(&self) -> &Clocks {
        &self.clocks
    }

    /// Learns what stands, unless that is known already; see [`Orders::know`].
    pub async fn know_orders(&self) {
        self.orders.know().await;
    }

    /// Returns the kill switch as it is.
    pub fn switch_state(&self) -> SwitchState {
        self.orders.switch_state()
    }

    /// Releases the kill switch; see [`Orders::release`].
    pub async fn release(&self, by: &str) -> Result<bool, ReleaseError> {
        self.orders.release(by).await
    }

    /// Returns the machine's newest load.
    pub fn host_load(&self) -> HostLoad {
        self.monitor.host_load()
    }

    /// Lists the limits of model services that hold up the credentials in force on this node; see [`Monitor::quotas`].
    pub fn quotas(&self) -> Vec<Held> {
        self.monitor.quotas()
    }

    /// Returns what is known about the use of resources of an agent that this node drives.
    pub fn resources(&self, agent: AgentId) -> Resources {
        self.monitor.resources(agent)
    }

    /// Returns when the newest event of an agent that this node drives came.
    pub fn last_event(&self, agent: AgentId) -> Option<Timestamp> {
        self.monitor.last_event(agent)
    }

    /// Takes how many ended agents hold something that could not be cleaned up yet, from the newest look at them.
    pub fn note_cleanup_pending(&self, agents: usize) {
        self.monitor.note_cleanup_pending(agents);
    }

    /// Returns the time since some moment of this process, for timers.
    pub(crate) fn elapsed(&self) -> Duration {
        self.clocks.elapsed()
    }

    /// Returns the current time for logs and records; see [`Clocks::now`].
    pub fn now(&self) -> Timestamp {
        self.clocks.now()
    }

    /// Returns what the caretaker last saw.
    pub fn care(&self) -> CareReport {
        self.caretaker.report()
    }

    /// Tells whether the node takes nothing new any more.
    pub fn is_draining(&self) -> bool {
        self.shutdown.is_draining()
    }

    /// Takes no new agents from now on: spawns are refused and readiness is false at once. What runs goes on until
    /// the engine is told to stop. Idempotent; there is no way back but a restart.
    pub fn refuse_new(&self) {
        self.shutdown.refuse_new();
    }

    /// Takes nothing new from now on and asks for the end of this server once nothing runs any more; returns how many agents
    /// run now. What waits in the queue stays there for the next server. Idempotent.
    pub fn drain(&self) -> usize {
        self.shutdown.drain();
        self.running()
    }

    /// Waits until a drain is asked for; see [`Orchestrator::drain`].
    pub async fn drain_asked(&self) {
        self.shutdown.drain_asked().await;
    }

    /// Tells whether leases end here, because other nodes could take what this one holds.
    pub fn is_fleet(&self) -> bool {
        self.fleet.is_fleet()
    }

    /// Takes what others are told of this node. Only the first call counts; without one it has no address.
    pub fn introduce(&self, about: About) {
        self.fleet.introduce(about);
    }

    /// Makes this node one of the fleet, before it takes anything.
    pub async fn join(&self) -> Result<(), JoinError> {
        self.fleet.join().await
    }

    /// Returns the nodes as they are now.
    pub async fn nodes(&self) -> Result<Vec<NodeState>, StoreError> {
        self.ports.fleet.nodes().await
    }

    /// Returns the nodes as they were at the last heartbeat; nothing where there is only this one.
    pub fn known_nodes(&self) -> Vec<NodeState> {
        self.fleet.known_nodes()
    }

    /// Returns why this node takes nothing new, when it is out of service.
    pub fn cordoned(&self) -> Option<Cordon> {
        self.fleet.cordoned()
    }

    /// Takes a node out of service (`Some`) or back; false when there is no such node. Idempotent.
    pub async fn cordon(&self, node: &NodeId, cordon: Option<Cordon>) -> Result<bool, StoreError> {
        self.fleet.cordon(node, cordon).await
    }

    /// Takes a node that is gone off the list; with `lost` everything that only it had is given up as well.
    pub async fn remove_node(
        &self,
        node: &NodeId,
        lost: Option<&LostNode>,
        by: &str,
    ) -> Result<NodeRemoval, StoreError> {
        self.fleet.remove_node(node, lost, by).await
    }

    /// Tells whether a node was declared lost for good, as of the last heartbeat.
    pub fn is_known_lost(&self, node: &NodeId) -> bool {
        self.fleet.is_known_lost(node)
    }

    /// Tells whether what is left of the agent lies on another node, so that nothing here says anything about it.
    pub(crate) fn is_elsewhere(&self, node: Option<&NodeId>) -> bool {
        self.fleet.is_elsewhere(node)
    }

    /// Returns how many agents' programs run on although the engine has ended; 0 when that cannot be told.
    pub async fn left(&self) -> usize {
        self.ports.processes.unfinished().await.map_or(0, |agents| agents.len())
    }

    /// Returns how many agents this node runs now.
    pub fn running(&self) -> usize {
        self.drivers.count()
    }

    pub(crate) fn live(&self) -> MutexGuard<'_, HashMap<AgentId, Arc<AgentHandle>>> {
        self.drivers.lock()
    }

    /// Returns what a decision is made with.
    pub fn decide_now(&self) -> Now {
        Now { at: self.now(), dice: self.ports.chance.dice() }
    }

    /// Reads one agent as far as it can be read now: its short form where the record lies in an archive that is away.
    pub async fn glance(&self, id: AgentId) -> Result<Versioned, StoreError> {
        let store = &self.ports.store;
        let mut found = store.whole(vec![store.glance(id).await?]).await?;
        found.pop().ok_or(StoreError::NotFound(id))
    }

    /// Reads one agent.
    pub async fn agent(&self, id: AgentId) -> Result<Versioned, StoreError> {
        self.ports.store.get(id).await
    }

    /// Lists agents.
    pub async fn list(&self, query: Query) -> Result<Vec<Versioned>, StoreError> {
        self.ports.store.list(query).await
    }

    /// Pauses dispatch: nothing new starts, what runs goes on. Idempotent.
    pub async fn pause(&self, by: &str, reason: Option<String>) -> Result<(), StoreError> {
        let at = self.now();
        let paused = Fact::QueuePaused(QueuePaused { by: by.to_owned(), reason: reason.clone() });
        let fact = LogRecord::new(&paused, at);
        self.ports.store.set_pause(Some(Pause { by: by.to_owned(), reason, at }), fact).await
    }

    /// Lets dispatch go on. Idempotent.
    pub async fn resume(&self, by: &str) -> Result<(), StoreError> {
        let resumed = Fact::QueueResumed(QueueResumed { by: by.to_owned() });
        self.ports.store.set_pause(None, LogRecord::new(&resumed, self.now())).await?;
        self.wake.notify_one();
        Ok(())
    }

    /// Asks store, disk, git and dispatcher whether work can be taken. Each answers within 5 s or counts as down.
    pub async fn ready(&self) -> Vec<Check> {
        let check = |name: &str, result: Result<String, String>| Check {
            name: name.to_owned(),
            ok: result.is_ok(),
            warns: false,
            detail: result.unwrap_or_else(|e| e),
        };
        let store =
            async { self.ports.store.check().await.map(|()| "ok".to_owned()).map_err(|e| e.to_string()) };
        let git = async { self.ports.host.git_version().await.map_err(|e| e.to_string()) };
        // Asked side by side, so that several that hang cost one wait and not one each.
        let (store, disk, git, gatekeeper) = tokio::join!(
            self.soon(store),
            self.soon(self.monitor.disk_capacity()),
            self.soon(git),
            self.gatekeeper_check()
        );
        let dispatcher = if self.is_draining() {
            Err("draining: no new work is taken".to_owned())
        } else {
            // Work is taken all the same, it only waits.
            let held = self.blocked().map(|blocked| format!("starts nothing now; {}", blocked.message()));
            Ok(held.or_else(|| self.quota_message()).unwrap_or_else(|| "ok".to_owned()))
        };
        let mut checks = vec![
            check("store", store),
            check("disk", disk),
            check("git", git),
            check("dispatcher", dispatcher),
        ];
        checks.extend(gatekeeper);
        if self.is_fleet() {
            checks.push(check("fleet", self.fleet.summary()));
            checks.push(check("clock", self.clocks.message()));
        }
        checks
    }

    /// Asks the gatekeeper where it is elsewhere. Without it nothing is judged, and work goes on up to that point; only a strict
    /// profile, which ends where a gate cannot be judged, makes the node unready.
    async fn gatekeeper_check(&self) -> Option<Check> {
        let (detail, answers) = match self.ports.gatekeeper.health().await {
            GatekeeperHealth::Local => return None,
            GatekeeperHealth::Reached(detail) => (detail, true),
            GatekeeperHealth::Unreachable(detail) => (detail, false),
        };
        let ok = answers || !self.has_strict_work().await;
        Some(Check { name: "coordinator".to_owned(), ok, warns: !answers, detail })
    }

    /// Tells whether an agent with the strict profile runs or is among the next to start.
    async fn has_strict_work(&self) -> bool {
        let is_strict = |record: &Versioned| record.agent.spec.gate_profile == GateProfile::Strict;
        let store = &self.ports.store;
        let leased = store.leased().await.unwrap_or_default();
        leased.iter().any(is_strict)
            || store.waiting(0, limits::HTTP_PAGE, self.now()).await.unwrap_or_default().iter().any(is_strict)
    }

    /// Says which limits of model services hold agents up, without what the services said.
    fn quota_message(&self) -> Option<String> {
        let quotas = self.monitor.quotas();
        let last = quotas.iter().map(|held| held.until).max()?;
        Some(format!(
            "agents of {} wait for a limit of the model service, at most until {}",
            if quotas.len() == 1 {
                "one credential".to_owned()
            } else {
                format!("{} credentials", quotas.len())
            },
            last.to_rfc3339()
        ))
    }

    /// Waits for an answer at most 5 s.
    async fn soon(&self, answer: impl Future<Output = Result<String, String>>) -> Result<String, String> {
        tokio::select! {
            answer = answer => answer,
            () = self.ports.clock.sleep(Duration::from_secs(5)) => Err("no answer within 5 s".to_owned()),
        }
    }
}
