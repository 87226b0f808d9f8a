//! A server's data directory with its real store, git and files, an orchestrator on it, and a clock that can be moved.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use mosaic_adapters::clock_system::{SystemChance, SystemClock};
use mosaic_adapters::gates_local::{GateOptions, LocalGatekeeper, Trust};
use mosaic_adapters::git::{GitOptions, GitRepositories};
use mosaic_adapters::host_system::SystemHost;
use mosaic_adapters::isolation::Isolator;
use mosaic_adapters::orders_files::FileOrders;
use mosaic_adapters::private_dirs::PrivateDirs;
use mosaic_adapters::sandbox_none::NoSandbox;
use mosaic_adapters::secret_scan::RuleScanner;
use mosaic_adapters::store_sqlite::SqliteStore;
use mosaic_adapters::transcripts_files::FileTranscripts;
use mosaic_adapters::trash::Trash;
use mosaic_core::Orchestrator;
use mosaic_core::caretaker::Rounds;
use mosaic_core::caretaker::report::CareReport;
use mosaic_core::domain::agent::{Agent, Status};
use mosaic_core::domain::ids::{AgentId, CommitId, Timestamp, Word};
use mosaic_core::domain::outcome::EndReason;
use mosaic_core::domain::retention::Retention;
use mosaic_core::ports::Ports;
use mosaic_core::ports::clock::Clock;
use mosaic_core::ports::processes::{Adopted, Job, JobSpec, ProcessError, Processes, StopReceipt, Usage};
use mosaic_core::ports::repositories::{Publisher, TreeRequest, Trees};
use mosaic_core::ports::store::{Change, Safety, Store};
use mosaic_core::ports::transcripts::Transcripts;
use mosaic_core::settings::Settings;
use mosaic_testkit::fakes::audit::FakeAudit;
use mosaic_testkit::fakes::plain_processes::PlainProcesses;
use mosaic_testkit::git_fixture::Fixture;
use mosaic_testkit::store_suite::sample::{admit, agent_from, fact, settled};
use serde_json::json;

/// Real time, moved forward.
#[derive(Default)]
pub(crate) struct MovedClock(AtomicU64);

#[async_trait]
impl Clock for MovedClock {
    fn now(&self) -> Timestamp {
        Timestamp::from(SystemTime::now()).plus(Duration::from_secs(self.0.load(Ordering::SeqCst)))
    }
    fn elapsed(&self) -> Duration {
        SystemClock.elapsed()
    }
    async fn sleep(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }
}

/// Plain jobs, whose records' directory goes with the last of them, as that of supervised ones.
struct Jobs(PlainProcesses, PathBuf);

#[async_trait]
impl Processes for Jobs {
    async fn start(&self, spec: JobSpec) -> Result<Box<dyn Job>, ProcessError> {
        self.0.start(spec).await
    }
    async fn adopt(&self, _: AgentId, _: &Word) -> Result<Option<Adopted>, ProcessError> {
        Ok(None)
    }
    async fn usage(&self, agent: AgentId) -> Result<Usage, ProcessError> {
        self.0.usage(agent).await
    }
    async fn stop(&self, agent: AgentId, grace: Duration) -> Result<StopReceipt, ProcessError> {
        self.0.stop(agent, grace).await
    }
    async fn unfinished(&self) -> Result<Vec<AgentId>, ProcessError> {
        self.0.unfinished().await
    }
    async fn forget(&self, agent: AgentId) -> Result<(), ProcessError> {
        // One in which something is left stays.
        let _ = std::fs::remove_dir(self.1.join("agents").join(agent.to_string()));
        self.0.forget(agent).await
    }
    async fn grouped(&self) -> Result<Vec<AgentId>, ProcessError> {
        self.0.grouped().await
    }
}

pub(crate) struct CaretakerTestbed {
    pub(crate) fixture: Fixture,
    pub(crate) store: Arc<SqliteStore>,
    pub(crate) git: Arc<GitRepositories>,
    pub(crate) transcripts: Arc<FileTranscripts>,
    pub(crate) o: Arc<Orchestrator>,
    pub(crate) rounds: Rounds,
    clock: Arc<MovedClock>,
    data: PathBuf,
}

impl CaretakerTestbed {
    pub(crate) fn new() -> Self {
        Self::retaining(Retention::default(), None)
    }

    /// Makes a place; `program` stands in for the program that harvests.
    pub(crate) fn retaining(retention: Retention, program: Option<PathBuf>) -> Self {
        let fixture = Fixture::new();
        let data = fixture.path().join("data");
        let store = Arc::new(SqliteStore::open(&data).unwrap());
        let data = data.canonicalize().unwrap();
        let own = program.unwrap_or_else(|| crate::programs::example("shim"));
        let mut options = GitOptions::new(&data, own);
        options.allow_local = true;
        let git = Arc::new(GitRepositories::new(options).unwrap());
        let trash = Arc::new(Trash::new(&data));
        let processes = Arc::new(Jobs(PlainProcesses::new(), data.clone()));
        let transcripts = Arc::new(FileTranscripts::new(data.join("transcripts")));
        let (clock, scanner) = (Arc::new(MovedClock::default()), Arc::new(RuleScanner::new()));
        let dirs = PrivateDirs::new(&data, std::env::var("PATH").unwrap(), trash.clone());
        let sandbox = Arc::new(NoSandbox::new(dirs));
        let gates = LocalGatekeeper::new(GateOptions {
            sandbox: sandbox.clone(),
            processes: processes.clone(),
            transcripts: transcripts.clone(),
            clock: clock.clone(),
            scanner: scanner.clone(),
            trust: Trust::All,
            trash: trash.clone(),
            isolator: Arc::new(Isolator::off("its jobs run without a shim")),
            at_once: 1,
            variable: Arc::new(|_| None),
        });
        let ports = Ports {
            store: store.clone(),
            external_queue: Arc::new(mosaic_core::ports::external_queue::NoExternalQueue),
            clock: clock.clone(),
            chance: Arc::new(SystemChance),
            trees: git.clone(),
            intake: git.clone(),
            commits: git.clone(),
            publisher: git.clone(),
            kept_work: git.clone(),
            sandbox,
            processes,
            runtimes: BTreeMap::new(),
            gatekeeper: Arc::new(gates),
            scanner,
            transcripts: transcripts.clone(),
            host: Arc::new(SystemHost::new(&data)),
            audit: Arc::new(FakeAudit::default()),
            orders: Arc::new(FileOrders::new(&data)),
            fleet: Arc::new(mosaic_adapters::fleet_sole::SoleNode::new()),
        };
        let (node, runtime) = ("here".parse().unwrap(), "none".parse().unwrap());
        let settings = Settings { kill_grace: Duration::ZERO, retention, ..Settings::of(node, 1, runtime) };
        let o = Orchestrator::new(ports, settings);
        Self { fixture, store, git, transcripts, o, rounds: Rounds::default(), clock, data }
    }

    pub(crate) fn pass_days(&self, days: u64) {
        self.clock.0.fetch_add(days * 86_400, Ordering::SeqCst);
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Does one round of the caretaker.
    pub(crate) async fn round(&mut self) -> CareReport {
        self.o.care_round(&mut self.rounds).await;
        self.git.idle().await;
        self.o.care()
    }

    pub(crate) fn own(&self, agent: AgentId) -> PathBuf {
        self.data.join("agents").join(agent.to_string())
    }

    pub(crate) fn agent(&self, task: &str) -> Agent {
        let context = json!({"repository": self.fixture.url(), "branch": "main"});
        agent_from(json!({"taskId": task, "context": context}), self.now())
    }

    /// Makes the agent's tree and writes a file into it.
    pub(crate) async fn tree(&self, agent: &Agent) -> TreeRequest {
        let context = &agent.spec.context;
        let remote = self.git.fetch(&context.repository, &context.branch, &agent.branch).await.unwrap();
        let request = TreeRequest {
            agent: agent.id,
            task: agent.spec.task_id.to_string(),
            repository: context.repository.clone(),
            base_branch: context.branch.clone(),
            branch: agent.branch.clone(),
            start: remote.base.clone(),
            base: remote.base,
            reuse: false,
            unreceived: false,
        };
        let tree = self.git.make_tree(&request).await.unwrap();
        std::fs::write(tree.path.join("work.txt"), "precious\n").unwrap();
        request
    }

    pub(crate) fn repository(&self) -> PathBuf {
        std::fs::read_dir(self.data.join("repos")).unwrap().next().unwrap().unwrap().path()
    }

    /// Runs git in the server's bare repository.
    pub(crate) fn store_git(&self, args: &[&str]) -> String {
        self.fixture.run(&self.repository(), args)
    }

    pub(crate) fn store_has(&self, args: &[&str]) -> bool {
        self.fixture.try_run(&self.repository(), args).is_some()
    }

    /// Makes a commit on top of main in the store and keeps it for the agent, as a harvest does.
    pub(crate) fn keep_commit(&self, agent: &Agent) -> CommitId {
        let tree = self.store_git(&["rev-parse", "refs/heads/main^{tree}"]);
        let message = format!("made by {}", agent.name);
        let commit = self.store_git(&["commit-tree", &tree, "-p", "refs/heads/main", "-m", &message]);
        self.store_git(&["update-ref", &format!("refs/agents/{}/head", agent.id), &commit]);
        commit.parse().unwrap()
    }

    /// Writes the record of an agent that has ended now.
    pub(crate) async fn record_ended(&self, agent: Agent) {
        let read = admit(&*self.store, &agent).await;
        let end = settled(agent.clone(), Status::Failed, EndReason::AgentError, self.now());
        let facts = vec![fact("agent.failed", &agent, self.now())];
        let change = Change { safety: Safety::Power, agent: end, facts };
        self.store.amend(vec![(read.version, change)]).await.unwrap().remove(0).unwrap();
    }

    /// Writes a log of this many bytes for an agent, last touched so many days ago.
    pub(crate) fn log(&self, agent: AgentId, bytes: usize, days: u64) {
        let path = self.transcripts.log(agent, "gate-x");
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, vec![b'x'; bytes]).unwrap();
        let at = SystemTime::now() - Duration::from_secs(days * 86_400);
        for path in [path.as_path(), path.parent().unwrap()] {
            std::fs::File::open(path).unwrap().set_modified(at).unwrap();
        }
    }
}
