//! The judgement: every gate of the plan in order. A gate that failed does not stop the later ones, so that the
//! agent gets all findings at once.

use std::path::Path;
use std::sync::Arc;

use mosaic_core::domain::gates::{Finding, GateDefinition, GateOutcome, GatePlan, GateReport, GateResult};
use mosaic_core::domain::key_lines::KeyLines;
use mosaic_core::domain::outcome::{Failure, cut};
use mosaic_core::limits;
use mosaic_core::ports::scanner::SecretScanner;

use super::git_dir::{self, GitDirError, Pristine};
use super::judged::Judged;
use super::judging_home::Judging;
use super::options::GateOptions;
use super::report_file::ReportError;
use super::run::{self, Ended};
use super::{findings, reports};

/// Judges the commit. Whatever cannot be judged is an error in the report; only where this machine could not run the
/// gates there is none.
pub(super) async fn all(options: &GateOptions, request: &Judging) -> Result<GateReport, Failure> {
    let mut results = Vec::new();
    // Copied before the first gate runs, while nothing of the commit has been executed here.
    let pristine = pristine(request).await?;
    // Reports that came with the commit must not count: only what a gate writes now. All go before the first gate runs, because
    // a gate may leave a report for a later one.
    let stale = match request.plan.trusted {
        true => blocking(request, remove_all).await.unwrap_or_default(),
        false => Vec::new(),
    };
    let mut stale = stale.into_iter();
    // One after the other: they share the checkout, and a later gate may read what an earlier one wrote, such as a coverage
    // report.
    for (index, gate) in request.plan.gates.iter().enumerate() {
        let started = options.clock.elapsed();
        let removed = stale.next().unwrap_or(Err(ReportError::Broke));
        let judged = match (request.plan.trusted, removed) {
            (false, _) => {
                Judged::new(GateOutcome::Skip, "not run: the repository's commands are not trusted")
            }
            (true, Err(why)) => Judged::error(why),
            (true, Ok(())) => match restored(options, request, &pristine, index).await {
                Err(why) => Judged::error(why),
                Ok(()) => one(options, request, gate).await?,
            },
        };
        let took = options.clock.elapsed().saturating_sub(started);
        let result = GateResult {
            command: gate.run.clone(),
            exit_code: judged.exit_code,
            duration_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
            findings: judged.findings,
            log: (request.plan.trusted && gate.run.is_some()).then(|| run::name(request.round, gate)),
            ..GateResult::new(gate.name.clone(), judged.outcome, judged.summary)
        };
        tracing::info!(agent.id = %request.agent, gate.name = %gate.name, gate.outcome = ?result.outcome, "gate ended");
        results.push(masked(options.scanner.as_ref(), result));
    }
    Ok(GateReport::new(request.commit.clone(), results, &request.plan))
}

/// Keeps the git directory as it is, for the gates after the first.
async fn pristine(request: &Judging) -> Result<Arc<Pristine>, Failure> {
    if request.plan.gates.len() < 2 {
        return Ok(Arc::default());
    }
    let own = request.place.own.clone();
    let kept = blocking(request, move |checkout, _| Pristine::keep(checkout, &own)).await;
    Ok(Arc::new(kept.unwrap_or_else(|| Err(git_dir::broke())).map_err(GitDirError::Keep)?))
}

/// Gives a gate the git directory that the first one found.
async fn restored(
    options: &GateOptions,
    request: &Judging,
    pristine: &Arc<Pristine>,
    index: usize,
) -> Result<(), GitDirError> {
    // The first gate finds the directory as it was made.
    if index == 0 {
        return Ok(());
    }
    let (trash, pristine) = (Arc::clone(&options.trash), Arc::clone(pristine));
    let restored = blocking(request, move |checkout, _| pristine.restore(checkout, &trash)).await;
    restored.unwrap_or_else(|| Err(git_dir::broke())).map_err(GitDirError::Restore)
}

async fn one(options: &GateOptions, request: &Judging, gate: &GateDefinition) -> Result<Judged, Failure> {
    let Some(command) = &gate.run else { return Ok(by_reports(request, gate).await) };
    // Once more: an earlier gate may have written what this one is about to write, or a link in its place.
    let own = gate.clone();
    if let Some(Err(why)) = blocking(request, move |checkout, _| reports::remove(checkout, &own)).await {
        return Ok(Judged::error(why));
    }
    let (ended, log) = run::run(options, request, gate, command).await?;
    // What was left out may be the middle of a key.
    let log = options.scanner.mask(&KeyLines::default().hide(&log));
    Ok(match ended {
        Ended::Unjudged(why) => Judged::error(why).with(log_findings(gate, &log, &request.checkout).0),
        Ended::Code(0) => {
            let judged = by_reports(request, gate).await;
            Judged { exit_code: Some(0), ..judged }
        }
        Ended::Code(code) => {
            let judged = failed(request, gate, code, &log).await;
            Judged { exit_code: Some(code), ..judged }
        }
    })
}

/// Judges a command that ended with another code than 0: it failed; a test report only says more about it.
async fn failed(request: &Judging, gate: &GateDefinition, code: i32, log: &str) -> Judged {
    let own = gate.clone();
    let told = blocking(request, move |checkout, _| reports::explain(checkout, &own)).await.flatten();
    if let Some(mut told) = told {
        if told.findings.is_empty() {
            told.findings = log_findings(gate, log, &request.checkout).0;
        }
        return Judged { summary: format!("{} (exit {code})", told.summary), ..told };
    }
    let (found, count) = log_findings(gate, log, &request.checkout);
    let summary = match count {
        0 => format!("exit {code}"),
        1 => format!("1 finding (exit {code})"),
        more => format!("{more} findings (exit {code})"),
    };
    Judged::new(GateOutcome::Fail, summary).with(found)
}

/// Returns what a log says and how many findings it really has; a log that nobody understands gives its end.
fn log_findings(gate: &GateDefinition, log: &str, checkout: &Path) -> (Vec<Finding>, usize) {
    let found = findings::parse(gate.name.as_str(), log, checkout);
    match found.count {
        0 => (findings::tail(gate.name.as_str(), log).into_iter().collect(), 0),
        count => (found.findings, count),
    }
}

/// Judges by the reports that the gate declares; without any, the exit code 0 has said it all.
async fn by_reports(request: &Judging, gate: &GateDefinition) -> Judged {
    let gate = gate.clone();
    match blocking(request, move |checkout, _| reports::judge(checkout, &gate)).await {
        Some(Some(judged)) => judged,
        Some(None) => Judged::new(GateOutcome::Pass, "exit 0"),
        None => Judged::error(ReportError::Broke),
    }
}

/// Removes what lies where the gates write their reports; one result per gate.
fn remove_all(checkout: &Path, plan: &GatePlan) -> Vec<Result<(), ReportError>> {
    plan.gates.iter().map(|gate| reports::remove(checkout, gate)).collect()
}

/// Does file work off the event loop: reports may be large. `None` when it panicked, which judges nothing.
async fn blocking<T: Send + 'static>(
    request: &Judging,
    work: impl FnOnce(&Path, &GatePlan) -> T + Send + 'static,
) -> Option<T> {
    let (checkout, plan) = (request.checkout.clone(), request.plan.clone());
    tokio::task::spawn_blocking(move || work(&checkout, &plan)).await.ok()
}

/// Masks what people, agents and records get to see of a gate.
fn masked(scanner: &dyn SecretScanner, mut result: GateResult) -> GateResult {
    result.summary = cut(scanner.mask(&result.summary), limits::ERROR_BYTES);
    result.command = result.command.map(|command| scanner.mask(&command));
    for finding in &mut result.findings {
        finding.message = scanner.mask(&finding.message);
        finding.path = finding.path.take().map(|path| scanner.mask(&path));
    }
    result
}
