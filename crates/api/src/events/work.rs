//! Details of events about an agent's work: commits, judgements, publication.

use serde::{Deserialize, Serialize};

use crate::gates::{FilteredPath, Finding};
use crate::words::{GateOutcome, GateProfile, Verdict};

/// Details of changed paths behind a git filter.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct FilterRefused {
    /// The paths.
    pub paths: Vec<FilteredPath>,
}

/// Details of secrets in a commit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct SecretFound {
    /// The findings, masked.
    pub findings: Vec<Finding>,
}

/// Details of received work.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct GitCommit {
    /// The commit.
    pub commit: String,
}

/// Details of a conflict with the newest base.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct GitConflict {
    /// The base.
    pub base: String,
    /// Files that conflict.
    pub files: Vec<String>,
}

/// Details of a salvage.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct GitSalvaged {
    /// The ref that keeps it.
    pub reference: String,
    /// The commit.
    pub commit: String,
}

/// Details of a restore.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct GitRestored {
    /// Path of the clone.
    pub path: String,
    /// Its commit.
    pub head: Option<String>,
    /// Salvage that index and working tree are from.
    pub salvage: Option<String>,
    /// The node on whose machine it is.
    pub node: String,
}

/// Details of a push.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct GitPushed {
    /// The branch.
    pub branch: String,
    /// The commit.
    pub commit: String,
    /// The remote was asked afterwards and has it.
    pub shown: bool,
}

/// Details of a judgement.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct GateFinished {
    /// The commit.
    pub commit: String,
    /// The repository; older builds do not tell it.
    #[serde(default)]
    pub repository: Option<String>,
    /// Profile of the gates.
    #[serde(default)]
    pub profile: Option<GateProfile>,
    /// The verdict.
    pub verdict: Verdict,
    /// Outcome of each gate.
    pub results: Vec<GateWord>,
}

/// Outcome of one gate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct GateWord {
    /// The gate.
    pub name: String,
    /// Its outcome.
    pub outcome: GateOutcome,
    /// Its time, in milliseconds.
    #[serde(default)]
    pub duration_ms: u64,
    /// The verdict was known, so that nothing ran.
    #[serde(default)]
    pub cached: bool,
    /// Tests that failed and then passed, at most 20.
    #[serde(default)]
    pub flaky_tests: Vec<String>,
}
