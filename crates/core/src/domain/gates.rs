//! Gates as plain data: what will be judged ([`GatePlan`]), what was found ([`GateReport`]), and the one word
//! that follows ([`Verdict`]).

use serde::{Deserialize, Serialize};

use super::ids::{CommitId, Word};
use super::secrets::SecretFinding;

mod stored_gate;

/// Report that a gate is judged by.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReportSpec {
    /// Name of its format, such as `junit`. The gatekeeper knows which there are; one that it does not know is never a pass.
    pub format: Word,
    /// Its path in the checkout.
    pub path: String,
    /// Least value in percent, 0–100, for formats that have one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<f64>,
}

/// One gate that the base commit or the server defines. Its form in records is in `stored_gate.rs`.
#[derive(Debug, Clone, PartialEq)]
pub struct GateDefinition {
    /// The gate's name, such as `tests`.
    pub name: Word,
    /// The command line, run by `sh -c` in a fresh checkout. `None` when only reports are read.
    pub run: Option<String>,
    /// The reports in the checkout that are read after `run`, in order.
    pub reports: Vec<ReportSpec>,
    /// Longest time, in milliseconds.
    pub timeout_ms: u64,
}

impl GateDefinition {
    /// Format that stands for a list of reports which an older build of a fleet dropped from a record. No gatekeeper knows it.
    pub(crate) const LOST: &str = "lost";

    /// Defines a gate that is judged by the exit code of a command alone.
    pub fn of_command(name: Word, run: String) -> Self {
        let timeout_ms = u64::try_from(crate::limits::GATE.as_millis()).unwrap_or(u64::MAX);
        Self { name, run: Some(run), reports: Vec::new(), timeout_ms }
    }

    /// Returns the first report of a format.
    pub fn report(&self, format: &str) -> Option<&ReportSpec> {
        self.reports.iter().find(|report| report.format.as_str() == format)
    }
}

/// Gates that will judge an agent's work: fixed at checkout, from the base commit, before the agent starts.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GatePlan {
    /// The gates in running order.
    pub gates: Vec<GateDefinition>,
    /// Gates that the profile wants and nobody defines.
    pub undefined: Vec<Word>,
    /// Where the definitions come from, for people, such as `8c1d2e0:.mosaic/config.toml`.
    pub defined_by: String,
    /// False when the repository's commands were not trusted: then none is run.
    pub trusted: bool,
    /// Warnings about the plan that a person should read.
    #[serde(default)]
    pub warnings: Vec<String>,
}

impl GatePlan {
    /// Tells whether an older build of a fleet wrote the record and dropped reports that it did not know: then the plan is made
    /// anew from the same base.
    pub fn has_lost_reports(&self) -> bool {
        self.gates.iter().any(|gate| gate.report(GateDefinition::LOST).is_some())
    }
}

/// Outcome of one gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GateOutcome {
    /// Ran and was satisfied.
    Pass,
    /// Ran and was not satisfied.
    Fail,
    /// Could not be judged (time-out, no report, tool missing). Never counts as a pass.
    Error,
    /// Was not run, with the reason in the summary. Never counts as a pass.
    Skip,
}

/// One thing that is wrong, in words an agent can act on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// The gate's name, `secret-scan` or `conflict`.
    pub source: String,
    /// File in the repository, when known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Line number from 1, when known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<u64>,
    /// Description of the fault; secrets are masked.
    pub message: String,
    /// More about a secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<SecretFinding>,
}

/// One gate's result.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GateResult {
    /// The gate's name.
    pub name: Word,
    /// Outcome of the gate.
    pub outcome: GateOutcome,
    /// The command as it was run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// The command's exit code; `None` when a signal ended it or nothing ran.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// Duration in milliseconds.
    pub duration_ms: u64,
    /// One line for people, such as `60.0% < 85%`.
    pub summary: String,
    /// Findings of the gate, at most [`crate::limits::FINDINGS`].
    #[serde(default)]
    pub findings: Vec<Finding>,
    /// Name of the kept log in the agent's transcripts, when there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log: Option<String>,
}

/// Verdict of the gates on a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Every gate of the profile ran and passed.
    Passed,
    /// At least one gate failed or could not be judged.
    Failed,
    /// Nothing failed, but at least one gate was undefined, untrusted or skipped.
    Incomplete,
}

/// Everything that was found about one commit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GateReport {
    /// The commit that was judged.
    pub commit: CommitId,
    /// One entry per gate, in running order.
    pub results: Vec<GateResult>,
    /// The one word that follows.
    pub verdict: Verdict,
}

impl GateReport {
    /// Derives the verdict: a failure or error outweighs everything, then anything not judged, then pass.
    pub fn new(commit: CommitId, results: Vec<GateResult>, plan: &GatePlan) -> Self {
        let has = |outcome| results.iter().any(|r| r.outcome == outcome);
        let judged_all = plan.undefined.is_empty() && plan.trusted && !has(GateOutcome::Skip);
        let verdict = if has(GateOutcome::Fail) || has(GateOutcome::Error) {
            Verdict::Failed
        } else if judged_all && results.len() == plan.gates.len() {
            Verdict::Passed
        } else {
            Verdict::Incomplete
        };
        Self { commit, results, verdict }
    }

    /// Returns the findings of all gates, at most [`crate::limits::FINDINGS`].
    pub fn findings(&self) -> Vec<Finding> {
        self.results.iter().flat_map(|r| r.findings.iter().cloned()).take(crate::limits::FINDINGS).collect()
    }
}

/// A changed path that goes through a git filter, so that its content would be published as it lies in the tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FilteredPath {
    /// The path.
    pub path: String,
    /// The filter's name, as `.gitattributes` gives it.
    pub filter: String,
}
