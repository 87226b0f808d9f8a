//! Judgement by reports: what the content of each means for its gate, beside the exit status of its command. The two must
//! agree.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use mosaic_core::domain::changed_lines::ChangedLines;
use mosaic_core::domain::gates::{
    Finding, GateDefinition, GateOutcome, LineCoverage, ReportSpec, TestCounts,
};
use mosaic_core::limits;

use super::captured_output::{CapturedOutput, OUTPUT};
use super::changed_coverage::{self, ChangedCoverage};
use super::judged::Judged;
use super::quarantine::{self, Quarantine};
use super::report_dir::{self, ReportDir};
use super::report_file::{self, ReportError, Since};
use super::report_paths::ReportPaths;
use crate::gate_reports::{self, Content, Coverage, FailedTest, Report, Tests};

/// Least line coverage of the gate `coverage`, in percent: the contract's floor.
pub(super) const FLOOR: f64 = 85.0;

/// Evidence that one run of a gate left.
#[derive(Debug, Clone)]
pub(super) struct Evidence {
    /// The checkout, as the gate's commands see it.
    pub(super) inside: PathBuf,
    /// Earliest time at which a report of it can have been written.
    pub(super) since: Since,
    /// Its whole output, where a report is read from it.
    pub(super) output: Arc<CapturedOutput>,
    /// The directory that its command was given for reports.
    pub(super) directory: Option<ReportDir>,
    /// Tests whose results are tolerated.
    pub(super) quarantine: Quarantine,
    /// Lines that the commit changes; `None` when they are not known.
    pub(super) changed: Option<Arc<[ChangedLines]>>,
}

/// Tells whether a report measures lines that ran, so that a least share can be asked for.
pub(super) fn measures_coverage(report: &ReportSpec) -> bool {
    gate_reports::format(report.format.as_str()).is_some_and(|format| format.content == Content::Coverage)
}

/// Removes reports that lie in the checkout before their gate has run.
pub(super) fn remove(checkout: &Path, gate: &GateDefinition) -> Result<(), ReportError> {
    let in_checkout =
        |report: &&ReportSpec| report.path != OUTPUT && report_dir::inner(&report.path).is_none();
    gate.reports.iter().filter(in_checkout).try_for_each(|report| report_file::remove(checkout, &report.path))
}

/// Judges by every report of a gate whose command ended with 0, or that has none. `None` when it has no report.
pub(super) fn judge(checkout: &Path, gate: &GateDefinition, evidence: &Evidence) -> Option<Judged> {
    let reports = Reports { checkout, gate, evidence };
    // One report that cannot be read does not hide what the others show: an agent gets all findings at once.
    let one = |spec| reports.read(spec).map_or_else(Judged::error, |report| reports.judge(spec, report));
    gate.reports.iter().map(one).reduce(Judged::and)
}

/// Judges a command that failed itself by what its reports say about it. `None` when they explain nothing: then it has failed
/// for a reason of its own.
pub(super) fn explain(checkout: &Path, gate: &GateDefinition, evidence: &Evidence) -> Option<Judged> {
    let reports = Reports { checkout, gate, evidence };
    let (mut failed, mut unread) = (0, false);
    let mut judged = Vec::new();
    for spec in &gate.reports {
        match reports.read(spec) {
            Ok(report) => {
                if let Report::Tests(tests) = &report {
                    failed += tests.failed;
                }
                judged.push(reports.judge(spec, report));
            }
            // A broken report is no news: the command has failed already.
            Err(_) => unread = true,
        }
    }
    let told = judged.into_iter().reduce(Judged::and)?;
    match (told.outcome, failed) {
        // Every failure is of a test in quarantine, and nothing else is wrong.
        (GateOutcome::Pass, 1..) if !unread => Some(told),
        (GateOutcome::Pass | GateOutcome::Flaky, _) => {
            let summary =
                format!("failed although its reports show no failure that counts: {}", told.summary);
            Some(Judged { outcome: GateOutcome::Fail, summary, ..told })
        }
        _ => Some(told),
    }
}

/// The reports of one gate after one run.
struct Reports<'a> {
    checkout: &'a Path,
    gate: &'a GateDefinition,
    evidence: &'a Evidence,
}

impl Reports<'_> {
    fn read(&self, spec: &ReportSpec) -> Result<Report, ReportError> {
        let path = || spec.path.clone();
        let Some(format) = gate_reports::format(spec.format.as_str()) else {
            return Err(ReportError::UnknownFormat { path: path(), format: spec.format.clone() });
        };
        let malformed = |source| ReportError::Malformed { path: path(), source };
        if spec.path == OUTPUT {
            let whole = self.evidence.output.whole().ok_or(ReportError::CutOutput)?;
            return (format.parse)(whole).map_err(malformed);
        }
        let bytes = match (report_dir::inner(&spec.path), &self.evidence.directory) {
            (Some(inner), Some(directory)) => {
                report_file::read_in(directory.handle(), inner, self.evidence.since)?
            }
            // No command of this run was given a directory.
            (Some(_), None) => return Err(ReportError::Missing(path())),
            (None, _) => report_file::read(self.checkout, &spec.path, self.evidence.since)?,
        };
        (format.parse)(&bytes).map_err(malformed)
    }

    fn judge(&self, spec: &ReportSpec, report: Report) -> Judged {
        match report {
            Report::Tests(tests) => self.judge_tests(&tests),
            Report::Coverage(coverage) => self.judge_coverage(spec, &coverage),
        }
    }

    fn finding(&self, path: Option<String>, line: Option<u64>, message: String) -> Finding {
        Finding { source: self.gate.name.to_string(), path, line, message, secret: None }
    }

    fn paths(&self) -> ReportPaths {
        ReportPaths::of(self.checkout, &self.evidence.inside)
    }

    fn judge_tests(&self, tests: &Tests) -> Judged {
        let decided = quarantine::decide(tests, &self.evidence.quarantine);
        let counts = TestCounts {
            passed: tests.passed,
            failed: tests.failed,
            skipped: tests.skipped,
            flaky: tests.flaky,
        };
        let judged = Judged { tests: Some(counts), ..Judged::new(decided.outcome, decided.summary) };
        if decided.outcome == GateOutcome::Pass {
            return judged;
        }
        let faults = decided.faults.into_iter().map(|fault| self.finding(None, None, fault));
        let paths = self.paths();
        let of_test = |test: FailedTest| {
            let path = test.path.as_deref().and_then(|path| paths.existing(path));
            // A line without its file would point into another one.
            let line = test.line.filter(|_| path.is_some());
            self.finding(path, line, format!("{}: {}", test.id(), test.message))
        };
        let findings =
            faults.chain(decided.counted.into_iter().map(of_test)).take(limits::FINDINGS).collect();
        judged.with(findings)
    }

    fn judge_coverage(&self, spec: &ReportSpec, coverage: &Coverage) -> Judged {
        let min = spec.min.unwrap_or(FLOOR);
        let mut summary = coverage.summary(min);
        let mut outcome = if coverage.reaches(min) { GateOutcome::Pass } else { GateOutcome::Fail };
        let changed = match &self.evidence.changed {
            Some(changed) => changed_coverage::count(coverage, changed, &self.paths()),
            None => ChangedCoverage::Unknown,
        };
        let mut findings = Vec::new();
        if let (Some(min), ChangedCoverage::Known { hit, total }) = (spec.min_changed, changed) {
            summary.push_str(&format!(", changed lines {}", gate_reports::share(hit, total, min)));
            if !gate_reports::reaches(hit, total, min) {
                outcome = GateOutcome::Fail;
                findings.push(self.finding(
                    None,
                    None,
                    format!("{hit} of {total} changed lines ran, at least {min}% must"),
                ));
            }
        }
        let unknown = spec.min_changed.is_some() && changed == ChangedCoverage::Unknown;
        if unknown {
            summary.push_str(", and the coverage of the changed lines is not known");
            outcome = GateOutcome::Error;
        }
        let changed = match changed {
            ChangedCoverage::Known { hit, total } => Some(percent(hit, total)),
            ChangedCoverage::Nothing | ChangedCoverage::Unknown => None,
        };
        let coverage_of_gate =
            LineCoverage { percent: percent(coverage.hit, coverage.total), base: None, changed };
        if outcome != GateOutcome::Pass {
            findings.extend(self.poor(coverage));
            findings.truncate(limits::FINDINGS);
        }
        Judged { coverage: Some(coverage_of_gate), ..Judged::new(outcome, summary).with(findings) }
    }

    /// Returns the files with lines that did not run.
    fn poor(&self, coverage: &Coverage) -> Vec<Finding> {
        let paths = self.paths();
        let finding = |file: &&gate_reports::FileCoverage| {
            let path = paths.existing(&file.path);
            let message = file.told(path.as_deref().unwrap_or(&file.path));
            let line = file.missed().next().map(u64::from).filter(|_| path.is_some());
            self.finding(path, line, message)
        };
        coverage.poor().iter().take(limits::FINDINGS).map(finding).collect()
    }
}

/// Returns a share in percent, rounded down to tenths, so that a number that is shown never reaches a floor that it missed.
fn percent(hit: u64, total: u64) -> f64 {
    gate_reports::tenths(hit, total) as f64 / 10.0
}
