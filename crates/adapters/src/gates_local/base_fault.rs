//! The base's part in a red verdict. A gate that is red on the base commit in the same way says nothing about the agent's work: it
//! is told as a fault of the base, or of this machine where it cannot be judged at all, and is not returned to the agent.

use std::collections::HashSet;
use std::sync::Arc;

use mosaic_core::domain::gates::{Finding, GateFault, GateOutcome, GateReport, GateResult};
use mosaic_core::limits;
use mosaic_core::ports::gatekeeper::{CommitSource, JudgeRequest, PrepareRequest};

use super::LocalGatekeeper;

/// Number of the judgement of a base commit: its logs stand beside those of the agent's own, which begin with 1.
const ROUND: u32 = 0;

/// Marks the gates of a red report that are not the agent's fault. The base is judged only now and only once: as long as all is
/// green nobody waits for it.
pub(super) async fn mark(
    keeper: &LocalGatekeeper,
    request: &JudgeRequest,
    source: &Arc<dyn CommitSource>,
    mut report: GateReport,
) -> GateReport {
    let red = |result: &GateResult| matches!(result.outcome, GateOutcome::Fail | GateOutcome::Error);
    let Some(base) =
        source.base().filter(|_| request.commit != request.base && report.results.iter().any(red))
    else {
        return report;
    };
    let of_base = JudgeRequest {
        round: ROUND,
        commit: request.base.clone(),
        changed: Some(Vec::new()),
        changed_lines: Some(Vec::new()),
        ..request.clone()
    };
    let judged = match Box::pin(keeper.recalled_or_judged(&of_base, &base)).await {
        Ok(judged) => judged,
        Err(failure) => {
            tracing::warn!(agent.id = %request.agent, error = failure.message, "the base commit could not be judged");
            report.warnings.push(format!(
                "whether the base commit {} is red in the same way is not known: {}",
                request.base.short(),
                failure.message
            ));
            return report;
        }
    };
    for result in &mut report.results {
        let Some(on_base) = judged.results.iter().find(|one| one.name == result.name) else { continue };
        result.fault = fault(result, on_base);
        if result.fault.is_none() && red(result) && red(on_base) {
            report.warnings.push(GateFault::Base.warning(on_base));
        }
    }
    report
}

/// Returns warnings about gates that are red on the base, as far as that is known already.
pub(super) async fn known(
    keeper: &LocalGatekeeper,
    request: &PrepareRequest,
    base: &Arc<dyn CommitSource>,
) -> Vec<String> {
    let Some(report) = keeper.known(&request.plan, &request.base, base.as_ref()).await else {
        return Vec::new();
    };
    let red = report.results.iter().filter(|result| result.outcome == GateOutcome::Fail);
    red.map(|result| GateFault::Base.warning(result)).collect()
}

/// Says on whom a red result lies, when the base has the same one.
fn fault(head: &GateResult, base: &GateResult) -> Option<GateFault> {
    if head.outcome != base.outcome || head.exit_code != base.exit_code {
        return None;
    }
    match head.outcome {
        GateOutcome::Error if head.summary == base.summary => Some(GateFault::Machine),
        GateOutcome::Fail if is_no_worse(head, base) => Some(GateFault::Base),
        _ => None,
    }
}

/// Tells whether nothing is wrong with the head that is not wrong with the base. Only where tests are counted or coverage is
/// measured this is certain. An exit status, or a line of a log, may be the very thing that the agent was asked to mend: such a
/// gate is warned about and goes back to the agent like any other.
fn is_no_worse(head: &GateResult, base: &GateResult) -> bool {
    let covered = match (&head.coverage, &base.coverage) {
        (Some(head), Some(base)) => Some(head.percent >= base.percent),
        _ => None,
    };
    // Coverage says nothing about a test that fails only here.
    let (Some(tests), Some(of_base)) = (&head.tests, &base.tests) else { return covered == Some(true) };
    if covered == Some(false) {
        return false;
    }
    // Fewer tests may be a test that was deleted.
    if tests.failed > of_base.failed || tests.passed < of_base.passed {
        return false;
    }
    // A list that was cut may have lost the one that is new.
    if head.findings.len() >= limits::FINDINGS && head.summary != base.summary {
        return false;
    }
    let known: HashSet<_> = base.findings.iter().map(gist).collect();
    match head.findings.is_empty() {
        true => head.summary == base.summary,
        false => head.findings.iter().all(|finding| known.contains(&gist(finding))),
    }
}

/// Returns what stays of a finding when lines move and times differ.
fn gist(finding: &Finding) -> (Option<&str>, String) {
    let mut text = String::with_capacity(finding.message.len());
    for c in finding.message.chars() {
        match c.is_ascii_digit() {
            true if text.ends_with('#') => {}
            true => text.push('#'),
            false => text.push(c),
        }
    }
    (finding.path.as_deref(), text)
}

#[cfg(test)]
mod tests {
    use mosaic_core::domain::gates::{LineCoverage, TestCounts};

    use super::*;

    fn red(outcome: GateOutcome, summary: &str, messages: &[&str]) -> GateResult {
        let finding = |message: &&str| Finding {
            source: "tests".to_owned(),
            path: Some("a.c".to_owned()),
            line: None,
            message: (*message).to_owned(),
            secret: None,
        };
        let findings = messages.iter().map(finding).collect();
        GateResult {
            exit_code: Some(1),
            findings,
            ..GateResult::new("tests".parse().unwrap(), outcome, summary.to_owned())
        }
    }

    #[test]
    fn only_what_the_base_has_too_is_the_bases() {
        let tests = Some(TestCounts { passed: 1, failed: 3, skipped: 0, flaky: 0 });
        let red =
            |outcome, summary, messages: &[&str]| GateResult { tests, ..red(outcome, summary, messages) };
        let base = red(GateOutcome::Fail, "2 findings (exit 1)", &["one at 0.12s", "two"]);
        let same = red(GateOutcome::Fail, "2 findings (exit 1)", &["two", "one at 3.4s"]);
        assert_eq!(fault(&same, &base), Some(GateFault::Base));
        let fewer = red(GateOutcome::Fail, "1 finding (exit 1)", &["two"]);
        assert_eq!(fault(&fewer, &base), Some(GateFault::Base));
        let more = red(GateOutcome::Fail, "3 findings (exit 1)", &["one at 1s", "two", "three"]);
        assert_eq!(fault(&more, &base), None);
        let other = red(GateOutcome::Fail, "1 finding (exit 1)", &["three"]);
        assert_eq!(fault(&other, &base), None);
        let silent = red(GateOutcome::Fail, "exit 1", &[]);
        assert_eq!((fault(&silent, &silent), fault(&silent, &base)), (Some(GateFault::Base), None));
        let uncounted = GateResult { tests: None, ..silent.clone() };
        assert_eq!(fault(&uncounted, &uncounted), None);
        let missing = red(GateOutcome::Error, "command not found (exit 127)", &[]);
        assert_eq!((fault(&missing, &missing), fault(&missing, &base)), (Some(GateFault::Machine), None));
    }

    #[test]
    fn counts_and_coverage_decide_where_there_are_any() {
        let tests = |failed| {
            let tests = Some(TestCounts { passed: 1, failed, skipped: 0, flaky: 0 });
            GateResult { tests, ..red(GateOutcome::Fail, "failed", &["x"]) }
        };
        assert_eq!(fault(&tests(2), &tests(2)), Some(GateFault::Base));
        assert_eq!(fault(&tests(3), &tests(2)), None);
        let covered = |percent| {
            let coverage = Some(LineCoverage { percent, base: None, changed: None });
            GateResult { coverage, ..red(GateOutcome::Fail, "too low", &["y"]) }
        };
        assert_eq!(fault(&covered(61.0), &covered(60.0)), Some(GateFault::Base));
        assert_eq!(fault(&covered(59.0), &covered(60.0)), None);
    }
}
