//! Repositories that can be read and do no work, for tests of what reads them.

use std::path::{Path, PathBuf};

use async_trait::async_trait;
use mosaic_core::domain::agent::Salvaged;
use mosaic_core::domain::gates::FilteredPath;
use mosaic_core::domain::ids::{AgentId, BranchName, CommitId};
use mosaic_core::domain::kept_work::KeptRef;
use mosaic_core::domain::outcome::{Failure, FailureKind};
use mosaic_core::domain::repository::RepositoryUrl;
use mosaic_core::ports::fleet::Hold;
use mosaic_core::ports::repositories::{
    Added, BundleExtent, Commits, DiffForm, FileStat, FilterUse, Fit, HarvestJob, Intake, JudgingCheckout,
    JudgingRequest, KeptRefs, KeptWork, NotAllowed, Publisher, Pushed, Received, RemoteState, RepoCache,
    RestoreRequest, Restored, StrayTree, TreeRequest, Trees, UnmergedCommit, Worktree,
};
use parking_lot::Mutex;
use tokio::sync::mpsc;

use super::repositories::commit;
use super::unused::unused;

/// Git as far as the server asks it.
#[derive(Default)]
pub struct ReadableRepositories {
    /// Statistics and text of every diff.
    pub diff: Mutex<(Vec<FileStat>, Vec<u8>)>,
    /// Commits that no remote has.
    pub unmerged: Mutex<Vec<UnmergedCommit>>,
}

#[async_trait]
impl Trees for ReadableRepositories {
    async fn make_tree(&self, _: &TreeRequest) -> Result<Worktree, Failure> {
        Err(unused())
    }
    async fn has_tree(&self, _: AgentId) -> Result<bool, Failure> {
        Ok(true)
    }
    async fn checkout_for_judging(&self, _: &JudgingRequest) -> Result<JudgingCheckout, Failure> {
        Err(unused())
    }
    async fn bundle_for_judging(&self, _: &JudgingRequest, _: BundleExtent) -> Result<PathBuf, Failure> {
        Err(unused())
    }
    async fn remove(&self, _: AgentId) -> Result<(), Failure> {
        Ok(())
    }
    async fn present(&self) -> Result<Vec<AgentId>, Failure> {
        Ok(Vec::new())
    }
    async fn stray_tree(&self, _: AgentId) -> Result<StrayTree, Failure> {
        Ok(StrayTree::None)
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
}

#[async_trait]
impl Intake for ReadableRepositories {
    async fn harvest(&self, _: &TreeRequest) -> Result<HarvestJob, Failure> {
        Err(unused())
    }
    async fn receive(&self, _: &TreeRequest, _: &Path) -> Result<Received, Failure> {
        Err(unused())
    }
    async fn receive_for_judging(&self, _: &JudgingRequest, _: &Path) -> Result<(), Failure> {
        Err(unused())
    }
    async fn snapshot(&self, _: &TreeRequest) -> Result<HarvestJob, Failure> {
        Err(unused())
    }
    async fn receive_snapshot(&self, _: &TreeRequest, _: &Path) -> Result<Option<CommitId>, Failure> {
        Err(unused())
    }
    async fn salvage(&self, request: &TreeRequest) -> Result<HarvestJob, Failure> {
        self.harvest(request).await
    }
    async fn receive_salvage(&self, request: &TreeRequest, _: &Path) -> Result<Option<Salvaged>, Failure> {
        self.salvaged(&request.repository, request.agent).await
    }
}

#[async_trait]
impl Commits for ReadableRepositories {
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
    async fn read_file(
        &self,
        _: &RepositoryUrl,
        _: &CommitId,
        _: &str,
        _: usize,
    ) -> Result<Option<Vec<u8>>, Failure> {
        Err(unused())
    }
    async fn objects(
        &self,
        _: &RepositoryUrl,
        _: &CommitId,
        _: &[String],
    ) -> Result<Vec<Option<String>>, Failure> {
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
        let mut text = self.diff.lock().1.clone();
        let cut = text.len() > most;
        text.truncate(most);
        Ok((text, cut))
    }
    async fn stat(&self, _: &RepositoryUrl, _: &CommitId, _: &CommitId) -> Result<Vec<FileStat>, Failure> {
        Ok(self.diff.lock().0.clone())
    }
}

#[async_trait]
impl Publisher for ReadableRepositories {
    fn allowed(&self, repository: &RepositoryUrl) -> Result<(), NotAllowed> {
        match repository.needs_local_permission() {
            true => Err(NotAllowed(
                "local repositories are not allowed; set MOSAIC_ALLOW_LOCAL_REPOSITORIES=true".to_owned(),
            )),
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
    async fn fit(&self, _: &RepositoryUrl, _: &BranchName, _: &CommitId) -> Result<Fit, Failure> {
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
}

#[async_trait]
impl KeptWork for ReadableRepositories {
    async fn salvaged(&self, _: &RepositoryUrl, agent: AgentId) -> Result<Option<Salvaged>, Failure> {
        Ok(Some(Salvaged { reference: format!("refs/mosaic/salvage/{agent}"), commit: commit('d') }))
    }
    async fn restore(&self, request: &RestoreRequest) -> Result<Option<Restored>, Failure> {
        let Some(salvage) = request.salvage.clone() else { return Ok(None) };
        let (path, branch) = (PathBuf::from("/restored").join(&request.name), request.branch.clone());
        Ok(Some(Restored { path, branch, head: request.head.clone(), salvage: Some(salvage) }))
    }
    fn cache_of(&self, _: &RepositoryUrl) -> RepoCache {
        RepoCache("fake.git".to_owned())
    }
    async fn kept_refs(&self) -> Result<Vec<KeptRefs>, Failure> {
        Ok(Vec::new())
    }
    async fn refs_of(&self, _: &RepoCache, _: AgentId, _: usize) -> Result<Vec<KeptRef>, Failure> {
        Ok(Vec::new())
    }
    async fn unmerged(
        &self,
        _: &RepoCache,
        _: AgentId,
        _: &[CommitId],
        _: usize,
    ) -> Result<Vec<UnmergedCommit>, Failure> {
        Ok(self.unmerged.lock().clone())
    }
    async fn forget(&self, _: &RepoCache, _: AgentId) -> Result<(), Failure> {
        Ok(())
    }
    async fn tidy(&self, _: &[RepositoryUrl]) -> Result<Option<RepoCache>, Failure> {
        Ok(None)
    }
}
