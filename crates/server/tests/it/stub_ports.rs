//! The ports that are not tested here: they answer as little as they can.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use mosaic_core::domain::agent::Salvaged;
use mosaic_core::domain::gates::{FilteredPath, GatePlan, GateReport};
use mosaic_core::domain::ids::{AgentId, BranchName, CommitId, Timestamp, Word};
use mosaic_core::domain::kept_work::KeptRef;
use mosaic_core::domain::orders::{Barrier, Latch};
use mosaic_core::domain::outcome::{Failure, FailureKind};
use mosaic_core::domain::repository::RepositoryUrl;
use mosaic_core::domain::room::Reading;
use mosaic_core::ports::clock::{Chance, Clock};
use mosaic_core::ports::fleet::Hold;
use mosaic_core::ports::gatekeeper::{Gatekeeper, JudgeRequest, PlanRequest};
use mosaic_core::ports::host::{DiskUse, Host};
use mosaic_core::ports::orders::{Filed, OrderFiles};
use mosaic_core::ports::processes::{Adopted, Job, JobSpec, ProcessError, Processes, StopReceipt, Usage};
use mosaic_core::ports::repositories::{
    Added, DiffForm, FileStat, FilterUse, Fit, HarvestJob, JudgingCheckout, JudgingRequest, KeptRefs, Pushed,
    Received, RemoteState, Repositories, RestoreRequest, Restored, StoreName, StrayTree, TreeRequest,
    UnmergedCommit, Worktree,
};
use mosaic_core::ports::runtime::{AgentEvent, Dialogue, LaunchPlan, LaunchRequest, Opening, Probe, Runtime};
use mosaic_core::ports::sandbox::{Confinement, Sandbox};
use mosaic_core::ports::scanner::{Secret, SecretScanner};
use mosaic_core::ports::transcripts::{Line, Mark, Shelved, Told, Transcripts};
use tokio::sync::{mpsc, watch};

/// Factor by which the tests' clock runs faster than the real one.
const HASTE: u32 = 50;

/// A commit id of one repeated digit.
pub(crate) fn commit(digit: char) -> CommitId {
    digit.to_string().repeat(40).parse().expect("forty digits are a commit id")
}

pub(crate) struct HastyClock;

#[async_trait]
impl Clock for HastyClock {
    fn now(&self) -> Timestamp {
        SystemTime::now().into()
    }
    fn elapsed(&self) -> Duration {
        mosaic_testkit::fake_knobs::elapsed() * HASTE
    }
    async fn sleep(&self, time: Duration) {
        tokio::time::sleep(time / HASTE).await;
    }
}

pub(crate) struct RealIds;

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
    pub(crate) unmerged: Mutex<Vec<UnmergedCommit>>,
}

#[async_trait]
impl Repositories for StubRepositories {
    fn allowed(&self, repository: &RepositoryUrl) -> Result<(), String> {
        match repository.needs_local_permission() {
            true => {
                Err("local repositories are not allowed; set MOSAIC_ALLOW_LOCAL_REPOSITORIES=true".to_owned())
            }
            false => Ok(()),
        }
    }
    async fn fetch(
        &self,
        url: &RepositoryUrl,
        base: &BranchName,
        _: &BranchName,
    ) -> Result<RemoteState, Failure> {
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
    async fn receive(&self, _: &TreeRequest, _: &Path) -> Result<Received, Failure> {
        Err(unused())
    }
    async fn snapshot(&self, _: &TreeRequest) -> Result<HarvestJob, Failure> {
        Err(unused())
    }
    async fn receive_snapshot(&self, _: &TreeRequest, _: &Path) -> Result<Option<CommitId>, Failure> {
        Err(unused())
    }
    async fn has_tree(&self, _: AgentId) -> Result<bool, Failure> {
        Ok(true)
    }
    async fn salvage(&self, request: &TreeRequest) -> Result<HarvestJob, Failure> {
        self.harvest(request).await
    }
    async fn receive_salvage(&self, request: &TreeRequest, _: &Path) -> Result<Option<Salvaged>, Failure> {
        self.salvaged(&request.repository, request.agent).await
    }
    async fn salvaged(&self, _: &RepositoryUrl, agent: AgentId) -> Result<Option<Salvaged>, Failure> {
        Ok(Some(Salvaged { reference: format!("refs/mosaic/salvage/{agent}"), commit: commit('d') }))
    }
    async fn restore(&self, request: &RestoreRequest) -> Result<Option<Restored>, Failure> {
        let Some(salvage) = request.salvage.clone() else { return Ok(None) };
        let (path, branch) = (PathBuf::from("/restored").join(&request.name), request.branch.clone());
        Ok(Some(Restored { path, branch, head: request.head.clone(), salvage: Some(salvage) }))
    }
    async fn files_with(
        &self,
        _: &RepositoryUrl,
        _: &CommitId,
        _: &[String],
    ) -> Result<Vec<(String, Vec<u8>)>, Failure> {
        Ok(Vec::new())
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
    async fn checkout_for_judging(&self, _: &JudgingRequest) -> Result<JudgingCheckout, Failure> {
        Err(unused())
    }
    async fn push(
        &self,
        _: &RepositoryUrl,
        _: &CommitId,
        _: &BranchName,
        _: Option<&CommitId>,
        _: &Hold,
    ) -> Result<Pushed, Failure> {
        Err(unused())
    }
    async fn filtered(
        &self,
        _: &RepositoryUrl,
        _: &CommitId,
        _: &CommitId,
    ) -> Result<Vec<FilteredPath>, Failure> {
        Err(unused())
    }
    async fn filters(&self, _: &RepositoryUrl, _: &CommitId) -> Result<Vec<FilterUse>, Failure> {
        Err(unused())
    }
    async fn shown(
        &self,
        _: &RepositoryUrl,
        _: &BranchName,
        _: &BranchName,
        _: &[CommitId],
    ) -> Result<Option<CommitId>, Failure> {
        Err(unused())
    }
    async fn keep_remote_tip(
        &self,
        _: &RepositoryUrl,
        _: &BranchName,
        _: &CommitId,
        _: AgentId,
    ) -> Result<KeptRef, Failure> {
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
        _: DiffForm,
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
    fn store_of(&self, _: &RepositoryUrl) -> StoreName {
        StoreName("fake.git".to_owned())
    }
    async fn present(&self) -> Result<Vec<AgentId>, Failure> {
        Ok(Vec::new())
    }
    async fn stray_tree(&self, _: AgentId) -> Result<StrayTree, Failure> {
        Ok(StrayTree::None)
    }
    async fn kept_refs(&self) -> Result<Vec<KeptRefs>, Failure> {
        Ok(Vec::new())
    }
    async fn refs_of(&self, _: &StoreName, _: AgentId, _: usize) -> Result<Vec<KeptRef>, Failure> {
        Ok(Vec::new())
    }
    async fn unmerged(
        &self,
        _: &StoreName,
        _: AgentId,
        _: &[CommitId],
        _: usize,
    ) -> Result<Vec<UnmergedCommit>, Failure> {
        Ok(self.unmerged.lock().expect("no test panics with it").clone())
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

pub(crate) struct Nothing;

#[async_trait]
impl Sandbox for Nothing {
    fn name(&self) -> &'static str {
        "none"
    }
    async fn confine(&self, _: AgentId) -> Result<Confinement, Failure> {
        Err(unused())
    }
    async fn staging(&self, _: AgentId) -> Result<PathBuf, Failure> {
        Err(unused())
    }
    async fn place(&self, _: AgentId, _: &Path, _: &str) -> Result<(), Failure> {
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
    async fn adopt(&self, _: AgentId, _: &Word) -> Result<Option<Adopted>, ProcessError> {
        Ok(None)
    }
    async fn stop(&self, _: AgentId, _: Duration) -> Result<StopReceipt, ProcessError> {
        Ok(StopReceipt::default())
    }
    async fn usage(&self, _: AgentId) -> Result<Usage, ProcessError> {
        Ok(Usage::default())
    }
    async fn unfinished(&self) -> Result<Vec<AgentId>, ProcessError> {
        Ok(Vec::new())
    }
    async fn forget(&self, _: AgentId) -> Result<(), ProcessError> {
        Ok(())
    }
    async fn grouped(&self) -> Result<Vec<AgentId>, ProcessError> {
        Ok(Vec::new())
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
    fn dialogue(&self, _: &Opening) -> Box<dyn Dialogue> {
        unreachable!("nothing is launched here")
    }
}

#[async_trait]
impl Gatekeeper for Nothing {
    async fn plan(&self, _: PlanRequest<'_>) -> Result<GatePlan, Failure> {
        Err(unused())
    }
    async fn judge(&self, _: JudgeRequest) -> Result<GateReport, Failure> {
        Err(unused())
    }
}

/// The only secret that [`Nothing`] knows.
pub(crate) const SECRET: &str = "open-sesame-1001";

impl SecretScanner for Nothing {
    fn scan(&self, _: Option<&str>, text: &str) -> Vec<Secret> {
        let told = |(at, _)| Secret {
            rule: "sesame".to_owned(),
            line: 1,
            masked: "open…".to_owned(),
            span: (at, at + SECRET.len()),
            pieces: Vec::new(),
            known: false,
        };
        text.match_indices(SECRET).map(told).collect()
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
    async fn reading(&self) -> Reading {
        Reading { memory_bytes: Some(1 << 30), load_per_core: Some(0.5) }
    }
    async fn disk_of(&self, _: AgentId) -> Result<DiskUse, String> {
        Ok(DiskUse::default())
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
    pub(crate) directory: tempfile::TempDir,
    pub(crate) lines: Mutex<HashMap<AgentId, Vec<Line>>>,
    pub(crate) newest: watch::Sender<u64>,
}

#[async_trait]
impl Transcripts for StubTranscripts {
    async fn append(
        &self,
        agent: AgentId,
        at: Timestamp,
        attempt: u32,
        _: Mark,
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
    async fn told(&self, _: AgentId, _: u32) -> std::io::Result<Told> {
        Ok(Told::default())
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
    async fn piece(&self, _: AgentId, file: &Path, from: u64, most: usize) -> std::io::Result<Vec<u8>> {
        let bytes = std::fs::read(file)?;
        let from = usize::try_from(from).unwrap_or(usize::MAX).min(bytes.len());
        Ok(bytes[from..].iter().take(most).copied().collect())
    }
    fn log(&self, agent: AgentId, name: &str) -> PathBuf {
        self.directory.path().join(format!("{agent}-{name}.log"))
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

/// The state directory's copy of the standing orders.
#[derive(Default)]
pub(crate) struct StubOrders(pub(crate) Mutex<Filed>);

#[async_trait]
impl OrderFiles for StubOrders {
    async fn read(&self) -> Filed {
        self.0.lock().expect("no test panics while it holds this").clone()
    }
    async fn write_barrier(&self, barrier: &Barrier) -> std::io::Result<()> {
        self.0.lock().expect("no test panics while it holds this").orders.raise_placed(barrier.clone());
        Ok(())
    }
    async fn write_latch(&self, latch: Option<&Latch>) -> std::io::Result<()> {
        self.0.lock().expect("no test panics while it holds this").orders.latch = latch.cloned();
        Ok(())
    }
    async fn forget_kill(&self, agent: AgentId) -> std::io::Result<()> {
        self.0.lock().expect("no test panics while it holds this").kills.retain(|kill| kill.agent != agent);
        Ok(())
    }
    fn stop_path(&self) -> String {
        "/var/lib/mosaic/STOP".to_owned()
    }
}
