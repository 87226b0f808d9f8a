//! A git that remembers what was pushed, over a remote that a test spoils.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_trait::async_trait;
use mosaic_core::domain::agent::Salvaged;
use mosaic_core::domain::gates::FilteredPath;
use mosaic_core::domain::ids::{AgentId, BranchName, CommitId};
use mosaic_core::domain::kept_work::KeptRef;
use mosaic_core::domain::outcome::{Failure, FailureKind};
use mosaic_core::domain::repository::RepositoryUrl;
use mosaic_core::ports::fleet::Hold;
use mosaic_core::ports::repositories::{
    Added, BundleExtent, ChangeKind, Commits, DiffForm, FileStat, FilterUse, Fit, HarvestJob, Intake,
    JudgingCheckout, JudgingRequest, Kept, KeptRefs, KeptWork, NotAllowed, Publisher, Pushed, Received,
    RemoteState, RepoCache, RestoreRequest, Restored, StrayTree, TreeRequest, Trees, UnmergedCommit,
    Worktree,
};
use tokio::sync::mpsc;

use super::knobs::{self, Broken};
use super::store::FakeStore;
use super::world::{Behaviour, FakeWorld, Part, RemoteMood, Stuck};
use crate::repositories_suite::Ground;

/// The change that every commit of a fake makes.
const CHANGE: &[u8] = b"--- a/README.md\n+++ b/README.md\n@@ -1 +1 @@\n-old\n+new\n";

/// Returns the five parts of a world of their own, for the conformance suite.
pub fn ground() -> impl Ground {
    let (world, _) = FakeWorld::orchestrator(Arc::new(FakeStore::new()), 1, Behaviour::EndAtOnce);
    Part(world, "here".parse().expect("a word"))
}

impl Part {
    fn again(&self) -> Arc<Self> {
        Arc::new(Self(Arc::clone(&self.0), self.1.clone()))
    }
}

#[async_trait]
impl Ground for Part {
    fn trees(&self) -> Arc<dyn Trees> {
        self.again()
    }
    fn intake(&self) -> Arc<dyn Intake> {
        self.again()
    }
    fn commits(&self) -> Arc<dyn Commits> {
        self.again()
    }
    fn publisher(&self) -> Arc<dyn Publisher> {
        self.again()
    }
    fn kept_work(&self) -> Arc<dyn KeptWork> {
        self.again()
    }
    async fn request(&self) -> TreeRequest {
        let branch = |name: &str| name.parse::<BranchName>().expect("a branch name");
        let repository: RepositoryUrl = "https://host.invalid/r.git".parse().expect("an address");
        let (base_branch, own) = (branch("main"), branch("mosaic/task/a"));
        let base = self.fetch(&repository, &base_branch, &own).await.expect("the base is there").base;
        TreeRequest {
            agent: AgentId(uuid::Uuid::from_u128(1)),
            task: "task".to_owned(),
            repository,
            base_branch,
            branch: own,
            start: base.clone(),
            base,
            reuse: false,
            unreceived: false,
        }
    }
    fn edit(&self, _: &TreeRequest) {}
    fn run(&self, _: &TreeRequest, _: &HarvestJob) {}
}

/// Returns a commit id of one repeated digit.
pub fn commit(digit: char) -> CommitId {
    digit.to_string().repeat(40).parse().expect("forty digits are a commit id")
}

#[async_trait]
impl Trees for Part {
    async fn make_tree(&self, request: &TreeRequest) -> Result<Worktree, Failure> {
        self.0.trees.lock().insert(self.place(request.agent));
        Ok(Worktree {
            agent: request.agent,
            path: PathBuf::from("/nonexistent"),
            reused: request.reuse,
            warnings: Vec::new(),
        })
    }
    async fn has_tree(&self, agent: AgentId) -> Result<bool, Failure> {
        Ok(!self.0.cleaned.lock().contains(&agent))
    }
    async fn checkout_for_judging(&self, _: &JudgingRequest) -> Result<JudgingCheckout, Failure> {
        Ok(JudgingCheckout { path: PathBuf::from("/nonexistent"), warnings: Vec::new() })
    }
    async fn bundle_for_judging(&self, _: &JudgingRequest, _: BundleExtent) -> Result<PathBuf, Failure> {
        Ok(PathBuf::from("/nonexistent"))
    }
    async fn remove(&self, agent: AgentId) -> Result<(), Failure> {
        if *self.0.stuck.lock() == Stuck::Removal {
            return Err(Failure::new(FailureKind::Internal, "something is mounted there"));
        }
        self.0.cleaned.lock().insert(agent);
        self.0.trees.lock().remove(&self.place(agent));
        Ok(())
    }
    async fn present(&self) -> Result<Vec<AgentId>, Failure> {
        Ok(self.0.trees_on(self.1.as_str()))
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
impl Intake for Part {
    async fn harvest(&self, _: &TreeRequest) -> Result<HarvestJob, Failure> {
        let outbox = PathBuf::from("/nonexistent");
        Ok(HarvestJob { command: vec!["harvest".to_owned()], env: Vec::new(), outbox })
    }
    async fn receive(&self, request: &TreeRequest, _: &Path) -> Result<Received, Failure> {
        if self.0.leaves_beside.load(Ordering::Relaxed) {
            self.0.salvaged.lock().insert(request.agent);
        }
        Ok(Kept::Commits { head: commit('c') }.into())
    }
    async fn receive_for_judging(&self, _: &JudgingRequest, _: &Path) -> Result<(), Failure> {
        Ok(())
    }
    async fn snapshot(&self, request: &TreeRequest) -> Result<HarvestJob, Failure> {
        self.harvest(request).await
    }
    async fn receive_snapshot(&self, _: &TreeRequest, _: &Path) -> Result<Option<CommitId>, Failure> {
        Ok(Some(commit('c')))
    }
    async fn salvage(&self, request: &TreeRequest) -> Result<HarvestJob, Failure> {
        if *self.0.stuck.lock() == Stuck::Salvage {
            return Err(Failure::new(FailureKind::Disk, "no room for the bundle"));
        }
        self.harvest(request).await
    }
    async fn receive_salvage(&self, request: &TreeRequest, _: &Path) -> Result<Option<Salvaged>, Failure> {
        self.0.salvaged.lock().insert(request.agent);
        self.0.kept_on.lock().insert(self.place(request.agent));
        self.salvaged(&request.repository, request.agent).await
    }
}

#[async_trait]
impl Commits for Part {
    async fn additions(
        &self,
        _: &RepositoryUrl,
        _: &CommitId,
        _: &CommitId,
        _: mpsc::Sender<Added>,
    ) -> Result<(), Failure> {
        Ok(())
    }
    async fn files_with(
        &self,
        _: &RepositoryUrl,
        _: &CommitId,
        _: &[String],
    ) -> Result<Vec<(String, Vec<u8>)>, Failure> {
        Ok(Vec::new())
    }
    async fn filtered(
        &self,
        _: &RepositoryUrl,
        _: &CommitId,
        _: &CommitId,
    ) -> Result<Vec<FilteredPath>, Failure> {
        Ok(Vec::new())
    }
    async fn filters(&self, _: &RepositoryUrl, _: &CommitId) -> Result<Vec<FilterUse>, Failure> {
        Ok(Vec::new())
    }
    async fn read_file(
        &self,
        _: &RepositoryUrl,
        _: &CommitId,
        _: &str,
        _: usize,
    ) -> Result<Option<Vec<u8>>, Failure> {
        Ok(None)
    }
    async fn objects(
        &self,
        _: &RepositoryUrl,
        _: &CommitId,
        paths: &[String],
    ) -> Result<Vec<Option<String>>, Failure> {
        Ok(vec![None; paths.len()])
    }
    async fn list_files(&self, _: &RepositoryUrl, _: &CommitId, _: &str) -> Result<Vec<String>, Failure> {
        Ok(Vec::new())
    }
    async fn export(&self, _: &RepositoryUrl, _: &CommitId, _: &str, _: &Path) -> Result<(), Failure> {
        Ok(())
    }
    async fn diff(
        &self,
        _: &RepositoryUrl,
        base: &CommitId,
        head: &CommitId,
        _: DiffForm,
        most: usize,
    ) -> Result<(Vec<u8>, bool), Failure> {
        let mut text = if base == head { Vec::new() } else { CHANGE.to_vec() };
        let cut = text.len() > most;
        text.truncate(most);
        Ok((text, cut))
    }
    async fn stat(
        &self,
        _: &RepositoryUrl,
        base: &CommitId,
        head: &CommitId,
    ) -> Result<Vec<FileStat>, Failure> {
        let file = || FileStat {
            kind: ChangeKind::Modified,
            path: b"README.md".to_vec(),
            old_path: None,
            old_mode: Some("100644".to_owned()),
            new_mode: Some("100644".to_owned()),
            added: Some(1),
            deleted: Some(1),
        };
        Ok((base != head).then(file).into_iter().collect())
    }
}

#[async_trait]
impl Publisher for Part {
    fn allowed(&self, _: &RepositoryUrl) -> Result<(), NotAllowed> {
        Ok(())
    }
    async fn fetch(&self, _: &RepositoryUrl, _: &BranchName, _: &BranchName) -> Result<RemoteState, Failure> {
        self.0.knobs.works(self.1.as_str(), Broken::Fetch)?;
        Ok(RemoteState { base: commit('b'), tip: None })
    }
    async fn fit(&self, _: &RepositoryUrl, _: &BranchName, _: &CommitId) -> Result<Fit, Failure> {
        Ok(Fit::Clean(commit('b')))
    }
    async fn push(
        &self,
        _: &RepositoryUrl,
        _: &CommitId,
        branch: &BranchName,
        _: Option<&CommitId>,
        hold: &Hold,
    ) -> Result<Pushed, Failure> {
        self.0.knobs.works(self.1.as_str(), Broken::Push)?;
        let mood = *self.0.remote.lock();
        let lands = || self.0.pushed.lock().push((branch.to_string(), self.1.clone()));
        if matches!(mood, RemoteMood::TakesAtOnce | RemoteMood::Silent) {
            lands();
        }
        self.0.begun.send_modify(|begun| *begun += 1);
        let mut hangs = self.0.hangs.subscribe();
        let mut hold = hold.clone();
        loop {
            let left = hold.until().map(|until| until.saturating_sub(knobs::elapsed()));
            if left.is_some_and(|left| left.is_zero()) {
                self.0.given_up.fetch_add(1, Ordering::SeqCst);
                return Err(Failure::new(FailureKind::Network, "the push was ended with its lease"));
            }
            tokio::select! {
                biased;
                _ = hangs.wait_for(|hangs| !*hangs) => break,
                () = tokio::time::sleep(left.unwrap_or(Duration::from_secs(1 << 30))) => {}
                () = hold.moved() => {}
            }
        }
        if mood == RemoteMood::Honest {
            lands();
        }
        Ok(Pushed::Done)
    }
    async fn shown(
        &self,
        _: &RepositoryUrl,
        branch: &BranchName,
        _: &BranchName,
        commits: &[CommitId],
    ) -> Result<Option<CommitId>, Failure> {
        match *self.0.remote.lock() {
            RemoteMood::Silent => Err(Failure::new(FailureKind::Network, "the remote does not answer")),
            RemoteMood::Lies => Ok(None),
            RemoteMood::Honest | RemoteMood::TakesAtOnce => {
                let has = self.0.pushed.lock().iter().any(|(pushed, _)| pushed == branch.as_str());
                Ok(commits.first().filter(|_| has).cloned())
            }
        }
    }
    async fn keep_remote_tip(
        &self,
        _: &RepositoryUrl,
        _: &BranchName,
        tip: &CommitId,
        agent: AgentId,
    ) -> Result<KeptRef, Failure> {
        let reference = format!("refs/agents/{agent}/replaced/{}", tip.short());
        Ok(KeptRef { reference, commit: tip.clone() })
    }
}

#[async_trait]
impl KeptWork for Part {
    async fn salvaged(&self, _: &RepositoryUrl, agent: AgentId) -> Result<Option<Salvaged>, Failure> {
        let known = self.0.salvaged.lock().contains(&agent);
        Ok(known.then(|| Salvaged { reference: format!("refs/mosaic/salvage/{agent}"), commit: commit('d') }))
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
    async fn refs_of(&self, _: &RepoCache, agent: AgentId, most: usize) -> Result<Vec<KeptRef>, Failure> {
        let place = self.place(agent);
        let mut kept = self.0.kept_on.lock();
        // What lies in a tree is kept before anybody asks for it.
        if self.0.trees.lock().contains(&place) {
            kept.insert(place.clone());
        }
        let one = || KeptRef { reference: format!("refs/mosaic/salvage/{agent}"), commit: commit('d') };
        Ok(kept.contains(&place).then(one).into_iter().take(most).collect())
    }
    async fn unmerged(
        &self,
        _: &RepoCache,
        agent: AgentId,
        _: &[CommitId],
        _: usize,
    ) -> Result<Vec<UnmergedCommit>, Failure> {
        let one = || UnmergedCommit { commit: commit('d'), subject: "what an attempt left".to_owned() };
        Ok(self.0.kept_on.lock().contains(&self.place(agent)).then(one).into_iter().collect())
    }
    async fn forget(&self, _: &RepoCache, agent: AgentId) -> Result<(), Failure> {
        self.0.kept_on.lock().remove(&self.place(agent));
        self.0.salvaged.lock().remove(&agent);
        Ok(())
    }
    async fn tidy(&self, _: &[RepositoryUrl]) -> Result<Option<RepoCache>, Failure> {
        Ok(None)
    }
}
