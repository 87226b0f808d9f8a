//! The judgement of one gate or of one report.

use mosaic_core::domain::gates::{Finding, GateOutcome};
use mosaic_core::limits;

/// Outcome with its explanation.
pub(super) struct Judged {
    pub(super) outcome: GateOutcome,
    pub(super) summary: String,
    pub(super) findings: Vec<Finding>,
    pub(super) exit_code: Option<i32>,
}

impl Judged {
    pub(super) fn new(outcome: GateOutcome, summary: impl Into<String>) -> Self {
        Self { outcome, summary: summary.into(), findings: Vec::new(), exit_code: None }
    }

    pub(super) fn error(summary: impl ToString) -> Self {
        Self::new(GateOutcome::Error, summary.to_string())
    }

    pub(super) fn with(self, findings: Vec<Finding>) -> Self {
        Self { findings, ..self }
    }

    /// Combines two reports: the worse outcome counts, both summaries are shown.
    pub(super) fn and(self, other: Self) -> Self {
        let worst = [GateOutcome::Error, GateOutcome::Fail, GateOutcome::Pass];
        let has = |outcome: &GateOutcome| self.outcome == *outcome || other.outcome == *outcome;
        let outcome = worst.into_iter().find(has).unwrap_or(GateOutcome::Error);
        let findings = self.findings.into_iter().chain(other.findings).take(limits::FINDINGS).collect();
        Self::new(outcome, format!("{}, {}", self.summary, other.summary)).with(findings)
    }
}
