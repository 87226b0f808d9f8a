//! The port, method by method.

use std::path::{Path, PathBuf};

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

use super::bundle_spec::Purpose;
use super::errors::GitError;
use super::repositories::GitRepositories;
use super::{errors, ref_files, ref_names};

#[async_trait]
impl Trees for GitRepositories {
    async fn make_tree(&self, request: &TreeRequest) -> Result<Worktree, Failure> {
        self.make_tree_now(request).await.map_err(GitError::at_edge)
    }

    async fn has_tree(&self, agent: AgentId) -> Result<bool, Failure> {
        let is_dir = std::fs::symlink_metadata(self.layout.tree(agent)).is_ok_and(|meta| meta.is_dir());
        Ok(is_dir && self.layout.marker(agent).is_file())
    }

    async fn checkout_for_judging(&self, request: &JudgingRequest) -> Result<JudgingCheckout, Failure> {
        self.checkout_now(request).await.map_err(GitError::at_edge)
    }

    async fn bundle_for_judging(
        &self,
        request: &JudgingRequest,
        extent: BundleExtent,
    ) -> Result<PathBuf, Failure> {
        self.judging_bundle(request, extent).await.map_err(GitError::at_edge)
    }

    async fn remove(&self, agent: AgentId) -> Result<(), Failure> {
        self.remove_now(agent).map_err(GitError::at_edge)
    }

    async fn abandon(&self, agent: AgentId) -> Result<u64, Failure> {
        self.abandon_now(agent).map_err(GitError::at_edge)
    }

    async fn keep_beside(&self, agent: AgentId) -> Result<Vec<String>, Failure> {
        self.keep_beside_now(agent)
            .map_err(|e| errors::io("keeping what lies beside the agent's tree", e).at_edge())
    }

    async fn beside_bytes(&self, agent: AgentId) -> Result<u64, Failure> {
        Ok(self.beside_bytes_now(agent))
    }

    async fn kept_beside(&self) -> Result<Vec<AgentId>, Failure> {
        Ok(self.kept_beside())
    }

    async fn present(&self) -> Result<Vec<AgentId>, Failure> {
        self.present_now().map_err(|e| errors::io("listing the directories of agents", e).at_edge())
    }

    async fn stray_tree(&self, agent: AgentId) -> Result<StrayTree, Failure> {
        self.stray_tree_now(agent).map_err(|e| errors::io("looking at a tree without a record", e).at_edge())
    }
}

#[async_trait]
impl Intake for GitRepositories {
    async fn harvest(&self, request: &TreeRequest) -> Result<HarvestJob, Failure> {
        self.prepare_harvest(request, Purpose::Commit).await.map_err(GitError::at_edge)
    }

    async fn receive(&self, request: &TreeRequest, outbox: &Path) -> Result<Received, Failure> {
        self.receive_now(request, outbox).await.map_err(GitError::at_edge)
    }

    async fn receive_for_judging(&self, request: &JudgingRequest, directory: &Path) -> Result<(), Failure> {
        self.receive_for_judging_now(request, directory).await.map_err(GitError::at_edge)
    }

    async fn snapshot(&self, request: &TreeRequest) -> Result<HarvestJob, Failure> {
        self.prepare_harvest(request, Purpose::Snapshot).await.map_err(GitError::at_edge)
    }

    async fn receive_snapshot(
        &self,
        request: &TreeRequest,
        outbox: &Path,
    ) -> Result<Option<CommitId>, Failure> {
        self.receive_snapshot_now(request, outbox).await.map_err(GitError::at_edge)
    }

    async fn salvage(&self, request: &TreeRequest) -> Result<HarvestJob, Failure> {
        self.prepare_harvest(request, Purpose::Salvage).await.map_err(GitError::at_edge)
    }

    async fn receive_salvage(
        &self,
        request: &TreeRequest,
        outbox: &Path,
    ) -> Result<Option<Salvaged>, Failure> {
        self.receive_salvage_now(request, outbox).await.map_err(GitError::at_edge)
    }
}

#[async_trait]
impl Commits for GitRepositories {
    async fn files_with(
        &self,
        repository: &RepositoryUrl,
        commit: &CommitId,
        lines: &[String],
    ) -> Result<Vec<(String, Vec<u8>)>, Failure> {
        self.files_with_now(repository, commit, lines).await.map_err(GitError::at_edge)
    }

    async fn additions(
        &self,
        repository: &RepositoryUrl,
        base: &CommitId,
        head: &CommitId,
        into: mpsc::Sender<Added>,
    ) -> Result<(), Failure> {
        self.additions_now(repository, base, head, into).await.map_err(GitError::at_edge)
    }

    async fn filtered(
        &self,
        repository: &RepositoryUrl,
        base: &CommitId,
        head: &CommitId,
    ) -> Result<Vec<FilteredPath>, Failure> {
        self.filtered_now(repository, base, head).await.map_err(GitError::at_edge)
    }

    async fn filters(
        &self,
        repository: &RepositoryUrl,
        commit: &CommitId,
    ) -> Result<Vec<FilterUse>, Failure> {
        self.filters_now(repository, commit).await.map_err(GitError::at_edge)
    }

    async fn read_file(
        &self,
        repository: &RepositoryUrl,
        commit: &CommitId,
        path: &str,
        most: usize,
    ) -> Result<Option<Vec<u8>>, Failure> {
        self.read_file_now(repository, commit, path, most).await.map_err(GitError::at_edge)
    }

    async fn objects(
        &self,
        repository: &RepositoryUrl,
        commit: &CommitId,
        paths: &[String],
    ) -> Result<Vec<Option<String>>, Failure> {
        self.objects_now(repository, commit, paths).await.map_err(GitError::at_edge)
    }

    async fn list_files(
        &self,
        repository: &RepositoryUrl,
        commit: &CommitId,
        below: &str,
    ) -> Result<Vec<String>, Failure> {
        self.list_files_now(repository, commit, below).await.map_err(GitError::at_edge)
    }

    async fn export(
        &self,
        repository: &RepositoryUrl,
        commit: &CommitId,
        directory: &str,
        into: &Path,
    ) -> Result<(), Failure> {
        self.export_now(repository, commit, directory, into).await.map_err(GitError::at_edge)
    }

    async fn diff(
        &self,
        repository: &RepositoryUrl,
        base: &CommitId,
        head: &CommitId,
        form: DiffForm,
        most: usize,
    ) -> Result<(Vec<u8>, bool), Failure> {
        self.diff_now(repository, base, head, form, most).await.map_err(GitError::at_edge)
    }

    async fn stat(
        &self,
        repository: &RepositoryUrl,
        base: &CommitId,
        head: &CommitId,
    ) -> Result<Vec<FileStat>, Failure> {
        self.stat_now(repository, base, head).await.map_err(GitError::at_edge)
    }
}

#[async_trait]
impl Publisher for GitRepositories {
    fn allowed(&self, repository: &RepositoryUrl) -> Result<(), NotAllowed> {
        self.allows(repository)
    }

    async fn fetch(
        &self,
        repository: &RepositoryUrl,
        base: &BranchName,
        own: &BranchName,
    ) -> Result<RemoteState, Failure> {
        self.fetch_now(repository, base, Some(own)).await.map_err(GitError::at_edge)
    }

    async fn fit(
        &self,
        repository: &RepositoryUrl,
        base: &BranchName,
        head: &CommitId,
    ) -> Result<Fit, Failure> {
        self.fit_now(repository, base, head).await.map_err(GitError::at_edge)
    }

    async fn push(
        &self,
        repository: &RepositoryUrl,
        head: &CommitId,
        branch: &BranchName,
        expected: Option<&CommitId>,
        hold: &Hold,
    ) -> Result<Pushed, Failure> {
        self.push_now(repository, head, branch, expected, hold).await.map_err(GitError::at_edge)
    }

    async fn shown(
        &self,
        repository: &RepositoryUrl,
        branch: &BranchName,
        base: &BranchName,
        commits: &[CommitId],
    ) -> Result<Option<CommitId>, Failure> {
        self.shown_now(repository, branch, base, commits).await.map_err(GitError::at_edge)
    }

    async fn keep_remote_tip(
        &self,
        repository: &RepositoryUrl,
        branch: &BranchName,
        tip: &CommitId,
        agent: AgentId,
    ) -> Result<KeptRef, Failure> {
        self.keep_remote_tip_now(repository, branch, tip, agent).await.map_err(GitError::at_edge)
    }
}

#[async_trait]
impl KeptWork for GitRepositories {
    async fn salvaged(
        &self,
        repository: &RepositoryUrl,
        agent: AgentId,
    ) -> Result<Option<Salvaged>, Failure> {
        let reference = ref_names::salvage(agent);
        let commit = ref_files::read_ref(&self.layout.bare_repository(repository), &reference);
        Ok(commit.map(|commit| Salvaged { reference, commit }))
    }

    async fn restore(&self, request: &RestoreRequest) -> Result<Option<Restored>, Failure> {
        self.restore_now(request).await.map_err(GitError::at_edge)
    }

    fn cache_of(&self, repository: &RepositoryUrl) -> RepoCache {
        self.name_of(repository)
    }

    async fn kept_refs(&self) -> Result<Vec<KeptRefs>, Failure> {
        self.ready().await;
        self.kept_refs_now().map_err(|e| errors::io("listing what is kept of agents", e).at_edge())
    }

    async fn refs_of(&self, cache: &RepoCache, agent: AgentId, most: usize) -> Result<Vec<KeptRef>, Failure> {
        self.refs_of_now(cache, agent, most).await.map_err(GitError::at_edge)
    }

    async fn unmerged(
        &self,
        cache: &RepoCache,
        agent: AgentId,
        safe: &[CommitId],
        most: usize,
    ) -> Result<Vec<UnmergedCommit>, Failure> {
        self.unmerged_now(cache, agent, safe, most).await.map_err(GitError::at_edge)
    }

    async fn forget(&self, cache: &RepoCache, agent: AgentId) -> Result<(), Failure> {
        self.forget_now(cache, agent).await.map_err(GitError::at_edge)
    }

    async fn tidy(&self, running: &[RepositoryUrl]) -> Result<Option<RepoCache>, Failure> {
        self.tidy_now(running).await.map_err(GitError::at_edge)
    }
}
