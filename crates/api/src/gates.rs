//! Gates and findings.

use serde::{Deserialize, Serialize};

use crate::words::{GateFault, GateOutcome, GateProfile, Isolation, Phase, Verdict};

/// One gate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct GateDefinition {
    /// Its name.
    pub name: String,
    /// Its command line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
    /// Path of its first lcov report; all stand in `reports`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lcov: Option<String>,
    /// Path of its first JUnit report; all stand in `reports`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub junit: Option<String>,
    /// Least line coverage of that lcov report, in percent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<f64>,
    /// Reports that it is judged by after its command.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reports: Vec<ReportSpec>,
    /// Longest time, in milliseconds.
    pub timeout_ms: u64,
    /// Gates that must have passed before.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub needs: Vec<String>,
    /// Names of variables that its command gets.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<String>,
}

/// Report that a gate is judged by.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct ReportSpec {
    /// Its format, such as `junit` or `lcov`.
    pub format: String,
    /// Its path in the checkout; below `{reports}` one in the directory of its run; `-` for the output of the command.
    pub path: String,
    /// Least value, in percent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<f64>,
    /// Least value for the lines that the commit changes, in percent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_changed: Option<f64>,
}

/// The command that makes trees ready.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct SetupDefinition {
    /// The command line.
    pub run: String,
    /// Longest time, in milliseconds.
    pub timeout_ms: u64,
    /// Paths whose content decides whether it is run anew.
    #[serde(default)]
    pub inputs: Vec<String>,
    /// Paths that it makes.
    #[serde(default)]
    pub outputs: Vec<String>,
}

/// A test whose changing results are tolerated for a while.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Quarantined {
    /// The test.
    pub test: String,
    /// Person or team that will repair it.
    pub owner: String,
    /// The reason.
    pub reason: String,
    /// Day after which it counts again, as `YYYY-MM-DD` in UTC.
    pub expires: String,
}

/// Numbers of tests by what became of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct TestCounts {
    /// Passed at once.
    pub passed: u64,
    /// Failed.
    pub failed: u64,
    /// Not run.
    pub skipped: u64,
    /// Failed and then passed.
    #[serde(default)]
    pub flaky: u64,
}

/// Shares of lines that tests run, each 0–100 %.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct LineCoverage {
    /// Share of all lines.
    pub percent: f64,
    /// Share of all lines of the base commit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<f64>,
    /// Share of the lines that the commit changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changed: Option<f64>,
}

/// Gates that will judge an agent's work.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct GatePlan {
    /// The gates, in running order.
    pub gates: Vec<GateDefinition>,
    /// Gates of the profile without a definition.
    pub undefined: Vec<String>,
    /// Gates of the profile that the base commit declares as `none`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub declared_none: Vec<String>,
    /// The command that makes trees ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub setup: Option<SetupDefinition>,
    /// Tests whose changing results are tolerated.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub quarantine: Vec<Quarantined>,
    /// Origin of the definitions.
    pub defined_by: String,
    /// The repository's commands are trusted.
    pub trusted: bool,
    /// Sentences for people.
    #[serde(default)]
    pub warnings: Vec<String>,
}

/// A secret that was found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct SecretFinding {
    /// The rule that found it.
    pub rule: String,
    /// The commit that adds it.
    pub commit: String,
    /// The fingerprint by which it can be allowed.
    pub fingerprint: String,
    /// It is a value of the server's own, which cannot be allowed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub own: bool,
}

/// One finding.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// The gate, `secret-scan` or `conflict`.
    pub source: String,
    /// The file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The line, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u64>,
    /// The fault; secrets are masked.
    pub message: String,
    /// Details of a secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<SecretFinding>,
}

/// Result of one gate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct GateResult {
    /// The gate.
    pub name: String,
    /// Its outcome.
    pub outcome: GateOutcome,
    /// The command that was run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// Exit code of the command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// Its time, in milliseconds.
    pub duration_ms: u64,
    /// One line for people.
    pub summary: String,
    /// Its findings.
    #[serde(default)]
    pub findings: Vec<Finding>,
    /// Name of its log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<String>,
    /// Its tests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tests: Option<TestCounts>,
    /// Its coverage.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub coverage: Option<LineCoverage>,
    /// The verdict was known, so that nothing ran.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cached: bool,
    /// The red result lies on this, and not on the work that was judged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<GateFault>,
}

/// Judgement of one commit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct GateReport {
    /// The commit.
    pub commit: String,
    /// Results, in running order.
    pub results: Vec<GateResult>,
    /// The verdict.
    pub verdict: Verdict,
    /// Separation of the commit's code from its judge.
    #[serde(default)]
    pub isolation: Isolation,
    /// Sentences for people.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// A changed path behind a git filter.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct FilteredPath {
    /// The path.
    pub path: String,
    /// The filter.
    pub filter: String,
}

/// Answer of `GET /v1/agents/{id}/gates`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct AgentGates {
    /// The agent.
    pub agent_id: String,
    /// Its task.
    pub task_id: String,
    /// Profile of its gates.
    pub profile: GateProfile,
    /// The verdict.
    pub verdict: Option<Verdict>,
    /// Its phase.
    pub phase: Phase,
    /// Fix rounds that were used.
    pub fix_round: u32,
    /// Most fix rounds.
    pub max_fix_rounds: u32,
    /// Gates that will judge it.
    pub plan: Option<GatePlan>,
    /// The newest judgement.
    pub report: Option<GateReport>,
    /// Findings that are not repaired.
    pub findings: Vec<Finding>,
}
