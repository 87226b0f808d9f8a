//! Repositories whose calls each have a thread of their own: around the git programs there are many small reads of files.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use mosaic_core::domain::agent::Salvaged;
use mosaic_core::domain::gates::FilteredPath;
use mosaic_core::domain::ids::{AgentId, BranchName, CommitId};
use mosaic_core::domain::kept_work::KeptRef;
use mosaic_core::domain::outcome::Failure;
use mosaic_core::domain::repository::RepositoryUrl;
use mosaic_core::ports::fleet::Hold;
use mosaic_core::ports::repositories::{
    Added, BundleExtent, Commits, DiffForm, FileStat, FilterUse, Fit, HarvestJob, Intake, JudgingCheckout,
    JudgingRequest, KeptRefs, KeptWork, NotAllowed, Publisher, Pushed, Received, RemoteState, RepoCache,
    RestoreRequest, Restored, StrayTree, TreeRequest, Trees, UnmergedCommit, Worktree,
};
use tokio::sync::mpsc;

use super::ports::{OffThread, no_answer};
use super::threads::drive;

/// Writes methods that are carried out on a thread of their own: each argument is copied, then given as it says behind `=>`.
macro_rules! off_thread {
    ($port:ident: $($method:ident($($arg:ident: $type:ty),*) => ($($given:expr),*) -> $answer:ty;)* @ $($own:tt)*) => {
        #[async_trait]
        impl $port for OffThread<dyn $port> {
            $(async fn $method(&self, $($arg: $type),*) -> Result<$answer, Failure> {
                let inner = Arc::clone(&self.inner);
                $(let $arg = $arg.to_owned();)*
                drive(async move { inner.$method($($given),*).await }).await.map_err(no_answer)?
            })*
            $($own)*
        }
    };
}

off_thread! { Trees:
    make_tree(request: &TreeRequest) => (&request) -> Worktree;
    has_tree(agent: AgentId) => (agent) -> bool;
    checkout_for_judging(request: &JudgingRequest) => (&request) -> JudgingCheckout;
    bundle_for_judging(request: &JudgingRequest, extent: BundleExtent) => (&request, extent) -> PathBuf;
    remove(agent: AgentId) => (agent) -> ();
    abandon(agent: AgentId) => (agent) -> u64;
    keep_beside(agent: AgentId) => (agent) -> Vec<String>;
    beside_bytes(agent: AgentId) => (agent) -> u64;
    kept_beside() => () -> Vec<AgentId>;
    present() => () -> Vec<AgentId>;
    stray_tree(agent: AgentId) => (agent) -> StrayTree;
    @
}

off_thread! { Intake:
    harvest(request: &TreeRequest) => (&request) -> HarvestJob;
    receive(request: &TreeRequest, outbox: &Path) => (&request, &outbox) -> Received;
    receive_for_judging(request: &JudgingRequest, directory: &Path) => (&request, &directory) -> ();
    snapshot(request: &TreeRequest) => (&request) -> HarvestJob;
    receive_snapshot(request: &TreeRequest, outbox: &Path) => (&request, &outbox) -> Option<CommitId>;
    salvage(request: &TreeRequest) => (&request) -> HarvestJob;
    receive_salvage(request: &TreeRequest, outbox: &Path) => (&request, &outbox) -> Option<Salvaged>;
    @
}

off_thread! { Commits:
    files_with(repository: &RepositoryUrl, commit: &CommitId, lines: &[String]) => (&repository, &commit, &lines) -> Vec<(String, Vec<u8>)>;
    additions(repository: &RepositoryUrl, base: &CommitId, head: &CommitId, into: mpsc::Sender<Added>) => (&repository, &base, &head, into) -> ();
    filtered(repository: &RepositoryUrl, base: &CommitId, head: &CommitId) => (&repository, &base, &head) -> Vec<FilteredPath>;
    filters(repository: &RepositoryUrl, commit: &CommitId) => (&repository, &commit) -> Vec<FilterUse>;
    read_file(repository: &RepositoryUrl, commit: &CommitId, path: &str, most: usize) => (&repository, &commit, &path, most) -> Option<Vec<u8>>;
    objects(repository: &RepositoryUrl, commit: &CommitId, paths: &[String]) => (&repository, &commit, &paths) -> Vec<Option<String>>;
    list_files(repository: &RepositoryUrl, commit: &CommitId, below: &str) => (&repository, &commit, &below) -> Vec<String>;
    export(repository: &RepositoryUrl, commit: &CommitId, directory: &str, into: &Path) => (&repository, &commit, &directory, &into) -> ();
    diff(repository: &RepositoryUrl, base: &CommitId, head: &CommitId, form: DiffForm, most: usize) => (&repository, &base, &head, form, most) -> (Vec<u8>, bool);
    stat(repository: &RepositoryUrl, base: &CommitId, head: &CommitId) => (&repository, &base, &head) -> Vec<FileStat>;
    @
}

off_thread! { Publisher:
    fetch(repository: &RepositoryUrl, base: &BranchName, own: &BranchName) => (&repository, &base, &own) -> RemoteState;
    fit(repository: &RepositoryUrl, base: &BranchName, head: &CommitId) => (&repository, &base, &head) -> Fit;
    shown(repository: &RepositoryUrl, branch: &BranchName, base: &BranchName, commits: &[CommitId]) => (&repository, &branch, &base, &commits) -> Option<CommitId>;
    keep_remote_tip(repository: &RepositoryUrl, branch: &BranchName, tip: &CommitId, agent: AgentId) => (&repository, &branch, &tip, agent) -> KeptRef;
    @
    fn allowed(&self, repository: &RepositoryUrl) -> Result<(), NotAllowed> {
        self.inner.allowed(repository)
    }

    async fn push(
        &self,
        repository: &RepositoryUrl,
        head: &CommitId,
        branch: &BranchName,
        expected: Option<&CommitId>,
        hold: &Hold,
    ) -> Result<Pushed, Failure> {
        let (repository, head, branch) = (repository.clone(), head.clone(), branch.clone());
        let (inner, expected, hold) = (Arc::clone(&self.inner), expected.cloned(), hold.clone());
        let push =
            async move { inner.push(&repository, &head, &branch, expected.as_ref(), &hold).await };
        drive(push).await.map_err(no_answer)?
    }
}

off_thread! { KeptWork:
    salvaged(repository: &RepositoryUrl, agent: AgentId) => (&repository, agent) -> Option<Salvaged>;
    restore(request: &RestoreRequest) => (&request) -> Option<Restored>;
    kept_refs() => () -> Vec<KeptRefs>;
    refs_of(cache: &RepoCache, agent: AgentId, most: usize) => (&cache, agent, most) -> Vec<KeptRef>;
    unmerged(cache: &RepoCache, agent: AgentId, safe: &[CommitId], most: usize) => (&cache, agent, &safe, most) -> Vec<UnmergedCommit>;
    forget(cache: &RepoCache, agent: AgentId) => (&cache, agent) -> ();
    tidy(running: &[RepositoryUrl]) => (&running) -> Option<RepoCache>;
    @
    fn cache_of(&self, repository: &RepositoryUrl) -> RepoCache {
        self.inner.cache_of(repository)
    }
}
