//! The judgement of one gate or of one report.

use mosaic_core::domain::gates::{Finding, GateOutcome, LineCoverage, TestCounts};
use mosaic_core::limits;

/// Outcome with its explanation.
#[derive(Debug, Clone)]
pub(super) struct Judged {
    pub(super) outcome: GateOutcome,
    pub(super) summary: String,
    pub(super) findings: Vec<Finding>,
    pub(super) exit_code: Option<i32>,
    /// Tests of its reports, added up.
    pub(super) tests: Option<TestCounts>,
    /// Coverage that a report measures; the lowest of several.
    pub(super) coverage: Option<LineCoverage>,
}

impl Judged {
    pub(super) fn new(outcome: GateOutcome, summary: impl Into<String>) -> Self {
        let summary = summary.into();
        Self { outcome, summary, findings: Vec::new(), exit_code: None, tests: None, coverage: None }
    }

    pub(super) fn error(summary: impl ToString) -> Self {
        Self::new(GateOutcome::Error, summary.to_string())
    }

    pub(super) fn with(self, findings: Vec<Finding>) -> Self {
        Self { findings, ..self }
    }

    /// Combines two reports: the worse outcome counts, both summaries are shown.
    pub(super) fn and(self, other: Self) -> Self {
        let worst = [GateOutcome::Error, GateOutcome::Fail, GateOutcome::Flaky, GateOutcome::Pass];
        let has = |outcome: &GateOutcome| self.outcome == *outcome || other.outcome == *outcome;
        let outcome = worst.into_iter().find(has).unwrap_or(GateOutcome::Error);
        let findings = self.findings.into_iter().chain(other.findings).take(limits::FINDINGS).collect();
        Self {
            tests: both(self.tests, other.tests, add),
            coverage: both(self.coverage, other.coverage, lower),
            ..Self::new(outcome, format!("{}, {}", self.summary, other.summary)).with(findings)
        }
    }
}

fn both<T>(one: Option<T>, other: Option<T>, combine: fn(T, T) -> T) -> Option<T> {
    match (one, other) {
        (Some(one), Some(other)) => Some(combine(one, other)),
        (one, other) => one.or(other),
    }
}

fn add(one: TestCounts, other: TestCounts) -> TestCounts {
    TestCounts {
        passed: one.passed.saturating_add(other.passed),
        failed: one.failed.saturating_add(other.failed),
        skipped: one.skipped.saturating_add(other.skipped),
        flaky: one.flaky.saturating_add(other.flaky),
    }
}

fn lower(one: LineCoverage, other: LineCoverage) -> LineCoverage {
    let changed = both(one.changed, other.changed, f64::min);
    let lower = if other.percent < one.percent { other } else { one };
    LineCoverage { changed, ..lower }
}
