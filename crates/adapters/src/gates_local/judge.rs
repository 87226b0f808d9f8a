//! The judgement: every gate of the plan in order. A gate that failed does not stop the later ones, so that the
//! agent gets all findings at once.

use std::path::Path;
use std::sync::Arc;

use mosaic_core::domain::gates::{Finding, GateDefinition, GateOutcome, GateReport, GateResult};
use mosaic_core::domain::key_lines::KeyLines;
use mosaic_core::domain::outcome::{Failure, FailureKind, cut};
use mosaic_core::limits;
use mosaic_core::ports::scanner::SecretScanner;

use super::config::FLOOR;
use super::git_dir::Pristine;
use super::judging_home::Judging;
use super::run::{self, Ended};
use super::{GateOptions, findings, junit, lcov, report_file};

/// The judgement of one gate.
struct Judged {
    outcome: GateOutcome,
    summary: String,
    findings: Vec<Finding>,
    exit_code: Option<i32>,
}

impl Judged {
    fn new(outcome: GateOutcome, summary: impl Into<String>) -> Self {
        Self { outcome, summary: summary.into(), findings: Vec::new(), exit_code: None }
    }

    fn error(summary: impl Into<String>) -> Self {
        Self::new(GateOutcome::Error, summary)
    }

    fn with(self, findings: Vec<Finding>) -> Self {
        Self { findings, ..self }
    }
}

/// Judges the commit. Whatever cannot be judged is an error in the report; only where this machine could not run the
/// gates there is none.
pub(super) async fn all(options: &GateOptions, request: &Judging) -> Result<GateReport, Failure> {
    let mut results = Vec::new();
    let pristine = pristine(request).await?;
    // Reports that came with the commit must not count: only what a gate writes now.
    let stale = match request.plan.trusted {
        true => {
            blocking(request, |checkout, plan| {
                plan.gates.iter().map(|gate| remove_reports(checkout, gate)).collect::<Vec<_>>()
            })
            .await
        }
        false => Vec::new(),
    };
    for (index, gate) in request.plan.gates.iter().enumerate() {
        let started = options.clock.elapsed();
        let removed =
            stale.get(index).cloned().unwrap_or(Err("an earlier report could not be looked for".to_owned()));
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
            name: gate.name.clone(),
            outcome: judged.outcome,
            command: gate.run.clone(),
            exit_code: judged.exit_code,
            duration_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
            summary: judged.summary,
            findings: judged.findings,
            log: (request.plan.trusted && gate.run.is_some()).then(|| run::name(request.round, gate)),
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
    let kept = blocking(request, move |checkout, _| vec![Pristine::keep(checkout, &own)]).await.pop();
    let why = match kept {
        Some(Ok(pristine)) => return Ok(Arc::new(pristine)),
        Some(Err(why)) => why.to_string(),
        None => "it could not be read".to_owned(),
    };
    let text = format!("the git directory of what is judged cannot be kept: {why}");
    Err(Failure::new(FailureKind::Internal, text))
}

/// Gives a gate the git directory that the first one found.
async fn restored(
    options: &GateOptions,
    request: &Judging,
    pristine: &Arc<Pristine>,
    index: usize,
) -> Result<(), String> {
    if index == 0 {
        return Ok(());
    }
    let (trash, pristine) = (Arc::clone(&options.trash), Arc::clone(pristine));
    let done = blocking(request, move |checkout, _| vec![pristine.restore(checkout, &trash)]).await.pop();
    match done {
        Some(Ok(())) => Ok(()),
        Some(Err(why)) => Err(format!("the checkout's .git cannot be restored after an earlier gate: {why}")),
        None => Err("the checkout's .git cannot be restored after an earlier gate".to_owned()),
    }
}

async fn one(options: &GateOptions, request: &Judging, gate: &GateDefinition) -> Result<Judged, Failure> {
    let Some(command) = &gate.run else { return Ok(reports(request, gate).await) };
    let own = gate.clone();
    let removed = blocking(request, move |checkout, _| vec![remove_reports(checkout, &own)]).await;
    if let Some(Err(why)) = removed.into_iter().next() {
        return Ok(Judged::error(why));
    }
    let (ended, log) = run::run(options, request, gate, command).await?;
    // What was left out may be the middle of a key.
    let log = options.scanner.mask(&KeyLines::default().hide(&log));
    Ok(match ended {
        Ended::Unjudged(why) => Judged::error(why).with(log_findings(gate, &log, &request.checkout).0),
        Ended::Code(0) => {
            let judged = reports(request, gate).await;
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
    let (name, junit) = (gate.name.clone(), gate.junit.clone());
    let tests = blocking(request, move |checkout, _| {
        let read = |path: String| junit::parse(name.as_str(), &report_file::read(checkout, &path)?);
        junit.map(read).into_iter().filter_map(Result::ok).collect::<Vec<_>>()
    })
    .await;
    if let Some(tests) = tests.into_iter().next().filter(|tests| tests.failed > 0) {
        let summary = format!("{} (exit {code})", tests.summary());
        let found = if tests.findings.is_empty() {
            log_findings(gate, log, &request.checkout).0
        } else {
            tests.findings
        };
        return Judged::new(GateOutcome::Fail, summary).with(found);
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
async fn reports(request: &Judging, gate: &GateDefinition) -> Judged {
    let gate = gate.clone();
    let read = move |checkout: &Path, _: &_| {
        let tests = gate.junit.as_deref().map(|path| tests(checkout, &gate, path));
        let coverage = gate.lcov.as_deref().map(|path| coverage(checkout, &gate, path));
        vec![combine(tests, coverage)]
    };
    let judged = blocking(request, read).await;
    judged.into_iter().next().unwrap_or_else(|| Judged::error("its reports could not be read"))
}

fn tests(checkout: &Path, gate: &GateDefinition, path: &str) -> Judged {
    let read = report_file::read(checkout, path).and_then(|bytes| {
        junit::parse(gate.name.as_str(), &bytes).map_err(|why| format!("report {path} {why}"))
    });
    match read {
        Err(why) => Judged::error(why),
        Ok(tests) if tests.failed > 0 => Judged::new(GateOutcome::Fail, tests.summary()).with(tests.findings),
        Ok(tests) if tests.passed == 0 => {
            let message = format!("no test ran ({path} has no test case that was run)");
            let finding =
                Finding { source: gate.name.to_string(), path: None, line: None, message, secret: None };
            Judged::new(GateOutcome::Fail, format!("no test ran, {} skipped", tests.skipped))
                .with(vec![finding])
        }
        Ok(tests) => Judged::new(GateOutcome::Pass, tests.summary()),
    }
}

fn coverage(checkout: &Path, gate: &GateDefinition, path: &str) -> Judged {
    let min = gate.min.unwrap_or(FLOOR);
    let read = report_file::read(checkout, path)
        .and_then(|bytes| lcov::parse(&bytes).map_err(|why| format!("report {path} {why}")));
    match read {
        Err(why) => Judged::error(why),
        Ok(coverage) if coverage.reaches(min) => Judged::new(GateOutcome::Pass, coverage.summary(min)),
        Ok(coverage) => {
            let findings = coverage.findings(gate.name.as_str(), checkout);
            Judged::new(GateOutcome::Fail, coverage.summary(min)).with(findings)
        }
    }
}

/// Puts two reports together: the worse outcome counts, both are said.
fn combine(tests: Option<Judged>, coverage: Option<Judged>) -> Judged {
    match (tests, coverage) {
        (None, None) => Judged::new(GateOutcome::Pass, "exit 0"),
        (Some(one), None) | (None, Some(one)) => one,
        (Some(a), Some(b)) => {
            let worst = [GateOutcome::Error, GateOutcome::Fail, GateOutcome::Pass];
            let has = |outcome: &GateOutcome| a.outcome == *outcome || b.outcome == *outcome;
            let outcome = worst.into_iter().find(has).unwrap_or(GateOutcome::Error);
            let findings = a.findings.into_iter().chain(b.findings).take(limits::FINDINGS).collect();
            Judged::new(outcome, format!("{}, {}", a.summary, b.summary)).with(findings)
        }
    }
}

fn remove_reports(checkout: &Path, gate: &GateDefinition) -> Result<(), String> {
    [&gate.lcov, &gate.junit].into_iter().flatten().try_for_each(|path| report_file::remove(checkout, path))
}

/// Does file work off the event loop: reports may be large. A panic there judges nothing and gives an empty list.
async fn blocking<T: Send + 'static>(
    request: &Judging,
    work: impl FnOnce(&Path, &mosaic_core::domain::gates::GatePlan) -> Vec<T> + Send + 'static,
) -> Vec<T> {
    let (checkout, plan) = (request.checkout.clone(), request.plan.clone());
    tokio::task::spawn_blocking(move || work(&checkout, &plan)).await.unwrap_or_default()
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
