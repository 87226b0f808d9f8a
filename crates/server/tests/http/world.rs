//! A server in a fake world, and how a test talks to it.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request};
use futures_util::StreamExt;
use mosaic_core::Orchestrator;
use mosaic_core::domain::agent::{Agent, State, Turn};
use mosaic_core::domain::gates::{GatePlan, GateReport};
use mosaic_core::domain::ids::{AgentId, BranchName, CommitId, Timestamp};
use mosaic_core::domain::outcome::{Failure, FailureKind};
use mosaic_core::domain::repository::RepositoryUrl;
use mosaic_core::orchestrator::{Ports, Settings};
use mosaic_core::ports::clock::{Chance, Clock};
use mosaic_core::ports::gatekeeper::{Gatekeeper, JudgeRequest, PlanRequest};
use mosaic_core::ports::host::Host;
use mosaic_core::ports::processes::{Job, JobSpec, ProcessError, Processes, StopReceipt};
use mosaic_core::ports::repositories::{
    Added, FileStat, Fit, HarvestJob, Kept, Pushed, RemoteState, Repositories, TreeRequest, Worktree,
};
use mosaic_core::ports::runtime::{AgentEvent, Dialogue, LaunchPlan, LaunchRequest, Probe, Runtime};
use mosaic_core::ports::sandbox::{Confinement, Sandbox};
use mosaic_core::ports::scanner::{Secret, SecretScanner};
use mosaic_core::ports::store::{Change, Lease, Store};
use mosaic_core::ports::transcripts::{Line, Transcripts};
use mosaic_server::{Auth, ServerOptions, router};
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};
use tower::ServiceExt;

use crate::faulty_store::FaultyStore;

/// The token every test uses.
pub(crate) const TOKEN: &str = "correct-horse-battery-staple";
/// How much faster than the real one the tests' clock waits.
const HASTE: u32 = 50;
/// Longest time a test waits for anything.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

struct HastyClock;

#[async_trait]
impl Clock for HastyClock {
    fn now(&self) -> Timestamp {
        SystemTime::now().into()
    }
    async fn sleep(&self, time: Duration) {
        tokio::time::sleep(time / HASTE).await;
    }
}

struct RealIds;

impl Chance for RealIds {
    fn agent_id(&self) -> AgentId {
        AgentId(uuid::Uuid::new_v4())
    }
    fn dice(&self) -> f64 {
        0.5
    }
}

fn unused() -> Failure {
    Failure::new(FailureKind::Internal, "not part of this test")
}

/// Git as far as the server asks it.
#[derive(Default)]
pub(crate) struct StubRepositories {
    pub(crate) diff: Mutex<(Vec<FileStat>, Vec<u8>)>,
}

#[async_trait]
impl Repositories for StubRepositories {
    fn allowed(&self, repository: &RepositoryUrl) -> Result<(), String> {
        match repository.needs_local_permission() {
            true => Err("local repositories are not allowed; set MOSAIC_ALLOW_LOCAL_REPOSITORIES=true".to_owned()),
            false => Ok(()),
        }
    }
    async fn fetch(&self, url: &RepositoryUrl, base: &BranchName, _: &BranchName) -> Result<RemoteState, Failure> {
        if url.as_str().contains("unreachable") {
            return Err(Failure::new(FailureKind::Network, "host did not answer"));
        }
        if base.as_str() == "missing" {
            return Err(Failure::new(FailureKind::MissingBranch, "no branch missing"));
        }
        Ok(RemoteState { base: commit('a'), tip: None })
    }
    async fn make_tree(&self, _: &TreeRequest) -> Result<Worktree, Failure> {
        Err(unused())
    }
    async fn harvest(&self, _: &TreeRequest) -> Result<HarvestJob, Failure> {
        Err(unused())
    }
    async fn receive(&self, _: &TreeRequest, _: &Path) -> Result<Kept, Failure> {
        Err(unused())
    }
    async fn additions(
        &self,
        _: &RepositoryUrl,
        _: &CommitId,
        _: &CommitId,
        _: mpsc::Sender<Added>,
    ) -> Result<(), Failure> {
        Err(unused())
    }
    async fn fit(&self, _: &RepositoryUrl, _: &BranchName, _: &CommitId) -> Result<Fit, Failure> {
        Err(unused())
    }
    async fn checkout_for_judging(
        &self,
        _: &RepositoryUrl,
        _: AgentId,
        _: &CommitId,
        _: &str,
    ) -> Result<PathBuf, Failure> {
        Err(unused())
    }
    async fn push(
        &self,
        _: &RepositoryUrl,
        _: &CommitId,
        _: &BranchName,
        _: Option<&CommitId>,
    ) -> Result<Pushed, Failure> {
        Err(unused())
    }
    async fn read_file(
        &self,
        _: &RepositoryUrl,
        _: &CommitId,
        _: &str,
        _: usize,
    ) -> Result<Option<Vec<u8>>, Failure> {
        Err(unused())
    }
    async fn list_files(&self, _: &RepositoryUrl, _: &CommitId, _: &str) -> Result<Vec<String>, Failure> {
        Err(unused())
    }
    async fn export(&self, _: &RepositoryUrl, _: &CommitId, _: &str, _: &Path) -> Result<(), Failure> {
        Err(unused())
    }
    async fn diff(
        &self,
        _: &RepositoryUrl,
        _: &CommitId,
        _: &CommitId,
        most: usize,
    ) -> Result<(Vec<u8>, bool), Failure> {
        let mut text = self.diff.lock().expect("no test panics with it").1.clone();
        let cut = text.len() > most;
        text.truncate(most);
        Ok((text, cut))
    }
    async fn stat(&self, _: &RepositoryUrl, _: &CommitId, _: &CommitId) -> Result<Vec<FileStat>, Failure> {
        Ok(self.diff.lock().expect("no test panics with it").0.clone())
    }
    async fn remove(&self, _: AgentId) -> Result<(), Failure> {
        Ok(())
    }
}

struct Nothing;

#[async_trait]
impl Sandbox for Nothing {
    fn name(&self) -> &'static str {
        "none"
    }
    async fn confine(&self, _: AgentId) -> Result<Confinement, Failure> {
        Err(unused())
    }
    async fn release(&self, _: AgentId) -> Result<(), Failure> {
        Ok(())
    }
}

#[async_trait]
impl Processes for Nothing {
    async fn start(&self, _: JobSpec) -> Result<Box<dyn Job>, ProcessError> {
        Err(ProcessError::Lost("no processes here".to_owned()))
    }
    async fn stop(&self, _: AgentId, _: Duration) -> Result<StopReceipt, ProcessError> {
        Ok(StopReceipt::default())
    }
    async fn unfinished(&self) -> Result<Vec<AgentId>, ProcessError> {
        Ok(Vec::new())
    }
    async fn forget(&self, _: AgentId) -> Result<(), ProcessError> {
        Ok(())
    }
}

#[async_trait]
impl Runtime for Nothing {
    fn name(&self) -> &'static str {
        "demo"
    }
    async fn probe(&self) -> Result<Probe, String> {
        Err("no runtime here".to_owned())
    }
    async fn plan(&self, _: &LaunchRequest) -> Result<LaunchPlan, Failure> {
        Err(unused())
    }
    fn dialogue(&self, _: &LaunchRequest) -> Box<dyn Dialogue> {
        unreachable!("nothing is launched here")
    }
}

#[async_trait]
impl Gatekeeper for Nothing {
    fn plan(&self, _: PlanRequest<'_>) -> Result<GatePlan, Failure> {
        Err(unused())
    }
    async fn judge(&self, _: JudgeRequest) -> Result<GateReport, Failure> {
        Err(unused())
    }
}

impl SecretScanner for Nothing {
    fn scan(&self, _: Option<&str>, _: &str) -> Vec<Secret> {
        Vec::new()
    }
}

/// A machine whose disk and git can fail.
#[derive(Default)]
pub(crate) struct StubHost {
    pub(crate) free: AtomicU64,
    pub(crate) no_git: AtomicBool,
}

#[async_trait]
impl Host for StubHost {
    async fn free_bytes(&self) -> Result<u64, String> {
        Ok(self.free.load(Ordering::SeqCst))
    }
    async fn git_version(&self) -> Result<String, String> {
        match self.no_git.load(Ordering::SeqCst) {
            true => Err("git is not installed; apt install git".to_owned()),
            false => Ok("2.47.0".to_owned()),
        }
    }
}

/// Transcripts in memory, raw files in a directory.
pub(crate) struct StubTranscripts {
    directory: tempfile::TempDir,
    lines: Mutex<HashMap<AgentId, Vec<Line>>>,
    newest: watch::Sender<u64>,
}

#[async_trait]
impl Transcripts for StubTranscripts {
    async fn append(
        &self,
        agent: AgentId,
        at: Timestamp,
        attempt: u32,
        events: Vec<AgentEvent>,
    ) -> std::io::Result<()> {
        let mut all = self.lines.lock().expect("no test panics with it");
        let lines = all.entry(agent).or_default();
        for event in events {
            lines.push(Line { n: lines.len() as u64 + 1, at, attempt, event });
        }
        self.newest.send_modify(|n| *n += 1);
        Ok(())
    }
    async fn read(&self, agent: AgentId, after: u64, limit: usize) -> std::io::Result<Vec<Line>> {
        let all = self.lines.lock().expect("no test panics with it");
        let lines = all.get(&agent).into_iter().flatten().filter(|line| line.n > after);
        Ok(lines.take(limit).cloned().collect())
    }
    fn watch(&self, _: AgentId) -> watch::Receiver<u64> {
        self.newest.subscribe()
    }
    fn raw(&self, agent: AgentId, run: u32) -> PathBuf {
        self.directory.path().join(format!("{agent}-{run}.raw"))
    }
    async fn raw_files(&self, agent: AgentId) -> std::io::Result<Vec<PathBuf>> {
        Ok((1..10).map(|run| self.raw(agent, run)).filter(|path| path.exists()).collect())
    }
    fn log(&self, agent: AgentId, name: &str) -> PathBuf {
        self.directory.path().join(format!("{agent}-{name}.log"))
    }
}

/// A commit id of one repeated digit.
pub(crate) fn commit(digit: char) -> CommitId {
    digit.to_string().repeat(40).parse().expect("forty digits are a commit id")
}

/// A server with everything around it.
pub(crate) struct World {
    pub(crate) router: Router,
    pub(crate) orchestrator: Arc<Orchestrator>,
    pub(crate) store: Arc<FaultyStore>,
    pub(crate) host: Arc<StubHost>,
    pub(crate) repositories: Arc<StubRepositories>,
    pub(crate) transcripts: Arc<StubTranscripts>,
}

/// The contract's published example.
pub(crate) fn example() -> Value {
    json!({
        "taskId": "US-001", "agentType": "worker", "gateProfile": "standard",
        "context": {"repository": "https://git.example.com/repo.git", "branch": "main",
                    "workItems": ["US-001"], "skills": ["typescript"]}
    })
}

/// The example under another task id.
pub(crate) fn task(id: &str) -> Value {
    let mut body = example();
    body["taskId"] = json!(id);
    body
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with(100, |_| {})
    }

    pub(crate) fn with(queue_entries: u64, change: impl FnOnce(&mut ServerOptions)) -> Self {
        let store = Arc::new(FaultyStore::new(queue_entries));
        let host = Arc::new(StubHost { free: AtomicU64::new(1 << 40), no_git: AtomicBool::new(false) });
        let repositories = Arc::new(StubRepositories::default());
        let transcripts = Arc::new(StubTranscripts {
            directory: tempfile::tempdir().expect("a temporary directory can be made"),
            lines: Mutex::default(),
            newest: watch::channel(0).0,
        });
        let runtimes: BTreeMap<String, Arc<dyn Runtime>> =
            [("demo", Arc::new(Nothing) as Arc<dyn Runtime>), ("command", Arc::new(Nothing))]
                .map(|(name, runtime)| (name.to_owned(), runtime))
                .into();
        let ports = Ports {
            store: store.clone(),
            clock: Arc::new(HastyClock),
            chance: Arc::new(RealIds),
            repositories: repositories.clone(),
            sandbox: Arc::new(Nothing),
            processes: Arc::new(Nothing),
            runtimes,
            gatekeeper: Arc::new(Nothing),
            scanner: Arc::new(Nothing),
            transcripts: transcripts.clone(),
            host: host.clone(),
        };
        let settings = Settings {
            node: "laptop".parse().expect("it is a word"),
            slots: 2,
            branch_prefix: "mosaic".to_owned(),
            default_runtime: "demo".to_owned(),
            allow_incomplete_strict: false,
            require_skills: false,
            skills_dir: None,
            kill_grace: Duration::from_millis(500),
        };
        let orchestrator = Orchestrator::new(ports, settings);
        let mut options = ServerOptions {
            auth: Auth::token(TOKEN),
            allowed_hosts: vec!["mosaic.example".to_owned()],
            version: "1.2.3",
            started_at: orchestrator.now(),
            public_url: None,
        };
        change(&mut options);
        let router = router(orchestrator.clone(), options);
        Self { router, orchestrator, store, host, repositories, transcripts }
    }

    /// Sends a request as it is.
    pub(crate) async fn send(&self, request: Request<Body>) -> Answer {
        let work = async {
            let response = self.router.clone().oneshot(request).await.expect("a router does not fail");
            let (parts, body) = response.into_parts();
            let mut bytes = Vec::new();
            let mut chunks = body.into_data_stream();
            while let Some(chunk) = chunks.next().await {
                bytes.extend_from_slice(&chunk.expect("the body can be read"));
            }
            Answer { status: parts.status.as_u16(), headers: parts.headers, body: bytes }
        };
        tokio::time::timeout(DEADLINE, work).await.expect("the answer came in time")
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(ask("GET", path).body(Body::empty()).expect("the request is whole")).await
    }

    pub(crate) async fn get_as(&self, path: &str, accept: &str) -> Answer {
        self.send(ask("GET", path).header("accept", accept).body(Body::empty()).expect("the request is whole")).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        let request = ask("POST", path).header("content-type", "application/json");
        self.send(request.body(Body::from(body.to_string())).expect("the request is whole")).await
    }

    pub(crate) async fn order(&self, method: &str, path: &str) -> Answer {
        self.send(ask(method, path).body(Body::empty()).expect("the request is whole")).await
    }

    /// Spawns an agent of this task; returns its id.
    pub(crate) async fn spawned(&self, id: &str) -> AgentId {
        let answer = self.post("/agents/spawn", &task(id)).await;
        assert_eq!(answer.status, 201, "{}", answer.text());
        answer.json()["agentId"].as_str().expect("there is an id").parse().expect("it is one")
    }

    /// Takes the next waiting agent as a slot would; nobody drives it.
    pub(crate) async fn leased(&self) -> (Lease, Agent) {
        let node = self.orchestrator.settings().node.clone();
        let now = self.orchestrator.now();
        let taken = self.store.lease(&node, now).await.expect("the store is up");
        let (lease, record) = taken.expect("something waits");
        (lease, record.agent)
    }

    /// Takes the next waiting agent and lets its tree be made for ever: nobody drives it, so no order is confirmed.
    pub(crate) async fn held(&self) {
        let (lease, agent) = self.leased().await;
        self.write(&lease, agent, State::Checkout { turn: Turn::First }).await;
    }

    /// Writes a leased agent's new state.
    pub(crate) async fn write(&self, lease: &Lease, mut agent: Agent, state: State) -> Agent {
        agent.state = state;
        let (agent_id, task) = (Some(agent.id), Some(agent.spec.task_id.clone()));
        let kind = format!("agent.{}", agent.status().as_str());
        let (at, data) = (self.orchestrator.now(), json!({"name": &agent.name}));
        let fact = mosaic_core::domain::journal::Fact { kind, agent: agent_id, task, at, data };
        let change = Change { agent: agent.clone(), facts: vec![fact] };
        self.store.advance(lease, change).await.expect("the lease holds");
        agent
    }
}

/// Starts a request with Host and token.
pub(crate) fn ask(method: &str, path: &str) -> axum::http::request::Builder {
    Request::builder()
        .method(method)
        .uri(path)
        .header("host", "localhost:3001")
        .header("authorization", format!("Bearer {TOKEN}"))
}

/// What came back.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {}", self.text()))
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("the header is text"))
    }

    /// Checks that it is a problem of this status and code, whole and with nothing that should not be there.
    #[track_caller]
    pub(crate) fn is(&self, status: u16, code: &str) -> &Self {
        assert_eq!(self.status, status, "{}", self.text());
        assert_eq!(self.header("content-type"), "application/problem+json");
        let body = self.json();
        assert_eq!(body["code"], code, "{body}");
        assert_eq!((&body["status"], &body["statusCode"]), (&json!(status), &json!(status)));
        assert_eq!(body["detail"], body["message"]);
        assert_eq!(body["retryable"].as_bool(), Some(self.headers.contains_key("retry-after")), "{body}");
        assert!(body["type"].as_str().is_some_and(|t| t.ends_with(&format!("/problems/{code}"))), "{body}");
        assert!(body["instance"].as_str().is_some_and(|i| i.ends_with(self.header("x-request-id"))), "{body}");
        for part in ["title", "detail"] {
            assert!(body[part].as_str().is_some_and(|t| !t.is_empty()), "{part} is missing in {body}");
        }
        self
    }
}
