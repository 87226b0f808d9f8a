//! The history of gates, by repository and gate.

use serde::{Deserialize, Serialize};

use crate::words::GateOutcome;

/// Answer of `GET /v1/gates`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct GateHistoryList {
    /// Beginning of the time that the figures cover; null when nothing is known.
    pub since: Option<String>,
    /// The histories, by repository and gate.
    pub items: Vec<GateHistory>,
    /// Cursor of the next page; null at the end.
    pub next_cursor: Option<String>,
}

/// The history of one gate in one repository.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct GateHistory {
    /// The repository.
    pub repository: String,
    /// The gate.
    pub gate: String,
    /// Results in which something was judged.
    pub runs: u64,
    /// Passes among them.
    pub passed: u64,
    /// Failures among them.
    pub failed: u64,
    /// Errors among them.
    pub errors: u64,
    /// Flaky results among them.
    pub flaky: u64,
    /// Results that say that the gate was not run; they are no runs.
    pub skipped: u64,
    /// Runs whose verdict was known before, so that nothing ran.
    pub cached: u64,
    /// Share of passes among the runs, in percent; null without runs.
    pub pass_rate: Option<f64>,
    /// Time that half of the runs did not exceed, in milliseconds, cached ones aside.
    pub p50_ms: Option<u64>,
    /// Time that 95 % of the runs did not exceed, in milliseconds, cached ones aside.
    pub p95_ms: Option<u64>,
    /// Tests that failed and then passed, most often seen first, at most 50.
    pub flaky_tests: Vec<FlakyTest>,
    /// The newest results, newest first, at most 50.
    pub recent: Vec<GateRun>,
}

/// A test that failed and then passed on the same commit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct FlakyTest {
    /// Its name.
    pub test: String,
    /// Judgements in which it was flaky.
    pub count: u64,
    /// When it was flaky last.
    pub last_seen_at: String,
}

/// One result of a gate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct GateRun {
    /// The agent.
    pub agent_id: Option<String>,
    /// Its task.
    pub task_id: Option<String>,
    /// The commit.
    pub commit: String,
    /// When the judgement ended.
    pub at: String,
    /// The outcome.
    pub outcome: GateOutcome,
    /// Its time, in milliseconds.
    pub duration_ms: u64,
    /// The verdict was known, so that nothing ran.
    pub cached: bool,
}

/// A part of a gate's log in the live stream of that log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct GateOutput {
    /// The gate.
    pub gate: String,
    /// Whole lines, secrets masked; what is no UTF-8 is replaced.
    pub text: String,
}

/// The end of the live stream of a gate's log: the judgement is over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct GateOutputEnd {
    /// The gate.
    pub gate: String,
    /// Its outcome; null when it was not judged.
    pub outcome: Option<GateOutcome>,
}
