//! The gatekeeper: says what will judge a commit, and judges it. The conformance suite is `mosaic_testkit::gatekeeper_suite`.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;

use super::repositories::JudgingCheckout;
use crate::domain::changed_lines::ChangedLines;
use crate::domain::gates::{GatePlan, GateReport};
use crate::domain::ids::{AgentId, BranchName, CommitId, TaskId, Word};
use crate::domain::outcome::{Failure, FailureKind};
use crate::domain::repository::RepositoryUrl;
use crate::domain::spec::GateProfile;

/// The files of a base commit, from which gates are read or detected. Both answers are bounded.
#[async_trait]
pub trait BaseFiles: Send + Sync {
    /// Lists the paths of the tracked files.
    async fn paths(&self) -> Result<Vec<String>, Failure>;

    /// Returns the first bytes of a file, at most one more than [`crate::limits::GATE_CONFIG_BYTES`], so that a reader can tell
    /// that it is larger. `None` when there is no such file.
    async fn read(&self, path: &str) -> Result<Option<Vec<u8>>, Failure>;
}

/// Inputs of a gate plan.
#[derive(Clone)]
pub struct PlanRequest<'a> {
    /// The profile asked for.
    pub profile: GateProfile,
    /// The list of a `custom` profile.
    pub custom: &'a [Word],
    /// The base commit.
    pub base: &'a CommitId,
    /// The files of the base commit. Owned, so that they can be read on another thread.
    pub files: Arc<dyn BaseFiles>,
}

/// Inputs of a judgement: everything but the commit's content, which its [`CommitSource`] has.
#[derive(Debug, Clone)]
pub struct JudgeRequest {
    /// The agent.
    pub agent: AgentId,
    /// Number of the judgement among this agent's, from 1; names jobs and logs.
    pub round: u32,
    /// The repository.
    pub repository: RepositoryUrl,
    /// The profile that the plan was made for.
    pub profile: GateProfile,
    /// The base branch.
    pub base_branch: BranchName,
    /// The base commit.
    pub base: CommitId,
    /// The commit.
    pub commit: CommitId,
    /// The branch that is to carry the commit.
    pub branch: BranchName,
    /// The task.
    pub task: TaskId,
    /// The plan made at checkout.
    pub plan: GatePlan,
    /// Paths in which the commit differs from its base, both names of a renamed file among them. `None` when they are not known: then everything counts as changed.
    pub changed: Option<Vec<Vec<u8>>>,
    /// Lines that the commit changes, of files that are text. `None` when they are not known.
    pub changed_lines: Option<Vec<ChangedLines>>,
    /// Extent of the change in one line, such as `2 files changed, 10 insertions(+), 3 deletions(-)`; empty when it is not known.
    pub diff_summary: String,
}

/// Inputs of the preparations for an agent.
#[derive(Debug, Clone)]
pub struct PrepareRequest {
    /// The agent.
    pub agent: AgentId,
    /// Number of the run that begins, from 1; names its log.
    pub round: u32,
    /// The repository.
    pub repository: RepositoryUrl,
    /// The base commit.
    pub base: CommitId,
    /// The plan made at checkout.
    pub plan: GatePlan,
    /// The agent's tree, as long as no program of the agent's has had it.
    pub tree: Option<PathBuf>,
    /// Home directory of the agent's program.
    pub home: PathBuf,
}

/// Result of the preparations.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Prepared {
    /// Warnings that a person should read, such as about a gate that is red on the base.
    pub warnings: Vec<String>,
}

/// Form in which a gatekeeper reads a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommitForm {
    /// Files in a directory.
    Checkout,
    /// One file with the commits after the base.
    Bundle,
}

/// The content of a commit that is judged, taken from the server's bare repository and never from an agent's tree.
#[async_trait]
pub trait CommitSource: Send + Sync {
    /// Returns a fresh checkout that no agent ever saw; whoever asks removes it. Asked again, it is the same one.
    async fn checkout(&self) -> Result<JudgingCheckout, Failure>;

    /// Returns a git bundle of the commit, as `HEAD`, that stands on the base. The file is removed with the agent's tree.
    async fn bundle(&self) -> Result<PathBuf, Failure>;

    /// Returns a git bundle of the commit, as `HEAD`, with its whole history: for a gatekeeper that has nothing of the repository
    /// and cannot reach it. The file is removed with the agent's tree.
    async fn whole_bundle(&self) -> Result<PathBuf, Failure> {
        Err(Failure::new(FailureKind::Internal, "the history of the commit is not at hand"))
    }

    /// Returns the object ids of paths in the commit, `None` for one that it does not have; the empty path is the commit's whole
    /// tree. Where they are not known at all, nothing that depends on them is remembered.
    async fn objects(&self, paths: &[String]) -> Result<Vec<Option<String>>, Failure> {
        Ok(vec![None; paths.len()])
    }

    /// Returns the content of the base commit; `None` where it is not at hand, and then nothing is compared with it.
    fn base(&self) -> Option<Arc<dyn CommitSource>> {
        None
    }
}

/// State of the gatekeeper, for readiness.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GatekeeperHealth {
    /// It judges on this machine, so that nothing else must answer.
    Local,
    /// It is elsewhere and answers; how, for people.
    Reached(String),
    /// It is elsewhere and does not answer; why, for people.
    Unreachable(String),
}

/// Plans and judges.
#[async_trait]
pub trait Gatekeeper: Send + Sync {
    /// Returns the form in which it reads commits, so that one can be prepared while the secret scan runs.
    fn reads(&self) -> CommitForm;

    /// Tells whether it could judge now. Answers within a few seconds.
    async fn health(&self) -> GatekeeperHealth {
        GatekeeperHealth::Local
    }

    /// Makes the plan from the profile and the base commit's definitions: a repository may add gates to a
    /// profile and never remove one. Fails with `BadInput` when the definitions cannot be read.
    async fn plan(&self, request: PlanRequest<'_>) -> Result<GatePlan, Failure>;

    /// Makes an agent's surroundings ready before its program starts: runs the plan's setup where its result is not known, and puts
    /// what it made into the tree and the home. Fails with `Setup` when the setup fails or a program that the plan needs is not
    /// here; its log is then among the agent's. Dropping the future leaves no job behind once
    /// [`super::processes::Processes::stop`] has run for the agent.
    async fn prepare(
        &self,
        request: PrepareRequest,
        base: Arc<dyn CommitSource>,
    ) -> Result<Prepared, Failure>;

    /// Runs the plan's gates, each under its deadline, and reports. A gate that cannot be judged is an error in
    /// the report, never a pass; a fault of this machine (no supervisor, no disk) is a failure, which says nothing
    /// about the commit. A gate that is red on the base in the same way is marked as no fault of the commit. Commands run in a place that no agent ever saw, and the checkout is removed afterwards. Dropping
    /// the future leaves no job behind once [`super::processes::Processes::stop`] has run for the agent.
    async fn judge(
        &self,
        request: JudgeRequest,
        source: Arc<dyn CommitSource>,
    ) -> Result<GateReport, Failure>;
}
