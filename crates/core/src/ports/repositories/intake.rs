//! Work of agents on its way in: programs that bundle it inside the agent's confinement, and the bundles taken in as hostile data.

use std::path::{Path, PathBuf};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::domain::agent::Salvaged;
use crate::domain::ids::CommitId;
use crate::domain::outcome::Failure;
use crate::ports::repositories::trees::{JudgingRequest, TreeRequest};

/// A program that commits and bundles what an agent left, to be run inside the agent's confinement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HarvestJob {
    /// Program and arguments.
    pub command: Vec<String>,
    /// Extra environment.
    pub env: Vec<(String, String)>,
    /// The directory into which it writes its bundle; its content is as untrusted as the agent.
    pub outbox: PathBuf,
}

/// Work that was received from an agent's tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kept", rename_all = "camelCase")]
pub enum Kept {
    /// New commits on top of the base.
    Commits {
        /// The newest.
        head: CommitId,
    },
    /// HEAD is the base: nothing was changed.
    Nothing,
    /// HEAD does not descend from the base. What there is was kept under `refs/agents/<id>/branches/`.
    Diverged {
        /// The branches kept, for the error text.
        branches: Vec<String>,
    },
}

/// The received work, and notes about the rest of the tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    /// The received work.
    pub kept: Kept,
    /// Branches and heads of other worktrees that have commits which the received work does not; they are kept as
    /// [`KeptWork::salvaged`](super::KeptWork::salvaged).
    pub beside: Vec<String>,
    /// Sentences for people: what lies in the tree and is in no commit, and whether it is kept.
    pub warnings: Vec<String>,
}

impl From<Kept> for Received {
    fn from(kept: Kept) -> Self {
        Self { kept, beside: Vec::new(), warnings: Vec::new() }
    }
}

/// Takes in what an agent made, as a bundle that its own confinement wrote. Each kind of bundle has a method that returns the program and one that reads what it wrote. Network methods have a deadline of
/// [`crate::limits::GIT_NETWORK`], local ones of [`crate::limits::GIT_LOCAL`]; a child that passes it is killed. Failures carry a kind
/// that decides about a retry, and words without secrets.
#[async_trait]
pub trait Intake: Send + Sync {
    /// Returns the command that commits what is left over in the tree and bundles HEAD against the base. It changes
    /// nothing in the tree but stale locks, and runs nothing that the agent set up.
    async fn harvest(&self, request: &TreeRequest) -> Result<HarvestJob, Failure>;

    /// Reads the bundle that the harvest wrote, checking every object, and keeps what it holds under
    /// `refs/agents/<id>/`. What lies beside HEAD (other branches, stashes, heads of other worktrees, what no commit can
    /// hold) is kept as [`KeptWork::salvaged`](super::KeptWork::salvaged); when it cannot be, the tree is set aside instead of removed. A head
    /// that names a commit of another repository which the base does not name is refused
    /// ([`FailureKind::Unpublishable`](crate::domain::outcome::FailureKind::Unpublishable)), so that nothing points nowhere. Nothing
    /// else in the outbox or the tree is read.
    async fn receive(&self, request: &TreeRequest, outbox: &Path) -> Result<Received, Failure>;

    /// Returns the command that makes the same commit and bundle as [`Intake::harvest`] of a tree whose agent goes
    /// on working, to be run as a job in its confinement beside its program: nothing in the tree is changed, nothing that
    /// the agent set up runs. A file that is written meanwhile is taken as it was found; a job that fails for such a
    /// reason may simply be run again.
    async fn snapshot(&self, request: &TreeRequest) -> Result<HarvestJob, Failure>;

    /// Reads the bundle that the snapshot wrote, checking every object, and returns the commit that holds what is in the
    /// tree, committed or not: [`Commits::diff`](super::Commits::diff) against the base shows it. `None` when nothing was changed. It is
    /// kept as `refs/mosaic/live/<id>` until the next snapshot and counts as nobody's work. Errors for a HEAD that does
    /// not descend from the base.
    async fn receive_snapshot(
        &self,
        request: &TreeRequest,
        outbox: &Path,
    ) -> Result<Option<CommitId>, Failure>;

    /// Returns the command that bundles the tree as it is: HEAD, index, working tree with what is untracked but not
    /// ignored, branches with commits of their own, stashes. It changes nothing in the tree but stale locks.
    async fn salvage(&self, request: &TreeRequest) -> Result<HarvestJob, Failure>;

    /// Reads the bundle that the salvage wrote, checking every object, and keeps it as
    /// `refs/mosaic/salvage/<id>`; `None` when the tree holds nothing that the base does not. What may not be read makes
    /// the tree stay, see [`Trees::remove`](super::Trees::remove). Repeating it is safe: the ref moves to what was found last, and what it held before is kept under another name if it differs.
    async fn receive_salvage(
        &self,
        request: &TreeRequest,
        outbox: &Path,
    ) -> Result<Option<Salvaged>, Failure>;

    /// Takes in a bundle that another orchestrator made of a commit that is to be judged here, from the file `bundle` in this
    /// directory, checking every object. It must hold exactly the asked commit, which must descend from the asked base; the
    /// repository may never have been fetched. What was taken in is kept under `refs/agents/<id>/` until it is forgotten. Fails
    /// with [`FailureKind::BadInput`](crate::domain::outcome::FailureKind::BadInput) for a bundle that cannot be used, a base that
    /// is not there included.
    async fn receive_for_judging(&self, request: &JudgingRequest, directory: &Path) -> Result<(), Failure>;
}
