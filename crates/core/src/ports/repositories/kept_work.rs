//! Work of agents that bare repositories keep after their trees are gone.

use std::path::PathBuf;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::domain::agent::Salvaged;
use crate::domain::ids::{AgentId, BranchName, CommitId, Timestamp};
use crate::domain::kept_work::KeptRef;
use crate::domain::outcome::Failure;
use crate::domain::repository::RepositoryUrl;

/// Work of an ended agent that is to be restored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestoreRequest {
    /// The agent.
    pub agent: AgentId,
    /// Its name for people: the directory is called after it.
    pub name: String,
    /// The repository.
    pub repository: RepositoryUrl,
    /// The base branch, restored as `origin/<branch>`.
    pub base_branch: BranchName,
    /// The base commit.
    pub base: CommitId,
    /// The agent's own branch.
    pub branch: BranchName,
    /// The newest commit that was received from it.
    pub head: Option<CommitId>,
    /// Work that was salvaged when the agent ended, as far as the record knows; precedes `head`, unless it was made beside it.
    pub salvage: Option<Salvaged>,
}

/// An agent's work, brought back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    /// Absolute path of a clone that depends on nothing else.
    pub path: PathBuf,
    /// The branch that is checked out.
    pub branch: BranchName,
    /// Its commit; `None` when the agent's HEAD had none.
    pub head: Option<CommitId>,
    /// Salvage from which index and working tree were restored; `None` when everything had been received as commits.
    pub salvage: Option<Salvaged>,
}

/// Bare repository of the server for one remote, by the name of its directory.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RepoCache(pub String);

/// A commit of an agent that no branch of the remote is known to have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnmergedCommit {
    /// The commit.
    pub commit: CommitId,
    /// First line of its message.
    pub subject: String,
}

/// Refs that a bare repository keeps for an agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptRefs {
    /// The bare repository.
    pub cache: RepoCache,
    /// The agent.
    pub agent: AgentId,
    /// When the newest of them was written.
    pub since: Timestamp,
}

/// Lists, restores and forgets what bare repositories keep of agents, and packs them. Network methods have a deadline of
/// [`crate::limits::GIT_NETWORK`], local ones of [`crate::limits::GIT_LOCAL`]; a child that passes it is killed. Failures carry a kind
/// that decides about a retry, and words without secrets.
#[async_trait]
pub trait KeptWork: Send + Sync {
    /// Returns what the bare repository keeps of the agent under `refs/mosaic/salvage/<id>`.
    async fn salvaged(&self, repository: &RepositoryUrl, agent: AgentId)
    -> Result<Option<Salvaged>, Failure>;

    /// Brings an agent's work back into a new directory of its own, nothing of which is shared with the bare repository: its
    /// branch at its HEAD, index and working tree as they were. `None` when the bare repository keeps nothing of it.
    async fn restore(&self, request: &RestoreRequest) -> Result<Option<Restored>, Failure>;

    /// Returns the bare repository of a repository, whether it exists or not.
    fn cache_of(&self, repository: &RepositoryUrl) -> RepoCache;

    /// Lists everything that bare repositories keep by refs of agents.
    async fn kept_refs(&self) -> Result<Vec<KeptRefs>, Failure>;

    /// Lists the refs that the bare repository has of the agent, the salvage first, at most `most`.
    async fn refs_of(&self, cache: &RepoCache, agent: AgentId, most: usize) -> Result<Vec<KeptRef>, Failure>;

    /// Returns the commits that the bare repository keeps of the agent and that neither a fetched branch of the remote nor one of
    /// the `safe` commits reaches, newest first, at most `most`. An agent without refs has none.
    async fn unmerged(
        &self,
        cache: &RepoCache,
        agent: AgentId,
        safe: &[CommitId],
        most: usize,
    ) -> Result<Vec<UnmergedCommit>, Failure>;

    /// Removes every ref that the bare repository has of the agent: kept commits and salvage. Idempotent; objects stay until the
    /// bare repository is packed again.
    async fn forget(&self, cache: &RepoCache, agent: AgentId) -> Result<(), Failure>;

    /// Packs one bare repository again when it has become untidy, none when all are tidy or in use. A bare repository of a `running`
    /// repository, or of one that has a tree on this machine, is never touched: trees share its objects. What no ref
    /// reaches stays for [`crate::limits::UNREACHABLE`]. Returns what was packed.
    async fn tidy(&self, running: &[RepositoryUrl]) -> Result<Option<RepoCache>, Failure>;
}
