//! Gates as plain data: what will be judged ([`GatePlan`]), what was found ([`GateReport`]), and the one word
//! that follows ([`Verdict`]).

use serde::{Deserialize, Serialize};

use super::ids::{CommitId, Word};
use super::secrets::SecretFinding;

mod fault;
mod stored_gate;

pub use fault::GateFault;

/// Report that a gate is judged by.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReportSpec {
    /// Name of its format, such as `junit`. The gatekeeper knows which there are; one that it does not know is never a pass.
    pub format: Word,
    /// Its path in the checkout; below `{reports}` one in the directory that a run gets for its reports; `-` for the output of
    /// the command.
    pub path: String,
    /// Least value in percent, 0–100, for formats that have one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<f64>,
    /// Least value in percent, 0–100, for the lines that the commit changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_changed: Option<f64>,
}

impl ReportSpec {
    /// Names a report without a least value.
    pub fn new(format: Word, path: impl Into<String>) -> Self {
        Self { format, path: path.into(), min: None, min_changed: None }
    }
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
    /// Gates of the same plan that must have passed before this one is run.
    pub needs: Vec<Word>,
    /// Names of variables of the operator's environment that its command gets.
    pub env: Vec<String>,
}

impl GateDefinition {
    /// Format that stands for a list of reports which an older build of a fleet dropped from a record. No gatekeeper knows it.
    pub(crate) const LOST: &str = "lost";

    /// Defines a gate that is judged by the exit code of a command alone.
    pub fn of_command(name: Word, run: String) -> Self {
        let timeout_ms = u64::try_from(crate::limits::GATE.as_millis()).unwrap_or(u64::MAX);
        Self { name, run: Some(run), reports: Vec::new(), timeout_ms, needs: Vec::new(), env: Vec::new() }
    }

    /// Returns the first report of a format.
    pub fn report(&self, format: &str) -> Option<&ReportSpec> {
        self.reports.iter().find(|report| report.format.as_str() == format)
    }
}

/// The command that makes a tree ready for an agent and for gates, such as `npm ci`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SetupDefinition {
    /// The command line, run by `sh -c` in a checkout of the base commit.
    pub run: String,
    /// Longest time, in milliseconds.
    pub timeout_ms: u64,
    /// Paths in the tree, such as lock files: as long as their content stays, one run serves.
    pub inputs: Vec<String>,
    /// Paths in the tree that it makes, such as `node_modules`.
    pub outputs: Vec<String>,
}

/// A test whose changing results are known and tolerated for a while.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Quarantined {
    /// The test's name as its runner reports it.
    pub test: String,
    /// Person or team that will repair it.
    pub owner: String,
    /// Reason for the tolerance.
    pub reason: String,
    /// Day after which it counts again, as `YYYY-MM-DD` in UTC.
    pub expires: String,
}

/// Gates that will judge an agent's work: fixed at checkout, from the base commit, before the agent starts.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GatePlan {
    /// The gates in running order.
    pub gates: Vec<GateDefinition>,
    /// Gates that the profile wants and nobody defines.
    pub undefined: Vec<Word>,
    /// Gates that the profile wants and the base commit declares as `none`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub declared_none: Vec<Word>,
    /// The command that makes trees ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub setup: Option<SetupDefinition>,
    /// Tests whose changing results are tolerated.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub quarantine: Vec<Quarantined>,
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
    /// Failed and then passed on the same tree. Counts as a failure.
    Flaky,
    /// Was not run, with the reason in the summary. Never counts as a pass.
    Skip,
}

/// Numbers of tests by what became of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TestCounts {
    /// Tests that passed at once.
    pub passed: u64,
    /// Tests that failed.
    pub failed: u64,
    /// Tests that were not run.
    pub skipped: u64,
    /// Tests that failed and then passed.
    #[serde(default)]
    pub flaky: u64,
}

/// Shares of lines that tests run, each 0–100 %.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LineCoverage {
    /// Share of all lines.
    pub percent: f64,
    /// Share of all lines of the base commit, when it was measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<f64>,
    /// Share of the lines that the commit changes, when it changes any that count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changed: Option<f64>,
}

/// Separation of the code under judgement from what judges it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Isolation {
    /// It shares neither a user nor a process tree with its judge.
    Strong,
    /// It can reach its judge.
    #[default]
    Weak,
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
    /// Its tests, when a report counts them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tests: Option<TestCounts>,
    /// Its coverage, when a report measures it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub coverage: Option<LineCoverage>,
    /// The verdict on the same tree, definition and toolchain was known, so that nothing ran.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cached: bool,
    /// The red result lies on this, and not on the work that was judged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<GateFault>,
}

impl GateResult {
    /// Makes a result of which nothing more is known.
    pub fn new(name: Word, outcome: GateOutcome, summary: impl Into<String>) -> Self {
        Self {
            name,
            outcome,
            command: None,
            exit_code: None,
            duration_ms: 0,
            summary: summary.into(),
            findings: Vec::new(),
            log: None,
            tests: None,
            coverage: None,
            cached: false,
            fault: None,
        }
    }
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
    /// Separation of the commit's code from its judge.
    #[serde(default)]
    pub isolation: Isolation,
    /// Warnings about the judgement that a person should read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

impl GateReport {
    /// Derives the verdict: a failure, error or flaky result outweighs everything, then anything not judged, then pass.
    pub fn new(commit: CommitId, results: Vec<GateResult>, plan: &GatePlan) -> Self {
        let has = |outcome| results.iter().any(|r| r.outcome == outcome);
        let judged_all = plan.undefined.is_empty() && plan.trusted && !has(GateOutcome::Skip);
        let verdict = if has(GateOutcome::Fail) || has(GateOutcome::Error) || has(GateOutcome::Flaky) {
            Verdict::Failed
        } else if judged_all && results.len() == plan.gates.len() {
            Verdict::Passed
        } else {
            Verdict::Incomplete
        };
        Self { commit, results, verdict, isolation: Isolation::default(), warnings: Vec::new() }
    }

    /// Returns the findings that lie on the work, of all gates, at most [`crate::limits::FINDINGS`].
    pub fn findings(&self) -> Vec<Finding> {
        let own = self.results.iter().filter(|r| r.fault.is_none());
        own.flat_map(|r| r.findings.iter().cloned()).take(crate::limits::FINDINGS).collect()
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
