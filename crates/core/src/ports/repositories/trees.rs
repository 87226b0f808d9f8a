//! Trees of agents and checkouts for gates on this machine: made before an agent has had them, looked at from outside, removed.

use std::path::PathBuf;

use async_trait::async_trait;

use crate::domain::ids::{AgentId, BranchName, CommitId};
use crate::domain::outcome::Failure;
use crate::domain::repository::RepositoryUrl;

/// An agent's own working tree: a clone that shares the bare repository's objects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Worktree {
    /// The agent.
    pub agent: AgentId,
    /// Absolute path of the tree.
    pub path: PathBuf,
    /// True when the agent's earlier tree was found whole and was kept.
    pub reused: bool,
    /// Sentences for people: parts of the commit that could not be checked out, and rules for its files that could not be read.
    pub warnings: Vec<String>,
}

/// Inputs from which a working tree is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TreeRequest {
    /// The agent.
    pub agent: AgentId,
    /// The task, for the commit trailers.
    pub task: String,
    /// The repository.
    pub repository: RepositoryUrl,
    /// The base branch: fetchable in the tree as `origin/<branch>`.
    pub base_branch: BranchName,
    /// The agent's own branch, checked out.
    pub branch: BranchName,
    /// The base commit.
    pub base: CommitId,
    /// The commit checked out: the base, or the agent's newest kept commit.
    pub start: CommitId,
    /// Keep an earlier tree of this agent when it is whole.
    pub reuse: bool,
    /// An earlier tree may hold work that nobody received: when it cannot be reused it is set aside, not removed.
    pub unreceived: bool,
}

/// Commit that is to be checked out for judgement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JudgingRequest {
    /// The agent.
    pub agent: AgentId,
    /// The repository.
    pub repository: RepositoryUrl,
    /// The base branch: readable in the checkout as `origin/<branch>`.
    pub base_branch: BranchName,
    /// The base commit.
    pub base: CommitId,
    /// The commit that is judged.
    pub commit: CommitId,
    /// Keeps checkouts of one agent apart.
    pub label: String,
}

/// Part of a commit's history that a bundle for judging holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BundleExtent {
    /// The commits after the base: whoever reads it has the base.
    AfterBase,
    /// Everything.
    Whole,
}

/// A fresh checkout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JudgingCheckout {
    /// Absolute path.
    pub path: PathBuf,
    /// Parts of the commit that could not be checked out, for people.
    pub warnings: Vec<String>,
}

/// A tree on this machine, looked at without the agent's record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StrayTree {
    /// There is none.
    None,
    /// It was never finished, so no program ever ran in it.
    Unused,
    /// It was handed to its agent; what it was made from.
    Handed(Box<TreeRequest>),
    /// The request that it was made from cannot be read, and so its content is not known either; the reason.
    Unknown(String),
}

/// Makes and removes working trees. No method runs git on an agent's tree after the agent had it. Network methods have a deadline of
/// [`crate::limits::GIT_NETWORK`], local ones of [`crate::limits::GIT_LOCAL`]; a child that passes it is killed. Failures carry a kind
/// that decides about a retry, and words without secrets.
#[async_trait]
pub trait Trees: Send + Sync {
    /// Makes (or keeps, see [`TreeRequest::reuse`]) the agent's tree. Idempotent.
    async fn make_tree(&self, request: &TreeRequest) -> Result<Worktree, Failure>;

    /// Tells whether the agent's tree, once made whole, is on this machine. Errors when that cannot be found out.
    async fn has_tree(&self, agent: AgentId) -> Result<bool, Failure>;

    /// Writes a fresh checkout of exactly this commit into an empty directory that the agent never saw. It has a git
    /// directory of its own: HEAD is the commit, the index matches, history and tags can be read, and there is no remote.
    /// Nothing that is written there reaches the bare repository.
    async fn checkout_for_judging(&self, request: &JudgingRequest) -> Result<JudgingCheckout, Failure>;

    /// Makes a bundle of exactly the commit, as `HEAD`: for a gatekeeper on another machine. It lies where checkouts for judging do
    /// and is removed with the agent's tree.
    async fn bundle_for_judging(
        &self,
        request: &JudgingRequest,
        extent: BundleExtent,
    ) -> Result<PathBuf, Failure>;

    /// Takes the agent's tree, outbox and judging checkouts away: renamed at once, deleted in the background.
    /// Idempotent; links are never followed.
    async fn remove(&self, agent: AgentId) -> Result<(), Failure>;

    /// Does the same with trees, too, that were set aside because their work could not be received, and with what
    /// [`Trees::keep_beside`] kept: for an agent whose work was given up or is kept. Returns the bytes of what was
    /// beside the tree. Idempotent.
    async fn abandon(&self, agent: AgentId) -> Result<u64, Failure>;

    /// Moves what an agent left in its own directory beside its tree to `<data>/beside/<agent>`, once everything that is
    /// ours there was removed; returns the names of what was moved now, at most
    /// [`limits::NAMED_LEFT`](crate::limits::NAMED_LEFT). Set-aside trees stay. Idempotent.
    async fn keep_beside(&self, agent: AgentId) -> Result<Vec<String>, Failure>;

    /// Returns the bytes of what is kept of an agent beside its tree.
    async fn beside_bytes(&self, agent: AgentId) -> Result<u64, Failure>;

    /// Lists the agents of which something is kept beside.
    async fn kept_beside(&self) -> Result<Vec<AgentId>, Failure>;

    /// Lists the agents that have a directory on this machine, whatever is in it.
    async fn present(&self) -> Result<Vec<AgentId>, Failure>;

    /// Looks at the tree of an agent whose record is lost.
    async fn stray_tree(&self, agent: AgentId) -> Result<StrayTree, Failure>;
}
