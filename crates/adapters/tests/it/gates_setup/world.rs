//! A repository with commits, a gatekeeper with a cache, and agents' trees of it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use async_trait::async_trait;
use mosaic_adapters::clock_system::SystemClock;
use mosaic_adapters::gates_local::{CacheBounds, GateCache, GateOptions, LocalGatekeeper, Toolchain, Trust};
use mosaic_adapters::isolation::Isolator;
use mosaic_adapters::private_dirs::PrivateDirs;
use mosaic_adapters::sandbox_none::NoSandbox;
use mosaic_adapters::secret_scan::RuleScanner;
use mosaic_adapters::transcripts_files::FileTranscripts;
use mosaic_adapters::trash::Trash;
use mosaic_core::domain::gates::{GateDefinition, GatePlan, GateReport, SetupDefinition};
use mosaic_core::domain::ids::{AgentId, CommitId};
use mosaic_core::domain::outcome::Failure;
use mosaic_core::ports::gatekeeper::{CommitSource, Gatekeeper, JudgeRequest, PrepareRequest, Prepared};
use mosaic_core::ports::repositories::JudgingCheckout;
use mosaic_testkit::fakes::gatekeeper::judge_request;
use mosaic_testkit::fakes::plain_processes::PlainProcesses;
use tempfile::TempDir;
use uuid::Uuid;

/// Runs git and returns what it printed.
pub(super) fn git(dir: &Path, args: &[&str]) -> String {
    let mut command = Command::new("git");
    command.args(["-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "init.defaultBranch=main"]);
    let done = command.args(args).current_dir(dir).output().unwrap();
    assert!(done.status.success(), "git {args:?}: {done:?}");
    String::from_utf8(done.stdout).unwrap().trim().to_owned()
}

/// A commit of the world's repository.
pub(super) struct Commit {
    repository: PathBuf,
    agent: PathBuf,
    id: CommitId,
    base: Option<Arc<Commit>>,
}

#[async_trait]
impl CommitSource for Commit {
    async fn checkout(&self) -> Result<JudgingCheckout, Failure> {
        let path = self.agent.join(format!("judge-{}", &Uuid::new_v4().simple().to_string()[..12]));
        let from = self.repository.display().to_string();
        git(&self.repository, &["clone", "-q", "--no-hardlinks", "-n", &from, path.to_str().unwrap()]);
        git(&path, &["checkout", "-q", "--detach", self.id.as_str()]);
        Ok(JudgingCheckout { path, warnings: Vec::new() })
    }
    async fn bundle(&self) -> Result<PathBuf, Failure> {
        unreachable!("the local gatekeeper reads checkouts")
    }
    async fn objects(&self, paths: &[String]) -> Result<Vec<Option<String>>, Failure> {
        let object = |path: &String| {
            let name = format!("{}:{path}", self.id);
            let done = Command::new("git")
                .args(["rev-parse", "--verify", "-q", &name])
                .current_dir(&self.repository)
                .output();
            let text = String::from_utf8(done.unwrap().stdout).unwrap().trim().to_owned();
            (!text.is_empty()).then_some(text)
        };
        Ok(paths.iter().map(object).collect())
    }
    fn base(&self) -> Option<Arc<dyn CommitSource>> {
        self.base.clone().map(|base| base as Arc<dyn CommitSource>)
    }
}

pub(super) struct World {
    pub(super) home: TempDir,
    pub(super) processes: Arc<PlainProcesses>,
    pub(super) keeper: LocalGatekeeper,
}

impl World {
    pub(super) fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let processes = Arc::new(PlainProcesses::new());
        std::fs::create_dir_all(home.path().join("repository")).unwrap();
        git(&home.path().join("repository"), &["init", "-q"]);
        let keeper = keeper(home.path(), processes.clone());
        Self { home, processes, keeper }
    }

    /// Makes a commit of these files.
    pub(super) fn commit(&self, files: &[(&str, &str)]) -> CommitId {
        let repository = self.home.path().join("repository");
        for (path, text) in files {
            let path = repository.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        git(&repository, &["add", "-A"]);
        git(&repository, &["commit", "-q", "--allow-empty", "-m", "work"]);
        git(&repository, &["rev-parse", "HEAD"]).parse().unwrap()
    }

    pub(super) fn agent_dir(&self, agent: AgentId) -> PathBuf {
        self.home.path().join("agents").join(agent.to_string())
    }

    pub(super) fn source(&self, agent: AgentId, id: &CommitId, base: Option<&CommitId>) -> Arc<Commit> {
        let (repository, agent_dir) = (self.home.path().join("repository"), self.agent_dir(agent));
        std::fs::create_dir_all(&agent_dir).unwrap();
        let base = base.map(|base| self.source(agent, base, None));
        Arc::new(Commit { repository, agent: agent_dir, id: id.clone(), base })
    }

    /// Makes an agent's tree of this commit, and a home.
    pub(super) fn tree(&self, agent: AgentId, base: &CommitId) -> (PathBuf, PathBuf) {
        let own = self.agent_dir(agent);
        let (tree, home) = (own.join("tree"), own.join("home"));
        std::fs::create_dir_all(&home).unwrap();
        let from = self.home.path().join("repository").display().to_string();
        git(&own, &["clone", "-q", "--no-hardlinks", &from, tree.to_str().unwrap()]);
        git(&tree, &["checkout", "-q", "-B", "mosaic/t-1", base.as_str()]);
        (tree, home)
    }

    /// Prepares a new agent on this base; returns its tree and home.
    pub(super) async fn prepare(
        &self,
        base: &CommitId,
        plan: &GatePlan,
    ) -> Result<(PathBuf, PathBuf, Prepared), Failure> {
        let agent = agent();
        let (tree, home) = self.tree(agent, base);
        let request = PrepareRequest {
            agent,
            round: 1,
            repository: "https://git.example.com/r.git".parse().unwrap(),
            base: base.clone(),
            plan: plan.clone(),
            tree: Some(tree.clone()),
            home: home.clone(),
        };
        let prepared = self.keeper.prepare(request, self.source(agent, base, None)).await?;
        Ok((tree, home, prepared))
    }

    pub(super) async fn judge(&self, base: &CommitId, head: &CommitId, plan: &GatePlan) -> GateReport {
        let agent = agent();
        let request = JudgeRequest { base: base.clone(), ..judge_request(agent, head.clone(), plan.clone()) };
        self.keeper.judge(request, self.source(agent, head, Some(base))).await.unwrap()
    }
}

pub(super) fn agent() -> AgentId {
    AgentId(Uuid::new_v4())
}

fn keeper(home: &Path, processes: Arc<PlainProcesses>) -> LocalGatekeeper {
    let path = std::env::var("PATH").unwrap();
    let trash = Arc::new(Trash::new(home));
    let dirs = PrivateDirs::new(home, path.clone(), Arc::clone(&trash));
    let options = GateOptions {
        processes,
        transcripts: Arc::new(FileTranscripts::new(home.join("transcripts"))),
        clock: Arc::new(SystemClock),
        scanner: Arc::new(RuleScanner::new()),
        trust: Trust::All,
        trash,
        sandbox: Arc::new(NoSandbox::new(dirs)),
        isolator: Arc::new(Isolator::off("this test needs none")),
        at_once: 2,
        variable: Arc::new(|_| None),
    };
    let cache = Arc::new(GateCache::new(home.join("gate-cache"), CacheBounds::default()));
    LocalGatekeeper::new(options).with_cache(cache, Toolchain { path, passed: Vec::new() })
}

/// Returns a plan with these gates, judged by exit status.
pub(super) fn plan(gates: &[(&str, &str)]) -> GatePlan {
    let gates = gates
        .iter()
        .map(|(name, run)| GateDefinition::of_command(name.parse().unwrap(), (*run).to_owned()))
        .collect();
    GatePlan { gates, trusted: true, ..GatePlan::default() }
}

/// Returns a setup that reads `lock` and makes `deps`.
pub(super) fn setup(run: &str) -> SetupDefinition {
    SetupDefinition {
        run: run.to_owned(),
        timeout_ms: 60_000,
        inputs: vec!["lock".to_owned()],
        outputs: vec!["deps".to_owned()],
    }
}
