//! A world made of fakes for stories about the engine: a strict store, jobs that end when the test says so, a git that
//! remembers what was pushed. Time is real and short.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use mosaic_core::Orchestrator;
use mosaic_core::domain::agent::Salvaged;
use mosaic_core::domain::gates::{FilteredPath, GatePlan, GateReport};
use mosaic_core::domain::ids::{AgentId, BranchName, CommitId, NodeId, Timestamp, Word};
use mosaic_core::domain::kept_work::KeptRef;
use mosaic_core::domain::orders::{Barrier, Latch};
use mosaic_core::domain::outcome::{Failure, FailureKind, Outcome};
use mosaic_core::domain::repository::RepositoryUrl;
use mosaic_core::domain::retention::Retention;
use mosaic_core::domain::room::{Floors, Reading};
use mosaic_core::orchestrator::{Ports, Settings};
use mosaic_core::ports::clock::{Chance, Clock};
use mosaic_core::ports::fleet::Hold;
use mosaic_core::ports::gatekeeper::{Gatekeeper, JudgeRequest, PlanRequest};
use mosaic_core::ports::host::{DiskUse, Host};
use mosaic_core::ports::orders::{Filed, OrderFiles};
use mosaic_core::ports::processes::{
    Adopted, Exit, Job, JobEvent, JobSpec, ProcessError, Processes, StopReceipt, Usage,
};
use mosaic_core::ports::repositories::{
    Added, DiffForm, FileStat, FilterUse, Fit, HarvestJob, JudgingCheckout, JudgingRequest, Kept, KeptRefs,
    Pushed, Received, RemoteState, Repositories, RestoreRequest, Restored, StoreName, StrayTree, TreeRequest,
    UnmergedCommit, Worktree,
};
use mosaic_core::ports::runtime::{
    AgentEvent, Dialogue, LaunchPlan, LaunchRequest, Opening, Probe, Reaction, Runtime,
};
use mosaic_core::ports::sandbox::{Confinement, Sandbox};
use mosaic_core::ports::scanner::{Secret, SecretScanner};
use mosaic_core::ports::store::Store;
use mosaic_core::ports::transcripts::{Line, Mark, Shelved, Told, Transcripts};
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::{mpsc, watch};

use crate::fake_audit::FakeAudit;
use crate::fake_fleet::FakeFleet;
use crate::fake_knobs::{self, Broken, Knobs};
use crate::fake_store::FakeStore;

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
type Place = (NodeId, AgentId);

/// A program that runs.
struct Program {
    stop: watch::Sender<bool>,
    /// Ended by its supervisor, because its lease was over.
    lapsed: Arc<AtomicBool>,
}

/// State that the fakes share.
pub struct FakeWorld {
    /// Further controls of a test.
    pub knobs: Knobs,
    behaviour: watch::Sender<Behaviour>,
    /// Programs that run, by agent and node.
    alive: Mutex<HashMap<Place, Program>>,
    /// Until when supervisors let it run.
    leases: Mutex<HashMap<Place, watch::Sender<Option<Duration>>>>,
    frozen: Mutex<HashSet<AgentId>>,
    /// Calls to freeze wait while it is true.
    freezes_held: watch::Sender<bool>,
    /// Calls to freeze that were made.
    freezes: watch::Sender<usize>,
    double_runs: AtomicUsize,
    pushed: Mutex<Vec<(String, NodeId)>>,
    /// Pushes that were begun.
    begun: watch::Sender<usize>,
    /// The remote hangs.
    hangs: watch::Sender<bool>,
    /// Pushes that were given up because their lease was over.
    given_up: AtomicUsize,
    trees: Mutex<HashSet<Place>>,
    cleaned: Mutex<HashSet<AgentId>>,
    salvaged: Mutex<HashSet<AgentId>>,
    /// Where stores keep what an attempt left.
    kept_on: Mutex<HashSet<Place>>,
    leaves_beside: AtomicBool,
    /// Trees cannot be removed, or what is in them cannot be kept.
    stuck: Mutex<Stuck>,
    stops: Mutex<Vec<AgentId>>,
    ids: AtomicUsize,
    /// The task of each agent that ever ran.
    tasks: Mutex<HashMap<AgentId, String>>,
    skipped: AtomicU64,
    filed: Mutex<Filed>,
    no_files: AtomicBool,
    remote: Mutex<RemoteMood>,
    /// Calls about the state directory never return.
    files_hang: AtomicBool,
}

impl FakeWorld {
    /// Makes a world and an orchestrator in it.
    pub fn orchestrator(
        store: Arc<dyn Store>,
        slots: usize,
        behaviour: Behaviour,
    ) -> (Arc<Self>, Arc<Orchestrator>) {
        Self::orchestrator_with(store, slots, behaviour, |_| {})
    }

    /// The same with other settings.
    pub fn orchestrator_with(
        store: Arc<dyn Store>,
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
        let orchestrator = world.again_with(store, slots, change);
        (world, orchestrator)
    }

    /// Makes another orchestrator in this world, as after the death of the one before.
    pub fn again(self: &Arc<Self>, store: Arc<dyn Store>, slots: usize) -> Arc<Orchestrator> {
        self.again_with(store, slots, |_| {})
    }

    fn again_with(
        self: &Arc<Self>,
        store: Arc<dyn Store>,
        slots: usize,
        change: impl FnOnce(&mut Settings),
    ) -> Arc<Orchestrator> {
        self.made(store, Arc::new(FakeFleet::new()), slots, change)
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
        self.made(Arc::clone(connection) as Arc<dyn Store>, fleet, slots, |settings| {
            settings.node = node;
            change(settings);
        })
    }

    fn made(
        self: &Arc<Self>,
        store: Arc<dyn Store>,
        fleet: Arc<FakeFleet>,
        slots: usize,
        change: impl FnOnce(&mut Settings),
    ) -> Arc<Orchestrator> {
        let mut settings = Settings {
            node: "here".parse().expect("a word"),
            slots,
            repository_slots: None,
            repository_fleet_slots: None,
            branch_prefix: "mosaic".to_owned(),
            default_runtime: "fake".parse().expect("a word"),
            allow_incomplete_strict: false,
            require_skills: false,
            skills_dir: None,
            kill_grace: Duration::from_millis(10),
            stall: mosaic_core::limits::STALL,
            floors: Floors::default(),
            retention: Retention::default(),
        };
        change(&mut settings);
        let node = settings.node.clone();
        let parts = || Part(Arc::clone(self), node.clone());
        let mut runtimes: BTreeMap<String, Arc<dyn Runtime>> = BTreeMap::new();
        runtimes.insert("fake".to_owned(), Arc::new(parts()));
        let ports = Ports {
            store,
            clock: Arc::new(parts()),
            chance: Arc::new(parts()),
            repositories: Arc::new(parts()),
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

    /// Moves the clock forward.
    pub fn skip(&self, time: Duration) {
        self.skipped.fetch_add(u64::try_from(time.as_millis()).unwrap_or(u64::MAX), Ordering::SeqCst);
    }

    /// Returns the orders that stand in the state directory, to look at and to change.
    pub fn filed(&self) -> MutexGuard<'_, Filed> {
        self.filed.lock()
    }

    /// Makes every write into the state directory fail, or work again.
    pub fn break_files(&self, broken: bool) {
        self.no_files.store(broken, Ordering::SeqCst);
    }

    /// Makes every call about standing orders in the state directory hang, as on a disk that is gone, or return again.
    pub fn hang_files(&self, hang: bool) {
        self.files_hang.store(hang, Ordering::SeqCst);
    }

    async fn disk(&self) {
        if self.files_hang.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
    }

    /// Lets every program end well, those that run and those that will.
    pub fn release(&self) {
        self.behaviour.send_replace(Behaviour::EndAtOnce);
    }

    /// Sets how programs behave from now on.
    pub fn behave(&self, behaviour: Behaviour) {
        self.behaviour.send_replace(behaviour);
    }

    /// Returns the agents whose program runs.
    pub fn alive(&self) -> Vec<AgentId> {
        self.alive.lock().keys().map(|(_, agent)| *agent).collect()
    }

    /// Returns the agents whose program runs on this node.
    pub fn alive_on(&self, node: &str) -> Vec<AgentId> {
        let alive = self.alive.lock();
        alive.keys().filter(|(there, _)| there.as_str() == node).map(|(_, agent)| *agent).collect()
    }

    /// Returns the agents that have a tree on this node.
    pub fn trees_on(&self, node: &str) -> Vec<AgentId> {
        let trees = self.trees.lock();
        trees.iter().filter(|(there, _)| there.as_str() == node).map(|(_, agent)| *agent).collect()
    }

    /// Returns who pushed which branch, in order.
    pub fn pushed_by(&self) -> Vec<(String, String)> {
        self.pushed.lock().iter().map(|(branch, node)| (branch.clone(), node.to_string())).collect()
    }

    /// Makes the remote hang in the middle of every push, or go on.
    pub fn hang_pushes(&self, hang: bool) {
        self.hangs.send_replace(hang);
    }

    /// Waits until a push was begun; what the remote takes at once has arrived by then.
    pub async fn push_begun(&self) {
        // Errors never: the sender lives as long as the world.
        let _ = self.begun.subscribe().wait_for(|begun| *begun > 0).await;
    }

    /// Sets how the remote answers from now on.
    pub fn remote_is(&self, mood: RemoteMood) {
        *self.remote.lock() = mood;
    }

    /// Returns how many pushes were given up because their lease was over.
    pub fn given_up(&self) -> usize {
        self.given_up.load(Ordering::SeqCst)
    }

    /// Ends a program when its lease is over, whatever becomes of its server.
    fn supervise(self: &Arc<Self>, place: Place) {
        let world = Arc::clone(self);
        let mut until = world.lease(&place);
        let Some(mut stopped) = world.alive.lock().get(&place).map(|program| program.stop.subscribe()) else {
            return;
        };
        // Ends with the program, at the latest with the test's runtime.
        tokio::spawn(async move {
            loop {
                let left = match *until.borrow_and_update() {
                    Some(until) => until.saturating_sub(fake_knobs::elapsed()),
                    None => Duration::from_secs(1 << 30),
                };
                if left.is_zero() {
                    break;
                }
                tokio::select! {
                    _ = stopped.wait_for(|stopped| *stopped) => return,
                    () = tokio::time::sleep(left) => {}
                    changed = until.changed() => if changed.is_err() { return },
                }
            }
            if let Some(program) = world.alive.lock().remove(&place) {
                program.lapsed.store(true, Ordering::SeqCst);
                program.stop.send_replace(true);
            }
        });
    }

    fn lease(&self, place: &Place) -> watch::Receiver<Option<Duration>> {
        self.leases.lock().entry(place.clone()).or_insert_with(|| watch::Sender::new(None)).subscribe()
    }

    /// Holds every freeze of a program, or lets them go on.
    pub fn hold_freezes(&self, held: bool) {
        self.freezes_held.send_replace(held);
    }

    /// Waits until so many freezes were begun.
    pub async fn freezes(&self, count: usize) {
        let _ = self.freezes.subscribe().wait_for(|begun| *begun >= count).await;
    }

    /// Returns the agents whose program is frozen.
    pub fn frozen(&self) -> Vec<AgentId> {
        self.frozen.lock().iter().copied().collect()
    }

    /// Returns how often a second program of an agent was started beside the first.
    pub fn double_runs(&self) -> usize {
        self.double_runs.load(Ordering::SeqCst)
    }

    /// Returns the branches that were pushed, in order.
    pub fn pushed(&self) -> Vec<String> {
        self.pushed_by().into_iter().map(|(branch, _)| branch).collect()
    }

    /// Says what does not work from now on.
    pub fn stick(&self, what: Stuck) {
        *self.stuck.lock() = what;
    }

    /// From now on agents leave work beside their HEAD too.
    pub fn leave_beside(&self) {
        self.leaves_beside.store(true, Ordering::Relaxed);
    }

    /// Returns how often the agent's processes were ordered to stop.
    pub fn stops(&self, agent: AgentId) -> usize {
        self.stops.lock().iter().filter(|id| **id == agent).count()
    }

    /// Tells whether the agent's tree was taken away.
    pub fn is_cleaned(&self, agent: AgentId) -> bool {
        self.cleaned.lock().contains(&agent)
    }
}

/// One fake of every port on one node; all share the world.
struct Part(Arc<FakeWorld>, NodeId);

impl Part {
    fn place(&self, agent: AgentId) -> Place {
        (self.1.clone(), agent)
    }

    fn runs_here(&self, agent: AgentId) -> bool {
        self.0.alive.lock().contains_key(&self.place(agent))
    }
}

fn commit(digit: char) -> CommitId {
    digit.to_string().repeat(40).parse().expect("forty digits")
}

#[async_trait]
impl Clock for Part {
    fn now(&self) -> Timestamp {
        self.0.knobs.wall().plus(Duration::from_millis(self.0.skipped.load(Ordering::SeqCst)))
    }
    fn elapsed(&self) -> Duration {
        fake_knobs::elapsed()
    }
    async fn sleep(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }
}

impl Chance for Part {
    fn agent_id(&self) -> AgentId {
        AgentId(uuid::Uuid::new_v4())
    }
    fn dice(&self) -> f64 {
        // Spread without chance, so that a failing story fails again.
        (self.0.ids.fetch_add(1, Ordering::SeqCst) % 10) as f64 / 10.0
    }
}

#[async_trait]
impl Host for Part {
    async fn free_bytes(&self) -> Result<u64, String> {
        Ok(u64::MAX)
    }
    async fn reading(&self) -> Reading {
        self.0.knobs.reading()
    }
    async fn disk_of(&self, _: AgentId) -> Result<DiskUse, String> {
        Ok(DiskUse { bytes: 4096, entries: 1, more: false })
    }
    async fn git_version(&self) -> Result<String, String> {
        Ok("fake".to_owned())
    }
}

#[async_trait]
impl Sandbox for Part {
    fn name(&self) -> &'static str {
        "fake"
    }
    async fn confine(&self, _: AgentId) -> Result<Confinement, Failure> {
        self.0.knobs.works(self.1.as_str(), Broken::Sandbox)?;
        let nowhere = PathBuf::from("/nonexistent");
        Ok(Confinement { home: nowhere.clone(), config: nowhere, env: Vec::new(), wrap: Vec::new() })
    }
    async fn staging(&self, _: AgentId) -> Result<PathBuf, Failure> {
        Ok(PathBuf::from("/nonexistent"))
    }
    async fn place(&self, _: AgentId, _: &Path, _: &str) -> Result<(), Failure> {
        Ok(())
    }
    async fn release(&self, _: AgentId) -> Result<(), Failure> {
        Ok(())
    }
}

/// A program of an agent that runs until it is stopped or the world releases it.
struct FakeJob {
    world: Arc<FakeWorld>,
    place: Place,
    task: String,
    stopped: watch::Receiver<bool>,
    lapsed: Arc<AtomicBool>,
    speech: watch::Receiver<u64>,
}

fn exit(code: Option<i32>) -> Exit {
    Exit {
        code,
        signal: if code.is_none() { Some(15) } else { None },
        timed_out: false,
        leaked: 0,
        output_bytes: 0,
        stderr_tail: String::new(),
        ..Exit::default()
    }
}

#[async_trait]
impl Job for FakeJob {
    async fn next(&mut self) -> Result<JobEvent, ProcessError> {
        let mut behaviour = self.world.behaviour.subscribe();
        let (quick, crash) = (self.task.starts_with("quick-"), self.task.starts_with("crash-"));
        let code = tokio::select! {
            biased;
            // Errors when the stop took the sender away, which is the stop.
            _ = self.stopped.wait_for(|stopped| *stopped) => None,
            ended = behaviour.wait_for(|b| match b {
                Behaviour::RunOn => false,
                Behaviour::ByTask => quick || crash,
                Behaviour::EndAtOnce | Behaviour::CrashAtOnce => true,
            }) => Some(i32::from(ended.is_ok_and(|b| match *b {
                Behaviour::CrashAtOnce => true,
                Behaviour::ByTask => crash,
                Behaviour::EndAtOnce | Behaviour::RunOn => false,
            }))),
            _ = self.speech.changed() => return Ok(JobEvent::Output(b"still here\n".to_vec())),
        };
        if let Some(program) = self.world.alive.lock().remove(&self.place) {
            program.stop.send_replace(true);
        }
        let lapsed = self.lapsed.load(Ordering::SeqCst);
        Ok(JobEvent::Exited(Exit { lapsed, ..exit(code) }))
    }
    async fn write(&mut self, bytes: &[u8]) -> Result<(), ProcessError> {
        self.world.knobs.tell(self.place.1, bytes);
        Ok(())
    }
    async fn answer(&mut self, _: u64, bytes: &[u8]) -> Result<(), ProcessError> {
        self.write(bytes).await
    }
    async fn close_stdin(&mut self) -> Result<(), ProcessError> {
        Ok(())
    }
}

/// A job that has ended already: a harvest.
struct EndedJob;

#[async_trait]
impl Job for EndedJob {
    async fn next(&mut self) -> Result<JobEvent, ProcessError> {
        Ok(JobEvent::Exited(exit(Some(0))))
    }
    async fn write(&mut self, _: &[u8]) -> Result<(), ProcessError> {
        Ok(())
    }
    async fn answer(&mut self, _: u64, _: &[u8]) -> Result<(), ProcessError> {
        Ok(())
    }
    async fn close_stdin(&mut self) -> Result<(), ProcessError> {
        Ok(())
    }
}

#[async_trait]
impl Processes for Part {
    async fn start(&self, spec: JobSpec) -> Result<Box<dyn Job>, ProcessError> {
        if !spec.name.as_str().starts_with("run-") {
            return Ok(Box::new(EndedJob));
        }
        let place = self.place(spec.agent);
        let program = Program { stop: watch::Sender::new(false), lapsed: Arc::default() };
        let (stopped, lapsed) = (program.stop.subscribe(), Arc::clone(&program.lapsed));
        {
            let mut alive = self.0.alive.lock();
            if alive.keys().any(|(_, agent)| *agent == spec.agent) {
                self.0.double_runs.fetch_add(1, Ordering::SeqCst);
            }
            alive.insert(place.clone(), program);
        }
        self.0.supervise(place.clone());
        let speech = self.0.knobs.speech.subscribe();
        let task = spec.env.into_iter().find(|(name, _)| name == "MOSAIC_TASK_ID");
        let task = task.map(|(_, id)| id).unwrap_or_default();
        self.0.tasks.lock().insert(spec.agent, task.clone());
        Ok(Box::new(FakeJob { world: Arc::clone(&self.0), place, task, stopped, lapsed, speech }))
    }
    async fn adopt(&self, agent: AgentId, _: &Word) -> Result<Option<Adopted>, ProcessError> {
        let place = self.place(agent);
        let alive = self.0.alive.lock();
        let found = alive.get(&place).map(|p| (p.stop.subscribe(), Arc::clone(&p.lapsed)));
        Ok(found.map(|(stopped, lapsed)| {
            let speech = self.0.knobs.speech.subscribe();
            let task = self.0.tasks.lock().get(&agent).cloned().unwrap_or_default();
            let job = Box::new(FakeJob { world: Arc::clone(&self.0), place, task, stopped, lapsed, speech });
            Adopted { job, memo: None, rebooted: false }
        }))
    }
    async fn extend(&self, agent: AgentId, until: Option<Duration>) -> Result<(), ProcessError> {
        let place = self.place(agent);
        drop(self.0.lease(&place));
        if let Some(lease) = self.0.leases.lock().get(&place) {
            lease.send_replace(until);
        }
        Ok(())
    }
    async fn stop(&self, agent: AgentId, _: Duration) -> Result<StopReceipt, ProcessError> {
        self.0.frozen.lock().remove(&agent);
        self.0.stops.lock().push(agent);
        let stopped = self.0.alive.lock().remove(&self.place(agent));
        let processes_before = u32::from(stopped.is_some());
        if let Some(program) = stopped {
            program.stop.send_replace(true);
        }
        Ok(StopReceipt {
            processes_before,
            rung: "term".to_owned(),
            confinement: "fake".to_owned(),
            ..StopReceipt::default()
        })
    }
    async fn freeze(&self, agent: AgentId) -> Result<u32, ProcessError> {
        self.0.freezes.send_modify(|begun| *begun += 1);
        let _ = self.0.freezes_held.subscribe().wait_for(|held| !held).await;
        let runs = self.runs_here(agent);
        if runs {
            self.0.frozen.lock().insert(agent);
        }
        Ok(u32::from(runs))
    }
    async fn thaw(&self, agent: AgentId) -> Result<u32, ProcessError> {
        self.0.frozen.lock().remove(&agent);
        Ok(u32::from(self.runs_here(agent)))
    }
    async fn frozen_for(&self, agent: AgentId) -> Result<Option<Duration>, ProcessError> {
        Ok(self.0.frozen.lock().contains(&agent).then_some(Duration::ZERO))
    }
    async fn usage(&self, _: AgentId) -> Result<Usage, ProcessError> {
        Ok(self.0.knobs.usage())
    }
    async fn unfinished(&self) -> Result<Vec<AgentId>, ProcessError> {
        Ok(self.0.alive_on(self.1.as_str()))
    }
    async fn forget(&self, _: AgentId) -> Result<(), ProcessError> {
        Ok(())
    }
    async fn grouped(&self) -> Result<Vec<AgentId>, ProcessError> {
        Ok(Vec::new())
    }
}

#[async_trait]
impl OrderFiles for Part {
    async fn read(&self) -> Filed {
        self.0.disk().await;
        self.0.filed().clone()
    }
    async fn write_barrier(&self, barrier: &Barrier) -> std::io::Result<()> {
        self.0.disk().await;
        self.written(|filed| filed.orders.raise_placed(barrier.clone()))
    }
    async fn write_latch(&self, latch: Option<&Latch>) -> std::io::Result<()> {
        self.0.disk().await;
        self.written(|filed| {
            let stands = filed.orders.latch.take().filter(|_| latch.is_some());
            filed.orders.latch = stands.or(latch.cloned());
        })
    }
    async fn forget_kill(&self, agent: AgentId) -> std::io::Result<()> {
        self.0.disk().await;
        self.written(|filed| filed.kills.retain(|kill| kill.agent != agent))
    }
    fn stop_path(&self) -> String {
        "/nonexistent/STOP".to_owned()
    }
}

impl Part {
    fn written(&self, write: impl FnOnce(&mut Filed)) -> std::io::Result<()> {
        if self.0.no_files.load(Ordering::SeqCst) {
            return Err(std::io::ErrorKind::StorageFull.into());
        }
        write(&mut self.0.filed());
        Ok(())
    }
}

struct FakeDialogue;

impl Dialogue for FakeDialogue {
    fn start(&mut self) -> Vec<String> {
        Vec::new()
    }
    fn line(&mut self, line: &[u8]) -> Reaction {
        let text = String::from_utf8_lossy(line).into_owned();
        Reaction { events: vec![AgentEvent::Text { text }], ..Reaction::default() }
    }
    fn interrupt(&mut self) -> Option<String> {
        Some("interrupt\n".to_owned())
    }
    fn nudge(&mut self, text: &str) -> Option<String> {
        Some(format!("nudge: {text}\n"))
    }
    fn session(&self) -> Option<String> {
        None
    }
    fn outcome(&mut self, exit: &Exit) -> Outcome {
        match exit.code {
            Some(0) => Outcome::Completed { text: "done".to_owned() },
            _ => Outcome::Failed(Failure::new(FailureKind::Crash, "the program was stopped")),
        }
    }
}

#[async_trait]
impl Runtime for Part {
    fn name(&self) -> &'static str {
        "fake"
    }
    async fn probe(&self) -> Result<Probe, String> {
        self.0.knobs.works(self.1.as_str(), Broken::Program).map_err(|failure| failure.message)?;
        Ok(Probe { program: "fake".to_owned(), version: None })
    }
    async fn plan(&self, _: &LaunchRequest) -> Result<LaunchPlan, Failure> {
        self.0.knobs.works(self.1.as_str(), Broken::Program)?;
        let command = vec!["fake".to_owned()];
        Ok(LaunchPlan { command, env: Vec::new(), stdin: None, interrupt: None, session: None, lent: None })
    }
    fn dialogue(&self, _: &Opening) -> Box<dyn Dialogue> {
        Box::new(FakeDialogue)
    }
}

#[async_trait]
impl Gatekeeper for Part {
    async fn plan(&self, _: PlanRequest<'_>) -> Result<GatePlan, Failure> {
        Ok(GatePlan { trusted: true, ..GatePlan::default() })
    }
    async fn judge(&self, request: JudgeRequest) -> Result<GateReport, Failure> {
        Ok(GateReport::new(request.commit, Vec::new(), &request.plan))
    }
}

impl SecretScanner for Part {
    fn scan(&self, _: Option<&str>, _: &str) -> Vec<Secret> {
        Vec::new()
    }
}

#[async_trait]
impl Transcripts for Part {
    async fn append(
        &self,
        _: AgentId,
        _: Timestamp,
        _: u32,
        _: Mark,
        _: Vec<mosaic_core::ports::runtime::AgentEvent>,
    ) -> std::io::Result<()> {
        Ok(())
    }
    async fn told(&self, _: AgentId, _: u32) -> std::io::Result<Told> {
        Ok(Told::default())
    }
    async fn read(&self, _: AgentId, _: u64, _: usize) -> std::io::Result<Vec<Line>> {
        Ok(Vec::new())
    }
    fn watch(&self, _: AgentId) -> watch::Receiver<u64> {
        watch::Sender::new(0).subscribe()
    }
    fn raw(&self, _: AgentId, _: u32) -> PathBuf {
        PathBuf::from("/nonexistent")
    }
    async fn raw_files(&self, _: AgentId) -> std::io::Result<Vec<PathBuf>> {
        Ok(Vec::new())
    }
    async fn piece(&self, _: AgentId, _: &Path, _: u64, _: usize) -> std::io::Result<Vec<u8>> {
        Err(std::io::ErrorKind::NotFound.into())
    }
    fn log(&self, _: AgentId, _: &str) -> PathBuf {
        PathBuf::from("/nonexistent")
    }
    async fn shelved(&self) -> std::io::Result<Vec<Shelved>> {
        Ok(Vec::new())
    }
    async fn size(&self, _: AgentId) -> std::io::Result<u64> {
        Ok(0)
    }
    async fn discard(&self, _: AgentId) -> std::io::Result<u64> {
        Ok(0)
    }
}

#[async_trait]
impl Repositories for Part {
    fn allowed(&self, _: &RepositoryUrl) -> Result<(), String> {
        Ok(())
    }
    async fn fetch(&self, _: &RepositoryUrl, _: &BranchName, _: &BranchName) -> Result<RemoteState, Failure> {
        self.0.knobs.works(self.1.as_str(), Broken::Fetch)?;
        Ok(RemoteState { base: commit('b'), tip: None })
    }
    async fn make_tree(&self, request: &TreeRequest) -> Result<Worktree, Failure> {
        self.0.trees.lock().insert(self.place(request.agent));
        Ok(Worktree {
            agent: request.agent,
            path: PathBuf::from("/nonexistent"),
            reused: request.reuse,
            warnings: Vec::new(),
        })
    }
    async fn harvest(&self, _: &TreeRequest) -> Result<HarvestJob, Failure> {
        let outbox = PathBuf::from("/nonexistent");
        Ok(HarvestJob { command: vec!["harvest".to_owned()], env: Vec::new(), outbox })
    }
    async fn receive(&self, request: &TreeRequest, _: &Path) -> Result<Received, Failure> {
        if self.0.leaves_beside.load(Ordering::Relaxed) {
            self.0.salvaged.lock().insert(request.agent);
        }
        Ok(Kept::Commits { head: commit('c') }.into())
    }
    async fn snapshot(&self, request: &TreeRequest) -> Result<HarvestJob, Failure> {
        self.harvest(request).await
    }
    async fn receive_snapshot(&self, _: &TreeRequest, _: &Path) -> Result<Option<CommitId>, Failure> {
        Ok(Some(commit('c')))
    }
    async fn has_tree(&self, agent: AgentId) -> Result<bool, Failure> {
        Ok(!self.0.cleaned.lock().contains(&agent))
    }
    async fn salvage(&self, request: &TreeRequest) -> Result<HarvestJob, Failure> {
        if *self.0.stuck.lock() == Stuck::Salvage {
            return Err(Failure::new(FailureKind::Disk, "no room for the bundle"));
        }
        self.harvest(request).await
    }
    async fn receive_salvage(&self, request: &TreeRequest, _: &Path) -> Result<Option<Salvaged>, Failure> {
        self.0.salvaged.lock().insert(request.agent);
        self.salvaged(&request.repository, request.agent).await
    }
    async fn salvaged(&self, _: &RepositoryUrl, agent: AgentId) -> Result<Option<Salvaged>, Failure> {
        let known = self.0.salvaged.lock().contains(&agent);
        Ok(known.then(|| Salvaged { reference: format!("refs/mosaic/salvage/{agent}"), commit: commit('d') }))
    }
    async fn restore(&self, request: &RestoreRequest) -> Result<Option<Restored>, Failure> {
        let Some(salvage) = request.salvage.clone() else { return Ok(None) };
        let (path, branch) = (PathBuf::from("/restored").join(&request.name), request.branch.clone());
        Ok(Some(Restored { path, branch, head: request.head.clone(), salvage: Some(salvage) }))
    }
    async fn additions(
        &self,
        _: &RepositoryUrl,
        _: &CommitId,
        _: &CommitId,
        _: mpsc::Sender<Added>,
    ) -> Result<(), Failure> {
        Ok(())
    }
    async fn files_with(
        &self,
        _: &RepositoryUrl,
        _: &CommitId,
        _: &[String],
    ) -> Result<Vec<(String, Vec<u8>)>, Failure> {
        Ok(Vec::new())
    }
    async fn fit(&self, _: &RepositoryUrl, _: &BranchName, _: &CommitId) -> Result<Fit, Failure> {
        Ok(Fit::Clean(commit('b')))
    }
    async fn checkout_for_judging(&self, _: &JudgingRequest) -> Result<JudgingCheckout, Failure> {
        Ok(JudgingCheckout { path: PathBuf::from("/nonexistent"), warnings: Vec::new() })
    }
    async fn push(
        &self,
        _: &RepositoryUrl,
        _: &CommitId,
        branch: &BranchName,
        _: Option<&CommitId>,
        hold: &Hold,
    ) -> Result<Pushed, Failure> {
        self.0.knobs.works(self.1.as_str(), Broken::Push)?;
        let mood = *self.0.remote.lock();
        let lands = || self.0.pushed.lock().push((branch.to_string(), self.1.clone()));
        if matches!(mood, RemoteMood::TakesAtOnce | RemoteMood::Silent) {
            lands();
        }
        self.0.begun.send_modify(|begun| *begun += 1);
        let mut hangs = self.0.hangs.subscribe();
        let mut hold = hold.clone();
        loop {
            let left = hold.until().map(|until| until.saturating_sub(fake_knobs::elapsed()));
            if left.is_some_and(|left| left.is_zero()) {
                self.0.given_up.fetch_add(1, Ordering::SeqCst);
                return Err(Failure::new(FailureKind::Network, "the push was ended with its lease"));
            }
            tokio::select! {
                biased;
                _ = hangs.wait_for(|hangs| !*hangs) => break,
                () = tokio::time::sleep(left.unwrap_or(Duration::from_secs(1 << 30))) => {}
                () = hold.moved() => {}
            }
        }
        if mood == RemoteMood::Honest {
            lands();
        }
        Ok(Pushed::Done)
    }
    async fn filtered(
        &self,
        _: &RepositoryUrl,
        _: &CommitId,
        _: &CommitId,
    ) -> Result<Vec<FilteredPath>, Failure> {
        Ok(Vec::new())
    }
    async fn filters(&self, _: &RepositoryUrl, _: &CommitId) -> Result<Vec<FilterUse>, Failure> {
        Ok(Vec::new())
    }
    async fn shown(
        &self,
        _: &RepositoryUrl,
        branch: &BranchName,
        _: &BranchName,
        commits: &[CommitId],
    ) -> Result<Option<CommitId>, Failure> {
        match *self.0.remote.lock() {
            RemoteMood::Silent => Err(Failure::new(FailureKind::Network, "the remote does not answer")),
            RemoteMood::Lies => Ok(None),
            RemoteMood::Honest | RemoteMood::TakesAtOnce => {
                let has = self.0.pushed.lock().iter().any(|(pushed, _)| pushed == branch.as_str());
                Ok(commits.first().filter(|_| has).cloned())
            }
        }
    }
    async fn keep_remote_tip(
        &self,
        _: &RepositoryUrl,
        _: &BranchName,
        tip: &CommitId,
        agent: AgentId,
    ) -> Result<KeptRef, Failure> {
        let reference = format!("refs/agents/{agent}/replaced/{}", tip.short());
        Ok(KeptRef { reference, commit: tip.clone() })
    }
    async fn read_file(
        &self,
        _: &RepositoryUrl,
        _: &CommitId,
        _: &str,
        _: usize,
    ) -> Result<Option<Vec<u8>>, Failure> {
        Ok(None)
    }
    async fn list_files(&self, _: &RepositoryUrl, _: &CommitId, _: &str) -> Result<Vec<String>, Failure> {
        Ok(Vec::new())
    }
    async fn export(&self, _: &RepositoryUrl, _: &CommitId, _: &str, _: &Path) -> Result<(), Failure> {
        Ok(())
    }
    async fn diff(
        &self,
        _: &RepositoryUrl,
        _: &CommitId,
        _: &CommitId,
        _: DiffForm,
        _: usize,
    ) -> Result<(Vec<u8>, bool), Failure> {
        Ok((Vec::new(), false))
    }
    async fn stat(&self, _: &RepositoryUrl, _: &CommitId, _: &CommitId) -> Result<Vec<FileStat>, Failure> {
        Ok(Vec::new())
    }
    async fn remove(&self, agent: AgentId) -> Result<(), Failure> {
        if *self.0.stuck.lock() == Stuck::Removal {
            return Err(Failure::new(FailureKind::Internal, "something is mounted there"));
        }
        self.0.cleaned.lock().insert(agent);
        self.0.trees.lock().remove(&self.place(agent));
        Ok(())
    }
    fn store_of(&self, _: &RepositoryUrl) -> StoreName {
        StoreName("fake.git".to_owned())
    }
    async fn present(&self) -> Result<Vec<AgentId>, Failure> {
        Ok(self.0.trees_on(self.1.as_str()))
    }
    async fn stray_tree(&self, _: AgentId) -> Result<StrayTree, Failure> {
        Ok(StrayTree::None)
    }
    async fn kept_refs(&self) -> Result<Vec<KeptRefs>, Failure> {
        Ok(Vec::new())
    }
    async fn refs_of(&self, _: &StoreName, agent: AgentId, _: usize) -> Result<Vec<KeptRef>, Failure> {
        let place = self.place(agent);
        let mut kept = self.0.kept_on.lock();
        // What lies in a tree is kept before anybody asks for it.
        if self.0.trees.lock().contains(&place) {
            kept.insert(place.clone());
        }
        let one = || KeptRef { reference: format!("refs/mosaic/salvage/{agent}"), commit: commit('d') };
        Ok(kept.contains(&place).then(one).into_iter().collect())
    }
    async fn unmerged(
        &self,
        _: &StoreName,
        agent: AgentId,
        _: &[CommitId],
        _: usize,
    ) -> Result<Vec<UnmergedCommit>, Failure> {
        let one = || UnmergedCommit { commit: commit('d'), subject: "what an attempt left".to_owned() };
        Ok(self.0.kept_on.lock().contains(&self.place(agent)).then(one).into_iter().collect())
    }
    async fn forget(&self, _: &StoreName, _: AgentId) -> Result<(), Failure> {
        Ok(())
    }
    async fn abandon(&self, agent: AgentId) -> Result<u64, Failure> {
        self.remove(agent).await.map(|()| 0)
    }
    async fn keep_beside(&self, _: AgentId) -> Result<Vec<String>, Failure> {
        Ok(Vec::new())
    }
    async fn beside_bytes(&self, _: AgentId) -> Result<u64, Failure> {
        Ok(0)
    }
    async fn kept_beside(&self) -> Result<Vec<AgentId>, Failure> {
        Ok(Vec::new())
    }
    async fn tidy(&self, _: &[RepositoryUrl]) -> Result<Option<StoreName>, Failure> {
        Ok(None)
    }
}
