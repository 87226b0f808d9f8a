//! Details of facts about an agent's work: commits, judgements, publication.

use serde::Serialize;

use crate::domain::agent::{Agent, Salvaged};
use crate::domain::flaky::flaky_tests;
use crate::domain::gates::{FilteredPath, Finding, GateOutcome, GateReport, GateResult, Verdict};
use crate::domain::ids::{BranchName, CommitId, NodeId, Word};
use crate::domain::repository::RepositoryUrl;
use crate::domain::spec::GateProfile;

/// Details of changed paths behind a git filter.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FilterRefused {
    /// The paths.
    pub paths: Vec<FilteredPath>,
}

/// Details of secrets in a commit.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SecretFound {
    /// The findings, masked.
    pub findings: Vec<Finding>,
}

/// Details of received work.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct GitCommit {
    /// The commit.
    pub commit: CommitId,
}

/// Details of a conflict with the newest base.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct GitConflict {
    /// The base.
    pub base: CommitId,
    /// Files that conflict.
    pub files: Vec<String>,
}

/// Details of a salvage.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct GitSalvaged {
    /// The ref that keeps it.
    pub reference: String,
    /// The commit.
    pub commit: CommitId,
}

impl GitSalvaged {
    /// Describes what was salvaged.
    pub fn of(saved: &Salvaged) -> Self {
        Self { reference: saved.reference.clone(), commit: saved.commit.clone() }
    }
}

/// Details of a restore.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct GitRestored {
    /// Path of the clone.
    pub path: String,
    /// Its commit.
    pub head: Option<CommitId>,
    /// Salvage that index and working tree are from.
    pub salvage: Option<CommitId>,
    /// The node on whose machine it is.
    pub node: NodeId,
}

/// Details of a push.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct GitPushed {
    /// The branch.
    pub branch: BranchName,
    /// The commit.
    pub commit: CommitId,
    /// The remote was asked afterwards and has it.
    pub shown: bool,
}

/// Details of a judgement.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct GateFinished {
    /// The commit.
    pub commit: CommitId,
    /// The repository.
    pub repository: RepositoryUrl,
    /// Profile of the gates.
    pub profile: GateProfile,
    /// The verdict.
    pub verdict: Verdict,
    /// Outcome of each gate.
    pub results: Vec<GateWord>,
}

/// Outcome of one gate. `docs/gates.md` says how histories are made of these.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GateWord {
    /// The gate.
    pub name: Word,
    /// Its outcome.
    pub outcome: GateOutcome,
    /// Its time, in milliseconds.
    pub duration_ms: u64,
    /// The verdict was known, so that nothing ran.
    pub cached: bool,
    /// Tests that failed and then passed, at most [`crate::limits::FLAKY_TESTS`].
    pub flaky_tests: Vec<String>,
}

impl GateFinished {
    /// Describes a report in short.
    pub fn of(agent: &Agent, report: &GateReport, commit: CommitId) -> Self {
        let spec = &agent.spec;
        Self {
            commit,
            repository: spec.context.repository.clone(),
            profile: spec.gate_profile,
            verdict: report.verdict,
            results: report.results.iter().map(GateWord::of).collect(),
        }
    }
}

impl GateWord {
    fn of(result: &GateResult) -> Self {
        Self {
            name: result.name.clone(),
            outcome: result.outcome,
            duration_ms: result.duration_ms,
            cached: result.cached,
            flaky_tests: flaky_tests(result),
        }
    }
}
