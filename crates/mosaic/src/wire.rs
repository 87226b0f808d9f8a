//! The only place that chooses adapters: turns the configuration into an orchestrator with its ports.

pub(crate) mod gates;
pub(crate) mod git;
mod isolation;
pub(crate) mod known;
mod runtimes;
pub(crate) mod store;

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::Context as _;
use mosaic_adapters::audit_file::FileAudit;
use mosaic_adapters::clock_system::{SystemChance, SystemClock};
use mosaic_adapters::data_dir::DirLock;
use mosaic_adapters::disk::{OffThread, drive};
use mosaic_adapters::gates_local::{GateCache, GateOptions, Toolchain, Trust as GateTrust};
use mosaic_adapters::git::GitRepositories;
use mosaic_adapters::host_system::SystemHost;
use mosaic_adapters::orders_files::{FileOrders, OrdersDir};
use mosaic_adapters::private_dirs::PrivateDirs;
use mosaic_adapters::process::{CgroupChoice, ProcessOptions, ShimProcesses};
use mosaic_adapters::sandbox_none::NoSandbox;
use mosaic_adapters::secret_scan::{KnownSecrets, RuleScanner};
use mosaic_adapters::short_dirs::ShortDirs;
use mosaic_adapters::store_sqlite::SqliteStore;
use mosaic_adapters::transcripts_files::FileTranscripts;
use mosaic_adapters::trash::Trash;
use mosaic_core::Orchestrator;
use mosaic_core::domain::capacity::CapacityLimits;
use mosaic_core::domain::ids::AgentId;
use mosaic_core::domain::orders::{Barrier, KillOrder, Latch};
use mosaic_core::ports::Ports;
use mosaic_core::ports::gatekeeper::Gatekeeper;
use mosaic_core::ports::processes::{ProcessError, Processes, StopReceipt};
use mosaic_core::ports::repositories::{Commits, Intake, KeptWork, Publisher, Trees};
use mosaic_core::ports::sandbox::{Probe, Sandbox, SandboxError};
use mosaic_core::ports::store::StoreError;
use mosaic_core::settings::Settings;

use crate::config::{Config, Containment, Trust, real_env};

/// Directory of setups and verdicts that may be used again, in the data directory.
pub(crate) const GATE_CACHE: &str = "gate-cache";

/// Longest time for writing down an order: a disk that hangs keeps nobody alive.
const ORDER_WRITE: Duration = Duration::from_secs(5);

/// Wrappers that the ports get on their way from the adapters to the core. Production uses [`PortWrappers::PLAIN`].
#[derive(Clone, Copy)]
pub struct PortWrappers {
    /// Put around the processes, before any adapter that starts jobs gets them.
    pub processes: fn(Arc<dyn Processes>) -> Arc<dyn Processes>,
    /// Put around the ports. The processes among them are wrapped already.
    pub ports: fn(Ports) -> Ports,
}

impl PortWrappers {
    /// Nothing at all.
    pub const PLAIN: Self = Self { processes: |processes| processes, ports: |ports| ports };
}

/// Chosen once by the program's `main`, for every server that it starts.
static WRAPPERS: OnceLock<PortWrappers> = OnceLock::new();

/// Installs the wrappers of what is wired from now on. The first choice stays.
pub(crate) fn install(wrappers: PortWrappers) {
    WRAPPERS.get_or_init(|| wrappers);
}

/// Settings of a caller that are not part of the configuration.
#[derive(Debug, Clone, Default)]
pub(crate) struct Overrides {
    /// A local repository that may be used although local ones are not allowed in general.
    pub(crate) allowed_repository: Option<PathBuf>,
    /// The file of approved digests, when it is not the data directory's own.
    pub(crate) trusted: Option<PathBuf>,
    /// The directory of setups and verdicts that may be used again, when it is not the data directory's own.
    pub(crate) gate_cache: Option<PathBuf>,
    /// The soft limit of open files that this program was started with, where it has raised its own.
    pub(crate) open_files: Option<u64>,
}

/// An orchestrator with what must be looked after besides it.
pub(crate) struct Wired {
    pub(crate) orchestrator: Arc<Orchestrator>,
    trash: Arc<Trash>,
    short: Arc<ShortDirs>,
    gate_cache: Arc<GateCache>,
    /// Where the damaged store lies that was found, if one was.
    pub(crate) set_aside: Option<PathBuf>,
    /// The values that must not leave this server.
    pub(crate) known: Arc<KnownSecrets>,
    /// Keeps other servers away from the data directory where the store does not.
    _lock: Option<DirLock>,
}

/// Opens the store and puts everything together. Errors with a [`StoreError`] when it is the store that cannot be used.
pub(crate) async fn wire(config: &Config, overrides: &Overrides) -> anyhow::Result<Wired> {
    let data = &config.data_dir;
    let opened = store::open(config).await?;
    store::settle(config, &opened).await?;
    let store::Opened { store, fleet, external_queue, set_aside, lock } = opened;
    let self_exe = std::env::current_exe().context("the path of this program cannot be read")?;
    let path_env = std::env::var("PATH").unwrap_or_else(|_| "/usr/local/bin:/usr/bin:/bin".to_owned());
    // The adapters compare paths, so they must all see the same one.
    let data = &data.canonicalize().context("the data directory has no absolute path")?;
    // Two servers never write one log: the store's lock keeps them apart, and the log's own.
    let audit =
        FileAudit::open(data, &config.node, config.keep_audit).context("the audit log cannot be opened")?;
    let trash = Arc::new(Trash::new(data.clone()));
    let known = known::of_settings(config);
    let mut options = git::options(config, &self_exe, overrides.allowed_repository.as_ref());
    options.credentials.known = Some(Arc::clone(&known));
    // Every call reads it anew, and says so when it cannot.
    let _ = options.credentials.learn_file();
    options.trash = Some(trash.clone());
    let identity = options.identity();
    let git = Arc::new(GitRepositories::new(options).context("the git adapter cannot start")?);
    let short = Arc::new(ShortDirs::new(data.clone(), trash.clone()));
    let passed = passed_variables(config, &known);
    let dirs = PrivateDirs::new(data.clone(), path_env.clone(), trash.clone())
        .with_short_dirs(short.clone())
        .passing(passed.clone())
        .with_identity(identity);
    let sandbox: Arc<dyn Sandbox> = Arc::new(OffThread::<dyn Sandbox>::new(sandbox(dirs)));
    let wrappers = WRAPPERS.get().unwrap_or(&PortWrappers::PLAIN);
    let jobs = ProcessOptions {
        trash: Some(trash.clone()),
        open_files: overrides.open_files,
        ..process_options(data, &self_exe, containment(config))
    };
    let jobs = ShimProcesses::new(jobs).with_most_processes(config.agent_processes);
    let processes = (wrappers.processes)(Arc::new(jobs));
    let transcripts = Arc::new(FileTranscripts::new(data.join("transcripts")));
    let (clock, scanner) = (Arc::new(SystemClock), Arc::new(RuleScanner::knowing(Arc::clone(&known))));
    let gate_cache = gate_cache(config, overrides, data);
    let tools = Toolchain { path: path_env.clone(), passed };
    let gates = GateOptions {
        processes: processes.clone(),
        transcripts: transcripts.clone(),
        clock: clock.clone(),
        scanner: scanner.clone(),
        trust: gate_trust(config, overrides, data),
        trash: trash.clone(),
        sandbox: sandbox.clone(),
        isolator: Arc::new(isolation::isolator(config, &self_exe, data, &short)),
        at_once: isolation::gates_at_once(),
        variable: isolation::variable(&known),
    };
    let gatekeeper = gates::gatekeeper(config, gates, (gate_cache.clone(), tools));
    let ports = Ports {
        store,
        external_queue,
        clock,
        chance: Arc::new(SystemChance),
        trees: Arc::new(OffThread::<dyn Trees>::new(git.clone())),
        intake: Arc::new(OffThread::<dyn Intake>::new(git.clone())),
        commits: Arc::new(OffThread::<dyn Commits>::new(git.clone())),
        publisher: Arc::new(OffThread::<dyn Publisher>::new(git.clone())),
        kept_work: Arc::new(OffThread::<dyn KeptWork>::new(git)),
        sandbox,
        processes,
        runtimes: runtimes::all(config, &self_exe, &path_env, &known),
        gatekeeper: Arc::new(OffThread::<dyn Gatekeeper>::new(gatekeeper)),
        scanner,
        transcripts,
        audit: Arc::new(audit),
        host: Arc::new(host(data, &short)),
        orders: Arc::new(FileOrders::new(data)),
        fleet,
    };
    let orchestrator = Orchestrator::new((wrappers.ports)(ports), settings(config)?);
    Ok(Wired { orchestrator, trash, short, gate_cache, set_aside, known, _lock: lock })
}

/// Returns the variables of this server that agents get. Those that hold secrets are known from here on, before any agent can print
/// one of them.
fn passed_variables(config: &Config, known: &KnownSecrets) -> Vec<(String, String)> {
    let passed = crate::agent_env::passed(&config.agent_env, &real_env);
    for (name, secret) in crate::agent_env::secrets(&passed) {
        known::learn(known, &name, &secret);
    }
    passed
}

/// Returns this machine as the core sees it: the disks that it looks at are those of the state.
fn host(data: &Path, short: &Arc<ShortDirs>) -> SystemHost {
    SystemHost::new(data)
        .also(["agents", "repos", "transcripts"].map(|part| data.join(part)))
        .with_short_dirs(short.clone())
}

/// Returns the cache of setups and verdicts.
fn gate_cache(config: &Config, overrides: &Overrides, data: &Path) -> Arc<GateCache> {
    let root = overrides.gate_cache.clone().unwrap_or_else(|| data.join(GATE_CACHE));
    Arc::new(GateCache::new(root, config.gate_cache))
}

/// Returns whose gate commands are run.
fn gate_trust(config: &Config, overrides: &Overrides, data: &Path) -> GateTrust {
    match config.trust {
        Some(Trust::All) | None => GateTrust::All,
        Some(Trust::Ask) => {
            GateTrust::Known(overrides.trusted.clone().unwrap_or_else(|| crate::trust::file(data)))
        }
    }
}

/// Returns the process adapter's setting for the configured mechanism.
fn containment(config: &Config) -> CgroupChoice {
    match config.containment {
        Containment::Auto => CgroupChoice::Auto,
        Containment::PidNamespace => CgroupChoice::PidNamespace,
        Containment::Subreaper => CgroupChoice::Off,
    }
}

fn process_options(data: &Path, self_exe: &Path, cgroup: CgroupChoice) -> ProcessOptions {
    ProcessOptions {
        data_dir: data.to_owned(),
        shim_command: vec![self_exe.display().to_string(), "shim".to_owned()],
        cgroup,
        trash: None,
        open_files: None,
    }
}

fn processes(data: &Path, self_exe: &Path, cgroup: CgroupChoice) -> ShimProcesses {
    ShimProcesses::new(process_options(data, self_exe, cgroup))
}

/// Access to the agents of a data directory without a server: their shims, and the orders that are left for the next
/// server.
pub(crate) struct Reach {
    processes: ShimProcesses,
    orders: Arc<OrdersDir>,
}

impl Reach {
    /// Opens nothing: everything is looked up when it is asked for.
    pub(crate) fn of(data: &Path) -> anyhow::Result<Self> {
        let data = data.canonicalize().with_context(|| format!("{} cannot be reached", data.display()))?;
        let self_exe = std::env::current_exe().context("the path of this program cannot be read")?;
        let processes = processes(&data, &self_exe, CgroupChoice::Auto);
        Ok(Self { processes, orders: Arc::new(OrdersDir::new(&data)) })
    }

    /// Lists the agents that are there.
    pub(crate) async fn present(&self) -> anyhow::Result<Vec<AgentId>> {
        self.processes.present().await.context("what runs here cannot be listed")
    }

    /// Stops one and proves it.
    pub(crate) async fn stop(&self, agent: AgentId, grace: Duration) -> Result<StopReceipt, ProcessError> {
        self.processes.stop(agent, grace).await
    }

    /// Leaves the order to end one agent; false when it could not be written.
    pub(crate) async fn leave_kill(&self, order: KillOrder) -> bool {
        self.leave(move |orders| orders.write_kill(&order)).await
    }

    /// Leaves the order to end everything.
    pub(crate) async fn leave_barrier(&self, barrier: Barrier) -> bool {
        self.leave(move |orders| orders.write_barrier(&barrier)).await
    }

    /// Leaves the kill switch engaged.
    pub(crate) async fn leave_latch(&self, latch: Latch) -> bool {
        self.leave(move |orders| orders.write_latch(Some(&latch))).await
    }

    async fn leave(&self, write: impl FnOnce(&OrdersDir) -> std::io::Result<()> + Send + 'static) -> bool {
        let orders = Arc::clone(&self.orders);
        let written = tokio::task::spawn_blocking(move || write(&orders));
        // A thread that hangs on the disk cannot be cancelled, so only the wait for it ends here.
        match tokio::time::timeout(ORDER_WRITE, written).await {
            Ok(Ok(Ok(()))) => true,
            Ok(Ok(Err(e))) => {
                crate::session::say(&format!("warning: the order cannot be written: {e}"));
                false
            }
            _ => false,
        }
    }
}

/// Stops what a server that is gone left running in this data directory, and verifies it. Returns how many agents
/// that were. Errors with [`StoreError::InUse`] when a server is there after all.
pub(crate) async fn stop_left(data: &Path) -> anyhow::Result<usize> {
    let Ok(data) = data.canonicalize() else { return Ok(0) };
    if !data.join("mosaic.db").exists() {
        return Ok(0);
    }
    // Held until everything is stopped. A store that cannot be opened has no server either.
    let _store = match SqliteStore::open(&data) {
        Err(e @ StoreError::InUse(_)) => return Err(e.into()),
        opened => opened.ok(),
    };
    let self_exe = std::env::current_exe().context("the path of this program cannot be read")?;
    let processes = processes(&data, &self_exe, CgroupChoice::Auto);
    let left = processes.unfinished().await.context("what was left running cannot be listed")?;
    for id in &left {
        let stopped = processes.stop(*id, Duration::ZERO).await;
        stopped.with_context(|| format!("what is left of agent {id} cannot be stopped"))?;
    }
    Ok(left.len())
}

fn settings(config: &Config) -> anyhow::Result<Settings> {
    Ok(Settings {
        node: config.node.parse().context("MOSAIC_NODE is not a usable name")?,
        slots: config.slots,
        repository_slots: config.repository_slots,
        repository_fleet_slots: config.repository_fleet_slots,
        branch_prefix: config.branch_prefix.clone(),
        default_runtime: config.runtime.parse().context("MOSAIC_RUNTIME is not a usable name")?,
        allow_incomplete_strict: config.allow_incomplete_strict,
        require_skills: config.require_skills,
        skills_dir: config.skills_dir.clone(),
        kill_grace: config.kill_grace,
        stall: config.stall,
        capacity: CapacityLimits { memory_bytes: config.memory_floor, load_per_core: config.load_ceiling },
        retention: config.retention,
    })
}

/// Makes the configured sandbox: this build has one.
fn sandbox(dirs: PrivateDirs) -> Arc<dyn Sandbox> {
    Arc::new(NoSandbox::new(dirs))
}

/// Asks the configured sandbox whether it can be used here. Nothing is made.
pub(crate) fn probe_sandbox(config: &Config) -> Result<Probe, SandboxError> {
    let trash = Arc::new(Trash::new(config.data_dir.clone()));
    let sandbox = sandbox(PrivateDirs::new(config.data_dir.clone(), "", trash));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(SandboxError::NoAnswer)?.block_on(sandbox.probe())
}

/// Returns what holds agents together on this machine, and why it is that.
pub(crate) fn held_together_by(config: &Config) -> (&'static str, String) {
    let processes = processes(Path::new(""), Path::new(""), containment(config));
    let (word, why) = processes.containment();
    (word, format!("{why}; how many there are is bounded by {}", processes.bounded_by()))
}

impl Wired {
    /// Goes on deleting what an earlier server had begun to delete, and deletes what it had begun to make. What agents
    /// left is the caretaker's.
    pub(crate) fn sweep(&self) {
        if let Err(e) = self.trash.discard_half_made() {
            tracing::warn!(error = %e, "what an earlier server had begun to make could not be deleted");
        }
        if let Err(e) = self.trash.empty() {
            tracing::warn!(error = %e, "trash could not be emptied");
        }
        if let Err(e) = self.gate_cache.sweep() {
            tracing::warn!(error = %e, "the trash of the cache of gates could not be emptied");
        }
        if let Err(e) = self.short.sweep() {
            tracing::warn!(error = %e, "temporary directories of agents could not be swept");
        }
    }

    /// Waits until what is being deleted in the background is gone.
    pub(crate) async fn idle(&self) {
        let (trash, short) = (Arc::clone(&self.trash), Arc::clone(&self.short));
        let both = async move {
            trash.idle().await;
            short.idle().await;
        };
        if let Err(e) = drive(both).await {
            tracing::warn!(error = %e, "deletions could not be waited for");
        }
    }
}

/// Tells whether a data directory holds work of an agent that is not on its branch.
pub(crate) fn holds_work(data: &Path, agent: &str) -> bool {
    // What is no id names nothing that could be looked for.
    agent.parse().is_ok_and(|agent| mosaic_adapters::git::holds_work(data, agent))
}
