//! The gatekeeper: says what will judge a commit, and judges it.

use std::path::PathBuf;

use async_trait::async_trait;

use super::sandbox::Confinement;
use crate::domain::gates::{GatePlan, GateReport};
use crate::domain::ids::{AgentId, CommitId, Word};
use crate::domain::outcome::Failure;
use crate::domain::spec::GateProfile;

/// Inputs of a gate plan.
#[derive(Debug, Clone)]
pub struct PlanRequest<'a> {
    /// The profile asked for.
    pub profile: GateProfile,
    /// The list of a `custom` profile.
    pub custom: &'a [Word],
    /// The base commit.
    pub base: &'a CommitId,
    /// `.mosaic/config.toml` of the base commit; `None` when there is none.
    pub config: Option<&'a [u8]>,
}

/// Inputs of a judgement.
#[derive(Debug, Clone)]
pub struct JudgeRequest {
    /// The agent.
    pub agent: AgentId,
    /// Which judgement of this agent this is, from 1; names jobs and logs.
    pub round: u32,
    /// The commit.
    pub commit: CommitId,
    /// A fresh checkout of it that no agent ever saw.
    pub checkout: PathBuf,
    /// The confinement its commands run in.
    pub confinement: Confinement,
    /// The plan made at checkout.
    pub plan: GatePlan,
}

/// Plans and judges.
#[async_trait]
pub trait Gatekeeper: Send + Sync {
    /// Makes the plan from the profile and the base commit's definitions: a repository may add gates to a
    /// profile and never remove one. Fails with `BadInput` when the definitions cannot be read.
    async fn plan(&self, request: PlanRequest<'_>) -> Result<GatePlan, Failure>;

    /// Runs the plan's gates, each under its deadline, and reports. A gate that cannot be judged is an error in
    /// the report, never a pass; a fault of this machine (no supervisor, no disk) is a failure, which says nothing
    /// about the commit. The commands get a home and a temporary directory of their own that no agent ever saw, and the
    /// checkout is taken away afterwards. Dropping the future leaves no job behind once
    /// [`super::processes::Processes::stop`] has run for the agent.
    async fn judge(&self, request: JudgeRequest) -> Result<GateReport, Failure>;
}
