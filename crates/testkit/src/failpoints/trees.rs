//! Failpoints around the repositories.

use std::path::{Path, PathBuf};

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

pub(super) use super::wrap::Breakable;
use super::wrap::wrap;

// The parts share one name for their steps: plans of faults are written by it.
wrap! { Trees as "repositories" {
    last make_tree(request: &TreeRequest) -> Result<Worktree, Failure>;
    own [] {
        async fn has_tree(&self, agent: AgentId) -> Result<bool, Failure> {
            self.inner.has_tree(agent).await
        }
    }
    first checkout_for_judging(request: &JudgingRequest) -> Result<JudgingCheckout, Failure>;
    first bundle_for_judging(request: &JudgingRequest, extent: BundleExtent) -> Result<PathBuf, Failure>;
    last remove(agent: AgentId) -> Result<(), Failure>;
    last abandon(agent: AgentId) -> Result<u64, Failure>;
    last keep_beside(agent: AgentId) -> Result<Vec<String>, Failure>;
    last beside_bytes(agent: AgentId) -> Result<u64, Failure>;
    last kept_beside() -> Result<Vec<AgentId>, Failure>;
    last present() -> Result<Vec<AgentId>, Failure>;
    last stray_tree(agent: AgentId) -> Result<StrayTree, Failure>;
} }

wrap! { Intake as "repositories" {
    last harvest(request: &TreeRequest) -> Result<HarvestJob, Failure>;
    last receive(request: &TreeRequest, outbox: &Path) -> Result<Received, Failure>;
    last receive_for_judging(request: &JudgingRequest, directory: &Path) -> Result<(), Failure>;
    last snapshot(request: &TreeRequest) -> Result<HarvestJob, Failure>;
    last receive_snapshot(request: &TreeRequest, outbox: &Path) -> Result<Option<CommitId>, Failure>;
    last salvage(request: &TreeRequest) -> Result<HarvestJob, Failure>;
    last receive_salvage(request: &TreeRequest, outbox: &Path) -> Result<Option<Salvaged>, Failure>;
} }

wrap! { Commits as "repositories" {
    last files_with(repository: &RepositoryUrl, commit: &CommitId, lines: &[String]) -> Result<Vec<(String, Vec<u8>)>, Failure>;
    last additions(repository: &RepositoryUrl, base: &CommitId, head: &CommitId, into: mpsc::Sender<Added>) -> Result<(), Failure>;
    last filtered(repository: &RepositoryUrl, base: &CommitId, head: &CommitId) -> Result<Vec<FilteredPath>, Failure>;
    last filters(repository: &RepositoryUrl, commit: &CommitId) -> Result<Vec<FilterUse>, Failure>;
    last read_file(repository: &RepositoryUrl, commit: &CommitId, path: &str, most: usize) -> Result<Option<Vec<u8>>, Failure>;
    last objects(repository: &RepositoryUrl, commit: &CommitId, paths: &[String]) -> Result<Vec<Option<String>>, Failure>;
    last list_files(repository: &RepositoryUrl, commit: &CommitId, below: &str) -> Result<Vec<String>, Failure>;
    first export(repository: &RepositoryUrl, commit: &CommitId, directory: &str, into: &Path) -> Result<(), Failure>;
    last diff(repository: &RepositoryUrl, base: &CommitId, head: &CommitId, form: DiffForm, most: usize) -> Result<(Vec<u8>, bool), Failure>;
    last stat(repository: &RepositoryUrl, base: &CommitId, head: &CommitId) -> Result<Vec<FileStat>, Failure>;
} }

wrap! { Publisher as "repositories" {
    plain allowed(repository: &RepositoryUrl) -> Result<(), NotAllowed>;
    last fetch(repository: &RepositoryUrl, base: &BranchName, own: &BranchName) -> Result<RemoteState, Failure>;
    last fit(repository: &RepositoryUrl, base: &BranchName, head: &CommitId) -> Result<Fit, Failure>;
    last push(repository: &RepositoryUrl, head: &CommitId, branch: &BranchName, expected: Option<&CommitId>, hold: &Hold) -> Result<Pushed, Failure>;
    last shown(repository: &RepositoryUrl, branch: &BranchName, base: &BranchName, commits: &[CommitId]) -> Result<Option<CommitId>, Failure>;
    last keep_remote_tip(repository: &RepositoryUrl, branch: &BranchName, tip: &CommitId, agent: AgentId) -> Result<KeptRef, Failure>;
} }

wrap! { KeptWork as "repositories" {
    last salvaged(repository: &RepositoryUrl, agent: AgentId) -> Result<Option<Salvaged>, Failure>;
    last restore(request: &RestoreRequest) -> Result<Option<Restored>, Failure>;
    plain cache_of(repository: &RepositoryUrl) -> RepoCache;
    last kept_refs() -> Result<Vec<KeptRefs>, Failure>;
    last refs_of(cache: &RepoCache, agent: AgentId, most: usize) -> Result<Vec<KeptRef>, Failure>;
    last unmerged(cache: &RepoCache, agent: AgentId, safe: &[CommitId], most: usize) -> Result<Vec<UnmergedCommit>, Failure>;
    last forget(cache: &RepoCache, agent: AgentId) -> Result<(), Failure>;
    last tidy(running: &[RepositoryUrl]) -> Result<Option<RepoCache>, Failure>;
} }
