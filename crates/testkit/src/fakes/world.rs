//! A world made of fakes for stories about the engine: a strict store, jobs that end when the test says so, a git that
//! remembers what was pushed. Time is real and short.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};
use std::time::Duration;

use mosaic_core::Orchestrator;
use mosaic_core::domain::ids::{AgentId, NodeId};
use mosaic_core::ports::Ports;
use mosaic_core::ports::orders::Filed;
use mosaic_core::ports::runtime::Runtime;
use mosaic_core::settings::Settings;
use parking_lot::Mutex;
use tokio::sync::watch;

use super::audit::FakeAudit;
use super::backing::Backing;
use super::fleet::FakeFleet;
use super::knobs::Knobs;
use super::store::FakeStore;

/// Behaviour of agents' programs in a world.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behaviour {
    /// They end well at once.
    EndAtOnce,
    /// They run until they are stopped or [`FakeWorld::release`] is called.
    RunOn,
    /// They crash at once.
    CrashAtOnce,
    /// As the task's id says: `crash-…` fails at once, so that it is tried again, `quick-…` ends well at once, others
    /// run on.
    ByTask,
}

/// Operation that fails in a world.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Stuck {
    /// Everything works.
    #[default]
    Nothing,
    /// Trees cannot be removed.
    Removal,
    /// The content of trees cannot be kept.
    Salvage,
}

/// Behaviour of the remote.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RemoteMood {
    /// It shows what was pushed.
    #[default]
    Honest,
    /// The same, and a push that hangs has arrived already.
    TakesAtOnce,
    /// It takes pushes at once and cannot be asked afterwards.
    Silent,
    /// It says that it took a push, and stores nothing.
    Lies,
}

/// An agent on one node's machine.
pub(super) type AgentOnNode = (NodeId, AgentId);

/// A program that runs.
pub(super) struct Program {
    pub(super) stop: watch::Sender<bool>,
    /// Ended by its supervisor, because its lease was over.
    pub(super) lapsed: Arc<AtomicBool>,
}

/// State that the fakes share.
pub struct FakeWorld {
    /// Further controls of a test.
    pub knobs: Knobs,
    pub(super) behaviour: watch::Sender<Behaviour>,
    /// Programs that run, by agent and node.
    pub(super) alive: Mutex<HashMap<AgentOnNode, Program>>,
    /// Until when supervisors let it run.
    pub(super) leases: Mutex<HashMap<AgentOnNode, watch::Sender<Option<Duration>>>>,
    pub(super) frozen: Mutex<HashSet<AgentId>>,
    /// Calls to freeze wait while it is true.
    pub(super) freezes_held: watch::Sender<bool>,
    /// Calls to freeze that were made.
    pub(super) freezes: watch::Sender<usize>,
    pub(super) double_runs: AtomicUsize,
    pub(super) pushed: Mutex<Vec<(String, NodeId)>>,
    /// Pushes that were begun.
    pub(super) begun: watch::Sender<usize>,
    /// The remote hangs.
    pub(super) hangs: watch::Sender<bool>,
    /// Pushes that were given up because their lease was over.
    pub(super) given_up: AtomicUsize,
    pub(super) trees: Mutex<HashSet<AgentOnNode>>,
    /// Places in the sandbox that were prepared and not released.
    pub(super) places: Mutex<HashSet<AgentOnNode>>,
    pub(super) cleaned: Mutex<HashSet<AgentId>>,
    pub(super) salvaged: Mutex<HashSet<AgentId>>,
    /// Where stores keep what an attempt left.
    pub(super) kept_on: Mutex<HashSet<AgentOnNode>>,
    pub(super) leaves_beside: AtomicBool,
    /// Trees cannot be removed, or what is in them cannot be kept.
    pub(super) stuck: Mutex<Stuck>,
    pub(super) stops: Mutex<Vec<AgentId>>,
    pub(super) ids: AtomicUsize,
    /// The task of each agent that ever ran.
    pub(super) tasks: Mutex<HashMap<AgentId, String>>,
    pub(super) skipped: AtomicU64,
    pub(super) filed: Mutex<Filed>,
    pub(super) no_files: AtomicBool,
    pub(super) remote: Mutex<RemoteMood>,
    /// Calls about the state directory never return.
    pub(super) files_hang: AtomicBool,
}

impl FakeWorld {
    /// Makes a world and an orchestrator in it.
    pub fn orchestrator(
        backing: impl Into<Backing>,
        slots: usize,
        behaviour: Behaviour,
    ) -> (Arc<Self>, Arc<Orchestrator>) {
        Self::orchestrator_with(backing, slots, behaviour, |_| {})
    }

    /// The same with other settings.
    pub fn orchestrator_with(
        backing: impl Into<Backing>,
        slots: usize,
        behaviour: Behaviour,
        change: impl FnOnce(&mut Settings),
    ) -> (Arc<Self>, Arc<Orchestrator>) {
        let world = Arc::new(Self {
            knobs: Knobs::default(),
            behaviour: watch::Sender::new(behaviour),
            alive: Mutex::default(),
            leases: Mutex::default(),
            frozen: Mutex::default(),
            freezes_held: watch::Sender::new(false),
            freezes: watch::Sender::new(0),
            double_runs: AtomicUsize::new(0),
            pushed: Mutex::default(),
            begun: watch::Sender::new(0),
            hangs: watch::Sender::new(false),
            given_up: AtomicUsize::new(0),
            trees: Mutex::default(),
            places: Mutex::default(),
            cleaned: Mutex::default(),
            salvaged: Mutex::default(),
            kept_on: Mutex::default(),
            leaves_beside: AtomicBool::new(false),
            stuck: Mutex::default(),
            stops: Mutex::default(),
            ids: AtomicUsize::new(1),
            tasks: Mutex::default(),
            skipped: AtomicU64::new(0),
            filed: Mutex::default(),
            no_files: AtomicBool::new(false),
            remote: Mutex::default(),
            files_hang: AtomicBool::new(false),
        });
        let orchestrator = world.again_with(backing, slots, change);
        (world, orchestrator)
    }

    /// Makes another orchestrator in this world, as after the death of the one before.
    pub fn again(self: &Arc<Self>, backing: impl Into<Backing>, slots: usize) -> Arc<Orchestrator> {
        self.again_with(backing, slots, |_| {})
    }

    fn again_with(
        self: &Arc<Self>,
        backing: impl Into<Backing>,
        slots: usize,
        change: impl FnOnce(&mut Settings),
    ) -> Arc<Orchestrator> {
        self.made(backing.into(), Arc::new(FakeFleet::new()), slots, change)
    }

    /// Makes a node of a fleet in this world, with its own connection to the store that all share.
    pub fn node(
        self: &Arc<Self>,
        name: &str,
        connection: &Arc<FakeStore>,
        slots: usize,
        change: impl FnOnce(&mut Settings),
    ) -> Arc<Orchestrator> {
        let fleet = Arc::new(FakeFleet::of(Arc::clone(connection)));
        let node: NodeId = name.parse().expect("a word");
        self.made(Arc::clone(connection).into(), fleet, slots, |settings| {
            settings.node = node;
            change(settings);
        })
    }

    fn made(
        self: &Arc<Self>,
        backing: Backing,
        fleet: Arc<FakeFleet>,
        slots: usize,
        change: impl FnOnce(&mut Settings),
    ) -> Arc<Orchestrator> {
        let (node, runtime) = ("here".parse().expect("a word"), "fake".parse().expect("a word"));
        let mut settings =
            Settings { kill_grace: Duration::from_millis(10), ..Settings::of(node, slots, runtime) };
        change(&mut settings);
        let node = settings.node.clone();
        let parts = || Part(Arc::clone(self), node.clone());
        let mut runtimes: BTreeMap<String, Arc<dyn Runtime>> = BTreeMap::new();
        runtimes.insert("fake".to_owned(), Arc::new(parts()));
        let ports = Ports {
            store: backing.store,
            external_queue: backing.external_queue,
            clock: Arc::new(parts()),
            chance: Arc::new(parts()),
            trees: Arc::new(parts()),
            intake: Arc::new(parts()),
            commits: Arc::new(parts()),
            publisher: Arc::new(parts()),
            kept_work: Arc::new(parts()),
            sandbox: Arc::new(parts()),
            processes: Arc::new(parts()),
            runtimes,
            gatekeeper: Arc::new(parts()),
            scanner: Arc::new(parts()),
            transcripts: Arc::new(parts()),
            host: Arc::new(parts()),
            audit: Arc::new(FakeAudit::default()),
            orders: Arc::new(parts()),
            fleet,
        };
        Orchestrator::new(ports, settings)
    }
}

/// One fake of every port on one node; all share the world.
pub(super) struct Part(pub(super) Arc<FakeWorld>, pub(super) NodeId);

impl Part {
    pub(super) fn place(&self, agent: AgentId) -> AgentOnNode {
        (self.1.clone(), agent)
    }

    pub(super) fn runs_here(&self, agent: AgentId) -> bool {
        self.0.alive.lock().contains_key(&self.place(agent))
    }
}
