//! The world of the git tests: a remote, the adapter, one agent, and the harvest as a process of its own.

mod additions;
mod salvages;

use std::path::PathBuf;
use std::process::Command;

use mosaic_adapters::git::{GitOptions, GitRepositories};
use mosaic_core::domain::ids::{AgentId, BranchName, CommitId};
use mosaic_core::domain::outcome::Failure;
use mosaic_core::domain::repository::RepositoryUrl;
use mosaic_core::ports::repositories::{
    BundleExtent, HarvestJob, Intake, JudgingCheckout, JudgingRequest, Kept, Publisher, Received,
    TreeRequest, Trees,
};
use mosaic_testkit::git_fixture::Fixture;

pub(crate) struct World {
    /// The name of the data directory.
    name: String,
    pub(crate) fixture: Fixture,
    pub(crate) git: GitRepositories,
    pub(crate) url: RepositoryUrl,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with("data", |_| ())
    }

    /// Makes a world whose data directory has this name.
    pub(crate) fn below(name: &str) -> Self {
        Self::with(name, |_| ())
    }

    /// Makes a world with other options.
    pub(crate) fn with(name: &str, change: impl FnOnce(&mut GitOptions)) -> Self {
        let fixture = Fixture::new();
        let mut options = GitOptions::new(fixture.path().join(name), crate::programs::example("shim"));
        options.allow_local = true;
        change(&mut options);
        let git = GitRepositories::new(options).expect("the data directory can be made");
        let url = fixture.url().parse().expect("a path is an address");
        Self { name: name.to_owned(), fixture, git, url }
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.fixture.path().join(&self.name).canonicalize().expect("it exists")
    }

    pub(crate) fn store(&self) -> PathBuf {
        let mut all = std::fs::read_dir(self.data().join("repos")).expect("there is a store");
        all.next().expect("one store").expect("readable").path()
    }

    /// Fetches main and makes a tree for a new agent.
    pub(crate) async fn agent(&self) -> TreeRequest {
        let agent = AgentId(uuid::Uuid::new_v4());
        let branch = branch(&format!("mosaic/task/{}", agent.short()));
        let state = self.git.fetch(&self.url, &branch_main(), &branch).await.expect("fetch works");
        let request = TreeRequest {
            agent,
            task: "US-1 'quoted' \"x\"".to_owned(),
            repository: self.url.clone(),
            base_branch: branch_main(),
            branch,
            base: state.base.clone(),
            start: state.base,
            reuse: false,
            unreceived: false,
        };
        self.git.make_tree(&request).await.expect("the tree is made");
        request
    }

    pub(crate) fn tree(&self, request: &TreeRequest) -> PathBuf {
        self.data().join("agents").join(request.agent.to_string()).join("tree")
    }

    pub(crate) fn write(&self, request: &TreeRequest, path: &str, text: &str) {
        let path = self.tree(request).join(path);
        std::fs::create_dir_all(path.parent().expect("a file has a directory")).expect("made");
        std::fs::write(path, text).expect("written");
    }

    /// git as the agent runs it, in its tree.
    pub(crate) fn agent_git(&self, request: &TreeRequest, args: &[&str]) -> String {
        let out = Command::new("git")
            .args(args)
            .current_dir(self.tree(request))
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.fixture.path())
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .output()
            .expect("git starts");
        assert!(out.status.success(), "agent's git {args:?}: {}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8_lossy(&out.stdout).trim().to_owned()
    }

    /// Runs the harvest job to its end, as the shim would.
    pub(crate) async fn run_harvest(&self, request: &TreeRequest) -> PathBuf {
        let job = self.git.harvest(request).await.expect("a harvest can be prepared");
        self.run_job(request, &job);
        job.outbox
    }

    pub(crate) fn run_job(&self, request: &TreeRequest, job: &HarvestJob) {
        let out = Command::new(&job.command[0])
            .args(&job.command[1..])
            .env_clear()
            .envs(job.env.clone())
            .env("HOME", self.fixture.path())
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .current_dir(self.tree(request))
            .output()
            .expect("the harvest starts");
        assert!(out.status.success(), "harvest: {}", String::from_utf8_lossy(&out.stderr));
        if std::env::var_os("MOSAIC_TEST_SHOW").is_some() {
            eprintln!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
        }
    }

    /// Checks a commit of the agent out for its gates.
    pub(crate) async fn judging(
        &self,
        request: &TreeRequest,
        commit: &CommitId,
        label: &str,
    ) -> Result<JudgingCheckout, Failure> {
        self.git.checkout_for_judging(&judging(request, commit, label)).await
    }

    /// Bundles a commit of the agent for a gatekeeper elsewhere.
    pub(crate) async fn judging_bundle(
        &self,
        request: &TreeRequest,
        commit: &CommitId,
        label: &str,
    ) -> Result<PathBuf, Failure> {
        self.git.bundle_for_judging(&judging(request, commit, label), BundleExtent::AfterBase).await
    }

    pub(crate) async fn keep(&self, request: &TreeRequest) -> Result<Kept, Failure> {
        self.received(request).await.map(|received| received.kept)
    }

    pub(crate) async fn received(&self, request: &TreeRequest) -> Result<Received, Failure> {
        let outbox = self.run_harvest(request).await;
        self.git.receive(request, &outbox).await
    }

    pub(crate) async fn keep_commits(&self, request: &TreeRequest) -> CommitId {
        match self.keep(request).await {
            Ok(Kept::Commits { head }) => head,
            other => panic!("expected commits: {other:?}"),
        }
    }

    pub(crate) fn store_git(&self, args: &[&str]) -> String {
        self.fixture.run(&self.store(), args)
    }
}

pub(crate) fn branch(name: &str) -> BranchName {
    name.parse().expect("a branch name")
}

pub(crate) fn branch_main() -> BranchName {
    branch("main")
}

fn judging(request: &TreeRequest, commit: &CommitId, label: &str) -> JudgingRequest {
    JudgingRequest {
        agent: request.agent,
        repository: request.repository.clone(),
        base_branch: request.base_branch.clone(),
        base: request.base.clone(),
        commit: commit.clone(),
        label: label.to_owned(),
    }
}
