//! Gates and findings.

use mosaic_core::domain::gates::{
    FilteredPath, Finding, GateDefinition, GatePlan, GateReport, GateResult, LineCoverage, Quarantined,
    ReportSpec, SetupDefinition, TestCounts,
};
use mosaic_core::domain::ids::Word;
use mosaic_core::domain::secrets::SecretFinding;

use super::shown::Shown;

/// Returns a plan and a report as types of the API, for a command that judges without a server.
pub fn shown_gates(plan: &GatePlan, report: &GateReport) -> (mosaic_api::GatePlan, mosaic_api::GateReport) {
    (plan.shown(), report.shown())
}

impl Shown for Word {
    type View = String;

    fn shown(&self) -> String {
        self.to_string()
    }
}

impl Shown for GateDefinition {
    type View = mosaic_api::GateDefinition;

    fn shown(&self) -> Self::View {
        let Self { name, run, reports, timeout_ms, needs, env } = self;
        let lcov = self.report("lcov");
        mosaic_api::GateDefinition {
            name: name.to_string(),
            run: run.clone(),
            lcov: lcov.map(|report| report.path.clone()),
            junit: self.report("junit").map(|report| report.path.clone()),
            min: lcov.and_then(|report| report.min),
            reports: reports.shown(),
            timeout_ms: *timeout_ms,
            needs: needs.shown(),
            env: env.clone(),
        }
    }
}

impl Shown for ReportSpec {
    type View = mosaic_api::ReportSpec;

    fn shown(&self) -> Self::View {
        let Self { format, path, min, min_changed } = self;
        let (min, min_changed) = (*min, *min_changed);
        mosaic_api::ReportSpec { format: format.to_string(), path: path.clone(), min, min_changed }
    }
}

impl Shown for GatePlan {
    type View = mosaic_api::GatePlan;

    fn shown(&self) -> Self::View {
        let Self { gates, undefined, declared_none, setup, quarantine, defined_by, trusted, warnings } = self;
        mosaic_api::GatePlan {
            gates: gates.shown(),
            undefined: undefined.shown(),
            declared_none: declared_none.shown(),
            setup: setup.shown(),
            quarantine: quarantine.shown(),
            defined_by: defined_by.clone(),
            trusted: *trusted,
            warnings: warnings.clone(),
        }
    }
}

impl Shown for SetupDefinition {
    type View = mosaic_api::SetupDefinition;

    fn shown(&self) -> Self::View {
        let Self { run, timeout_ms, inputs, outputs } = self.clone();
        mosaic_api::SetupDefinition { run, timeout_ms, inputs, outputs }
    }
}

impl Shown for Quarantined {
    type View = mosaic_api::Quarantined;

    fn shown(&self) -> Self::View {
        let Self { test, owner, reason, expires } = self.clone();
        mosaic_api::Quarantined { test, owner, reason, expires }
    }
}

impl Shown for TestCounts {
    type View = mosaic_api::TestCounts;

    fn shown(&self) -> Self::View {
        let Self { passed, failed, skipped, flaky } = *self;
        mosaic_api::TestCounts { passed, failed, skipped, flaky }
    }
}

impl Shown for LineCoverage {
    type View = mosaic_api::LineCoverage;

    fn shown(&self) -> Self::View {
        let Self { percent, base, changed } = *self;
        mosaic_api::LineCoverage { percent, base, changed }
    }
}

impl Shown for SecretFinding {
    type View = mosaic_api::SecretFinding;

    fn shown(&self) -> Self::View {
        let Self { rule, commit, fingerprint, own } = self;
        mosaic_api::SecretFinding {
            rule: rule.clone(),
            commit: commit.to_string(),
            fingerprint: fingerprint.as_str().to_owned(),
            own: *own,
        }
    }
}

impl Shown for Finding {
    type View = mosaic_api::Finding;

    fn shown(&self) -> Self::View {
        let Self { source, path, line, message, secret } = self;
        mosaic_api::Finding {
            source: source.clone(),
            path: path.clone(),
            line: *line,
            message: message.clone(),
            secret: secret.shown(),
        }
    }
}

impl Shown for GateResult {
    type View = mosaic_api::GateResult;

    fn shown(&self) -> Self::View {
        let Self { name, outcome, command, exit_code, duration_ms, summary, findings, log, .. } = self;
        let Self { tests, coverage, cached, fault, .. } = self;
        mosaic_api::GateResult {
            name: name.to_string(),
            outcome: outcome.shown(),
            command: command.clone(),
            exit_code: *exit_code,
            duration_ms: *duration_ms,
            summary: summary.clone(),
            findings: findings.shown(),
            log: log.clone(),
            tests: tests.shown(),
            coverage: coverage.shown(),
            cached: *cached,
            fault: fault.shown(),
        }
    }
}

impl Shown for GateReport {
    type View = mosaic_api::GateReport;

    fn shown(&self) -> Self::View {
        let Self { commit, results, verdict, isolation, warnings } = self;
        mosaic_api::GateReport {
            commit: commit.to_string(),
            results: results.shown(),
            verdict: verdict.shown(),
            isolation: isolation.shown(),
            warnings: warnings.clone(),
        }
    }
}

impl Shown for FilteredPath {
    type View = mosaic_api::FilteredPath;

    fn shown(&self) -> Self::View {
        mosaic_api::FilteredPath { path: self.path.clone(), filter: self.filter.clone() }
    }
}
