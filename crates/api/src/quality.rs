//! The contract of a coordinator: a commit is described, one word comes back. The required fields are those of the NestJS
//! orchestrator; everything else is ours, and a coordinator or a client may leave it out.

use serde::{Deserialize, Serialize};

use crate::gates::GateResult;
use crate::words::{GateProfile, Isolation, Verdict};

/// Body of `POST /api/quality/check`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct CheckRequest {
    /// The task.
    pub task_id: String,
    /// The agent.
    pub agent_id: String,
    /// Moment of the check: `pre-commit` or `post-commit`.
    pub stage: String,
    /// Profile of the gates.
    pub profile: GateProfile,
    /// Names of the gates, in running order.
    pub gates: Vec<String>,
    /// The repository.
    pub repository: String,
    /// The branch that is to carry the commit.
    pub branch: String,
    /// The base commit, which defines the gates.
    pub base_commit: String,
    /// The commit.
    pub head_commit: String,
    /// Changed paths; those that are not UTF-8 are left out.
    pub files: Vec<String>,
    /// Extent of the change in one line.
    pub diff_summary: String,
    /// Ours: the branch of the base commit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base_branch: Option<String>,
    /// Ours: number of the judgement among the agent's, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u32>,
    /// Ours: the bundle that brings the commit, from `POST /api/quality/bundles`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bundle_id: Option<String>,
}

/// Answer of `POST /api/quality/check`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct CheckAnswer {
    /// Every gate ran and passed.
    pub approved: bool,
    /// The first gate that did not pass; the profile when all did.
    pub gate: String,
    /// One line for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The check that is answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<CheckDetails>,
    /// Results by gate, in running order.
    #[serde(default)]
    pub results: Vec<CheckResult>,
}

/// Identity of an answered check, and the verdict in one word.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct CheckDetails {
    /// The task.
    pub task_id: String,
    /// The agent.
    pub agent_id: String,
    /// The base commit.
    pub base_commit: String,
    /// The commit.
    pub head_commit: String,
    /// The verdict.
    pub verdict: Verdict,
    /// Separation of the commit's code from its judge.
    #[serde(default)]
    pub isolation: Isolation,
    /// Warnings about the judgement.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// Origin of the definitions.
    pub defined_by: String,
}

/// Result of one gate, with what its command printed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct CheckResult {
    /// The result.
    #[serde(flatten)]
    pub result: GateResult,
    /// Output of the command, its middle left out when it is long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<String>,
}

/// Answer of `POST /api/quality/bundles`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct BundleReceived {
    /// Name of the bundle, for `bundleId` of one check.
    pub bundle_id: String,
}

/// Fields of the problem `bundle_needed`, besides those of every problem.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BundleNeeded {
    /// Always `bundle_needed`.
    pub code: String,
    /// The whole history is needed; else the commits after the base.
    pub whole: bool,
}
