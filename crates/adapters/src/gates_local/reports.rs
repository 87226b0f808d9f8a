//! Judgement by reports: what the content of each means for its gate.

use std::path::Path;

use mosaic_core::domain::gates::{Finding, GateDefinition, GateOutcome, ReportSpec};

use super::judged::Judged;
use super::report_file::{self, ReportError};
use crate::gate_reports::{self, Content, Coverage, Report, Tests};

/// Least line coverage of the gate `coverage`, in percent: the contract's floor.
pub(super) const FLOOR: f64 = 85.0;

/// Tells whether a report measures lines that ran, so that a least share can be asked for.
pub(super) fn measures_coverage(report: &ReportSpec) -> bool {
    gate_reports::format(report.format.as_str()).is_some_and(|format| format.content == Content::Coverage)
}

/// Removes reports that lie in the checkout before their gate has run.
pub(super) fn remove(checkout: &Path, gate: &GateDefinition) -> Result<(), ReportError> {
    gate.reports.iter().try_for_each(|report| report_file::remove(checkout, &report.path))
}

/// Judges by every report of a gate. `None` when it has none.
pub(super) fn judge(checkout: &Path, gate: &GateDefinition) -> Option<Judged> {
    // One report that cannot be read does not hide what the others show: an agent gets all findings at once.
    let one = |spec| judge_one(checkout, gate, spec).unwrap_or_else(Judged::error);
    gate.reports.iter().map(one).reduce(Judged::and)
}

/// Returns the failed tests that reports name after a command that failed itself. A report without one explains nothing, and
/// a broken one is no news: the command has failed already.
pub(super) fn explain(checkout: &Path, gate: &GateDefinition) -> Option<Judged> {
    let failed = |spec| match read(checkout, spec) {
        Ok(Report::Tests(tests)) if tests.failed > 0 => Some(judge_tests(gate, spec, tests)),
        _ => None,
    };
    gate.reports.iter().filter_map(failed).reduce(Judged::and)
}

fn judge_one(checkout: &Path, gate: &GateDefinition, spec: &ReportSpec) -> Result<Judged, ReportError> {
    Ok(match read(checkout, spec)? {
        Report::Tests(tests) => judge_tests(gate, spec, tests),
        Report::Coverage(coverage) => judge_coverage(checkout, gate, spec, &coverage),
    })
}

fn read(checkout: &Path, spec: &ReportSpec) -> Result<Report, ReportError> {
    let path = || spec.path.clone();
    let Some(format) = gate_reports::format(spec.format.as_str()) else {
        return Err(ReportError::UnknownFormat { path: path(), format: spec.format.clone() });
    };
    let bytes = report_file::read(checkout, &spec.path)?;
    (format.parse)(&bytes).map_err(|source| ReportError::Malformed { path: path(), source })
}

fn judge_tests(gate: &GateDefinition, spec: &ReportSpec, tests: Tests) -> Judged {
    let finding =
        |path, line, message| Finding { source: gate.name.to_string(), path, line, message, secret: None };
    let summary = tests.summary();
    if tests.failed > 0 {
        let findings = tests.failures.into_iter().map(|test| finding(test.path, test.line, test.message));
        return Judged::new(GateOutcome::Fail, summary).with(findings.collect());
    }
    // Runners exit with 0 when a filter or a rename leaves them without a test.
    if tests.passed == 0 {
        let message = format!("no test ran ({} has no test case that was run)", spec.path);
        return Judged::new(GateOutcome::Fail, format!("no test ran, {} skipped", tests.skipped))
            .with(vec![finding(None, None, message)]);
    }
    Judged::new(GateOutcome::Pass, summary)
}

fn judge_coverage(checkout: &Path, gate: &GateDefinition, spec: &ReportSpec, coverage: &Coverage) -> Judged {
    let min = spec.min.unwrap_or(FLOOR);
    let summary = coverage.summary(min);
    if coverage.reaches(min) {
        return Judged::new(GateOutcome::Pass, summary);
    }
    Judged::new(GateOutcome::Fail, summary).with(coverage.findings(gate.name.as_str(), checkout))
}
