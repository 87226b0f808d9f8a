//! The remote: what it has, whether work fits onto it, and the push.

use async_trait::async_trait;
use thiserror::Error;

use crate::domain::ids::{AgentId, BranchName, CommitId};
use crate::domain::kept_work::KeptRef;
use crate::domain::outcome::Failure;
use crate::domain::repository::RepositoryUrl;
use crate::ports::fleet::Hold;

/// State of the remote when it was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteState {
    /// Tip of the base branch, fetched into the bare repository.
    pub base: CommitId,
    /// Tip of the agent's own branch; `None` when the remote has none.
    pub tip: Option<CommitId>,
}

/// Result of a trial merge with the newest base.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fit {
    /// It merges cleanly; the newest base commit.
    Clean(CommitId),
    /// It does not; the files in conflict.
    Conflict {
        /// The newest base commit.
        base: CommitId,
        /// Paths, at most [`crate::limits::FINDINGS`].
        files: Vec<String>,
    },
}

/// Result of a push.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pushed {
    /// The remote says that its branch is now exactly the commit; see [`Publisher::shown`].
    Done,
    /// The remote's branch was not where it was recorded; nothing was changed. Its tip now.
    Moved(Option<CommitId>),
    /// The remote refused for good (hook, protection); its words.
    Refused(String),
}

/// A repository that policy does not allow, with the message for the client.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct NotAllowed(pub String);

/// Asks remotes and pushes to them. Network methods have a deadline of
/// [`crate::limits::GIT_NETWORK`], local ones of [`crate::limits::GIT_LOCAL`]; a child that passes it is killed. Failures carry a kind
/// that decides about a retry, and words without secrets.
#[async_trait]
pub trait Publisher: Send + Sync {
    /// Tells whether policy allows this repository at all (scheme, local permission).
    fn allowed(&self, repository: &RepositoryUrl) -> Result<(), NotAllowed>;

    /// Fetches the base branch into the bare repository (made when missing) and reads the tip of the agent's
    /// own branch on the remote. A branch of the remote in whose place the agent's would need a directory is
    /// [`FailureKind::BadInput`](crate::domain::outcome::FailureKind::BadInput): the work could not be pushed. Calls for
    /// one repository at the same time share one fetch where they can.
    async fn fetch(
        &self,
        repository: &RepositoryUrl,
        base: &BranchName,
        own: &BranchName,
    ) -> Result<RemoteState, Failure>;

    /// Fetches the newest base and tries to merge the commit onto it, in the bare repository.
    async fn fit(
        &self,
        repository: &RepositoryUrl,
        base: &BranchName,
        head: &CommitId,
    ) -> Result<Fit, Failure>;

    /// Pushes exactly this commit to the branch if the remote's branch still is `expected` (`None`: absent). What talks to
    /// the remote is dead before `hold` is over, whatever becomes of this server.
    async fn push(
        &self,
        repository: &RepositoryUrl,
        head: &CommitId,
        branch: &BranchName,
        expected: Option<&CommitId>,
        hold: &Hold,
    ) -> Result<Pushed, Failure>;

    /// Asks the remote, as it is now, which of these commits it has: the first that the agent's branch or the base branch
    /// reaches, or `None`. Errors when it cannot be asked. Changes no ref.
    async fn shown(
        &self,
        repository: &RepositoryUrl,
        branch: &BranchName,
        base: &BranchName,
        commits: &[CommitId],
    ) -> Result<Option<CommitId>, Failure>;

    /// Fetches the tip that the agent's branch has on the remote, and keeps it in the bare repository under
    /// `refs/agents/<id>/replaced/`, so that a push which replaces it loses nothing. Errors with
    /// [`FailureKind::Network`](crate::domain::outcome::FailureKind::Network) when the branch is another one by then. Idempotent.
    async fn keep_remote_tip(
        &self,
        repository: &RepositoryUrl,
        branch: &BranchName,
        tip: &CommitId,
        agent: AgentId,
    ) -> Result<KeptRef, Failure>;
}
