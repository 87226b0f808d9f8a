//! Repositories: one store per remote, a tree per agent, and everything that is read, judged and pushed from the
//! store. No method runs git on an agent's tree after the agent had it; what an agent made comes in as a bundle
//! that its own confinement wrote (see [`Repositories::harvest`] and [`Repositories::receive`]).

use std::path::{Path, PathBuf};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use crate::domain::agent::Salvaged;
use crate::domain::gates::FilteredPath;
use crate::domain::ids::{AgentId, BranchName, CommitId, Timestamp};
use crate::domain::kept_work::KeptRef;
use crate::domain::outcome::Failure;
use crate::domain::repository::RepositoryUrl;
use crate::ports::fleet::Hold;

/// State of the remote when it was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteState {
    /// Tip of the base branch, fetched into the store.
    pub base: CommitId,
    /// Tip of the agent's own branch; `None` when the remote has none.
    pub tip: Option<CommitId>,
}

/// An agent's own working tree: a clone that shares the store's objects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Worktree {
    /// The agent.
    pub agent: AgentId,
    /// Absolute path of the tree.
    pub path: PathBuf,
    /// True when the agent's earlier tree was found whole and was kept.
    pub reused: bool,
    /// Parts of the commit that could not be checked out, for people.
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
    /// [`Repositories::salvaged`].
    pub beside: Vec<String>,
    /// Sentences for people: what lies in the tree and is in no commit, and whether it is kept.
    pub warnings: Vec<String>,
}

impl From<Kept> for Received {
    fn from(kept: Kept) -> Self {
        Self { kept, beside: Vec::new(), warnings: Vec::new() }
    }
}

/// Part of a commit that a piece of added text belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AddedPart {
    /// Lines of a file.
    Content,
    /// The path of a new file.
    Name,
    /// The message of the commit, or its headers.
    Message,
}

/// Lines added by one commit to one file, for the secret scan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Added {
    /// The commit.
    pub commit: CommitId,
    /// The file, or `None` for the commit message.
    pub path: Option<String>,
    /// First line number of the hunk (in the new file), from 1.
    pub line: u64,
    /// The added lines, joined by newlines; lossy where they are not UTF-8.
    pub text: String,
    /// Part of the commit that the text belongs to.
    pub part: AddedPart,
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

/// A fresh checkout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JudgingCheckout {
    /// Absolute path.
    pub path: PathBuf,
    /// Parts of the commit that could not be checked out, for people.
    pub warnings: Vec<String>,
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
    /// The remote says that its branch is now exactly the commit; see [`Repositories::shown`].
    Done,
    /// The remote's branch was not where it was recorded; nothing was changed. Its tip now.
    Moved(Option<CommitId>),
    /// The remote refused for good (hook, protection); its words.
    Refused(String),
}

/// Kind of a file's change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the words are the documentation")]
pub enum ChangeKind {
    Added,
    Deleted,
    Modified,
    Renamed,
    Copied,
    Typechanged,
}

/// One changed file of a diff. Names are bytes, as git has them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileStat {
    /// Kind of the change.
    pub kind: ChangeKind,
    /// Path in the repository; the old one of a file that is deleted.
    pub path: Vec<u8>,
    /// The path before, of a file that was renamed or copied.
    pub old_path: Option<Vec<u8>>,
    /// Mode before, in octal digits; `None` for a new file.
    pub old_mode: Option<String>,
    /// Mode afterwards; `None` for a file that is deleted.
    pub new_mode: Option<String>,
    /// Added lines; `None` for binary files.
    pub added: Option<u64>,
    /// Deleted lines; `None` for binary files.
    pub deleted: Option<u64>,
}

impl FileStat {
    /// Tells whether the content is no text.
    pub fn is_binary(&self) -> bool {
        self.added.is_none() && self.deleted.is_none()
    }
}

/// Purpose of a diff's text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DiffForm {
    /// Reading: of binary files it only says that they differ.
    Readable,
    /// `git apply`: with the content of binary files.
    Applicable,
}

/// A git filter that files of a commit go through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilterUse {
    /// The filter's name, as `.gitattributes` gives it.
    pub filter: String,
    /// Number of files that go through it.
    pub paths: u64,
    /// One of them.
    pub example: String,
}

/// Names a repository store on this machine.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StoreName(pub String);

/// A commit of an agent that no branch of the remote is known to have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnmergedCommit {
    /// The commit.
    pub commit: CommitId,
    /// First line of its message.
    pub subject: String,
}

/// Refs that a repository store keeps for an agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptRefs {
    /// The store.
    pub store: StoreName,
    /// The agent.
    pub agent: AgentId,
    /// When the newest of them was written.
    pub since: Timestamp,
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

/// Repositories, trees and remotes. Network methods have a deadline of [`crate::limits::GIT_NETWORK`], local ones
/// of [`crate::limits::GIT_LOCAL`]; a child that passes it is killed. Failures carry a kind that decides about a
/// retry, and words without secrets.
#[async_trait]
pub trait Repositories: Send + Sync {
    /// Tells whether policy allows this repository at all (scheme, local permission). Errors with the words for
    /// the caller.
    fn allowed(&self, repository: &RepositoryUrl) -> Result<(), String>;

    /// Fetches the base branch into the repository's store (made when missing) and reads the tip of the agent's
    /// own branch on the remote. Calls for one repository at the same time share one fetch where they can.
    async fn fetch(
        &self,
        repository: &RepositoryUrl,
        base: &BranchName,
        own: &BranchName,
    ) -> Result<RemoteState, Failure>;

    /// Makes (or keeps, see [`TreeRequest::reuse`]) the agent's tree. Idempotent.
    async fn make_tree(&self, request: &TreeRequest) -> Result<Worktree, Failure>;

    /// Returns the command that commits what is left over in the tree and bundles HEAD against the base. It changes
    /// nothing in the tree but stale locks, and runs nothing that the agent set up.
    async fn harvest(&self, request: &TreeRequest) -> Result<HarvestJob, Failure>;

    /// Reads the bundle that the harvest wrote, checking every object, and keeps what it holds under
    /// `refs/agents/<id>/`. What lies beside HEAD (other branches, stashes, heads of other worktrees, what no commit can
    /// hold) is kept as [`Repositories::salvaged`]; when it cannot be, the tree is set aside instead of removed. A head
    /// that names a commit of another repository which the base does not name is refused
    /// ([`FailureKind::Unpublishable`](crate::domain::outcome::FailureKind::Unpublishable)), so that nothing points nowhere. Nothing
    /// else in the outbox or the tree is read.
    async fn receive(&self, request: &TreeRequest, outbox: &Path) -> Result<Received, Failure>;

    /// Returns the command that makes the same commit and bundle as [`Repositories::harvest`] of a tree whose agent goes
    /// on working, to be run as a job in its confinement beside its program: nothing in the tree is changed, nothing that
    /// the agent set up runs. A file that is written meanwhile is taken as it was found; a job that fails for such a
    /// reason may simply be run again.
    async fn snapshot(&self, request: &TreeRequest) -> Result<HarvestJob, Failure>;

    /// Reads the bundle that the snapshot wrote, checking every object, and returns the commit that holds what is in the
    /// tree, committed or not: [`Repositories::diff`] against the base shows it. `None` when nothing was changed. It is
    /// kept as `refs/mosaic/live/<id>` until the next snapshot and counts as nobody's work. Errors for a HEAD that does
    /// not descend from the base.
    async fn receive_snapshot(
        &self,
        request: &TreeRequest,
        outbox: &Path,
    ) -> Result<Option<CommitId>, Failure>;

    /// Tells whether the agent's tree, once made whole, is on this machine. Errors when that cannot be found out.
    async fn has_tree(&self, agent: AgentId) -> Result<bool, Failure>;

    /// Returns the command that bundles the tree as it is: HEAD, index, working tree with what is untracked but not
    /// ignored, branches with commits of their own, stashes. It changes nothing in the tree but stale locks.
    async fn salvage(&self, request: &TreeRequest) -> Result<HarvestJob, Failure>;

    /// Reads the bundle that the salvage wrote, checking every object, and keeps it as
    /// `refs/mosaic/salvage/<id>`; `None` when the tree holds nothing that the base does not. What may not be read makes
    /// the tree stay, see [`Repositories::remove`]. Repeating it is safe: the ref moves to what was found last, and what it held before is kept under another name if it differs.
    async fn receive_salvage(
        &self,
        request: &TreeRequest,
        outbox: &Path,
    ) -> Result<Option<Salvaged>, Failure>;

    /// Returns what the store keeps of the agent under `refs/mosaic/salvage/<id>`.
    async fn salvaged(&self, repository: &RepositoryUrl, agent: AgentId)
    -> Result<Option<Salvaged>, Failure>;

    /// Brings an agent's work back into a new directory of its own, nothing of which is shared with the store: its
    /// branch at its HEAD, index and working tree as they were. `None` when the store keeps nothing of it.
    async fn restore(&self, request: &RestoreRequest) -> Result<Option<Restored>, Failure>;

    /// Sends every addition of the commits in `base..head`, oldest first, into the channel: commit messages and
    /// the added lines of every file, binary ones and merge resolutions included. A closed channel ends it.
    async fn additions(
        &self,
        repository: &RepositoryUrl,
        base: &CommitId,
        head: &CommitId,
        into: mpsc::Sender<Added>,
    ) -> Result<(), Failure>;

    /// Fetches the newest base and tries to merge the commit onto it, in the store.
    async fn fit(
        &self,
        repository: &RepositoryUrl,
        base: &BranchName,
        head: &CommitId,
    ) -> Result<Fit, Failure>;

    /// Writes a fresh checkout of exactly this commit into an empty directory that the agent never saw. It has a git
    /// directory of its own: HEAD is the commit, the index matches, history and tags can be read, and there is no remote.
    /// Nothing that is written there reaches the repository's store.
    async fn checkout_for_judging(&self, request: &JudgingRequest) -> Result<JudgingCheckout, Failure>;

    /// Makes a bundle of exactly the commit, as `HEAD`, that stands on the base: for a gatekeeper on another machine. It lies
    /// where checkouts for judging do and is removed with the agent's tree.
    async fn bundle_for_judging(&self, request: &JudgingRequest) -> Result<PathBuf, Failure>;

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

    /// Lists the changed paths of the commits in `base..head` that go through a git filter, by the attributes of the base
    /// or of the head. Content that stands behind the same filter in the base may be moved; deletions are no change.
    async fn filtered(
        &self,
        repository: &RepositoryUrl,
        base: &CommitId,
        head: &CommitId,
    ) -> Result<Vec<FilteredPath>, Failure>;

    /// Lists the git filters that files of a commit go through.
    async fn filters(&self, repository: &RepositoryUrl, commit: &CommitId)
    -> Result<Vec<FilterUse>, Failure>;

    /// Asks the remote, as it is now, which of these commits it has: the first that the agent's branch or the base branch
    /// reaches, or `None`. Errors when it cannot be asked. Changes no ref.
    async fn shown(
        &self,
        repository: &RepositoryUrl,
        branch: &BranchName,
        base: &BranchName,
        commits: &[CommitId],
    ) -> Result<Option<CommitId>, Failure>;

    /// Fetches the tip that the agent's branch has on the remote, and keeps it in the repository's store under
    /// `refs/agents/<id>/replaced/`, so that a push which replaces it loses nothing. Errors with
    /// [`FailureKind::Network`](crate::domain::outcome::FailureKind::Network) when the branch is another one by then. Idempotent.
    async fn keep_remote_tip(
        &self,
        repository: &RepositoryUrl,
        branch: &BranchName,
        tip: &CommitId,
        agent: AgentId,
    ) -> Result<KeptRef, Failure>;

    /// Reads one file of a commit; `None` when it does not exist. At most `most` bytes are returned.
    async fn read_file(
        &self,
        repository: &RepositoryUrl,
        commit: &CommitId,
        path: &str,
        most: usize,
    ) -> Result<Option<Vec<u8>>, Failure>;

    /// Returns the files of a commit, with their paths, that hold at least one of these lines: at most
    /// [`crate::limits::SECRET_FILES`], of each at most [`crate::limits::SECRET_FILE_BYTES`].
    async fn files_with(
        &self,
        repository: &RepositoryUrl,
        commit: &CommitId,
        lines: &[String],
    ) -> Result<Vec<(String, Vec<u8>)>, Failure>;

    /// Lists the tracked paths of a commit below a directory (`""` for all).
    async fn list_files(
        &self,
        repository: &RepositoryUrl,
        commit: &CommitId,
        below: &str,
    ) -> Result<Vec<String>, Failure>;

    /// Writes a tracked directory of a commit into an empty directory outside any tree. Links are left out.
    async fn export(
        &self,
        repository: &RepositoryUrl,
        commit: &CommitId,
        directory: &str,
        into: &Path,
    ) -> Result<(), Failure>;

    /// Returns the unified diff between the two commits, at most `most` bytes as they are, and whether it was cut.
    async fn diff(
        &self,
        repository: &RepositoryUrl,
        base: &CommitId,
        head: &CommitId,
        form: DiffForm,
        most: usize,
    ) -> Result<(Vec<u8>, bool), Failure>;

    /// Returns the changed files between the two commits, paired as in the text of [`Repositories::diff`].
    async fn stat(
        &self,
        repository: &RepositoryUrl,
        base: &CommitId,
        head: &CommitId,
    ) -> Result<Vec<FileStat>, Failure>;

    /// Takes the agent's tree, outbox and judging checkouts away: renamed at once, deleted in the background.
    /// Idempotent; links are never followed.
    async fn remove(&self, agent: AgentId) -> Result<(), Failure>;

    /// Does the same with trees, too, that were set aside because their work could not be received, and with what
    /// [`Repositories::keep_beside`] kept: for an agent whose work was given up or is kept. Returns the bytes of what was
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

    /// Returns the store of a repository, whether it exists or not.
    fn store_of(&self, repository: &RepositoryUrl) -> StoreName;

    /// Lists the agents that have a directory on this machine, whatever is in it.
    async fn present(&self) -> Result<Vec<AgentId>, Failure>;

    /// Looks at the tree of an agent whose record is lost.
    async fn stray_tree(&self, agent: AgentId) -> Result<StrayTree, Failure>;

    /// Lists everything that stores keep by refs of agents.
    async fn kept_refs(&self) -> Result<Vec<KeptRefs>, Failure>;

    /// Lists the refs that the store has of the agent, the salvage first, at most `most`.
    async fn refs_of(&self, store: &StoreName, agent: AgentId, most: usize) -> Result<Vec<KeptRef>, Failure>;

    /// Returns the commits that the store keeps of the agent and that neither a fetched branch of the remote nor one of
    /// the `safe` commits reaches, newest first, at most `most`. An agent without refs has none.
    async fn unmerged(
        &self,
        store: &StoreName,
        agent: AgentId,
        safe: &[CommitId],
        most: usize,
    ) -> Result<Vec<UnmergedCommit>, Failure>;

    /// Removes every ref that the store has of the agent: kept commits and salvage. Idempotent; objects stay until the
    /// store is packed again.
    async fn forget(&self, store: &StoreName, agent: AgentId) -> Result<(), Failure>;

    /// Packs one store again when it has become untidy, none when all are tidy or in use. A store of a `running`
    /// repository, or of one that has a tree on this machine, is never touched: trees share its objects. What no ref
    /// reaches stays for [`crate::limits::UNREACHABLE`]. Returns what was packed.
    async fn tidy(&self, running: &[RepositoryUrl]) -> Result<Option<StoreName>, Failure>;
}
