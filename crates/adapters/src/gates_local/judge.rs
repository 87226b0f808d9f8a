//! The judgement: every gate of the plan, independent ones side by side, each in a fresh copy of the checkout. A gate that failed
//! stops only those that need it, so that the agent gets all findings at once.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::try_join_all;
use mosaic_core::domain::gates::{Finding, GateDefinition, GateOutcome, GatePlan, GateReport, GateResult};
use mosaic_core::domain::key_lines::KeyLines;
use mosaic_core::domain::outcome::{Failure, cut};
use mosaic_core::limits;
use mosaic_core::ports::scanner::SecretScanner;
use parking_lot::Mutex;

use super::captured_output::CapturedOutput;
use super::findings;
use super::judged::Judged;
use super::judging::Judging;
use super::needs::{self, Outcomes};
use super::options::GateOptions;
use super::place::{self, GatePlace};
use super::quarantine::Quarantine;
use super::report_dir;
use super::report_file::{ReportError, Since};
use super::reports::{self, Evidence};
use super::rerun;
use super::run::{self, Ended};

/// Everything that the gates of one judgement share.
struct Course<'a> {
    options: &'a GateOptions,
    judging: &'a Judging,
    outcomes: Outcomes,
    /// Places that a later gate reads reports from, by the gates' places in the plan.
    kept: Mutex<Vec<(usize, GatePlace)>>,
}

/// Judges the commit. Whatever cannot be judged is an error in the report; only where this machine could not run the
/// gates there is none.
pub(super) async fn all(options: &GateOptions, judging: &Judging) -> Result<GateReport, Failure> {
    let plan = &judging.plan;
    let course = Course { options, judging, outcomes: Outcomes::of(plan), kept: Mutex::default() };
    let gates = (0..plan.gates.len()).map(|gate| course.gate(gate));
    // Results come in the order of the plan, whichever gate was the first to end.
    let results = try_join_all(gates).await;
    for (_, place) in course.kept.into_inner() {
        place.remove(options, judging).await;
    }
    let report = GateReport::new(judging.commit.clone(), results?, plan);
    Ok(GateReport { isolation: judging.isolation, warnings: judging.warnings.clone(), ..report })
}

impl Course<'_> {
    /// Judges one gate and tells those that need it.
    async fn gate(&self, index: usize) -> Result<GateResult, Failure> {
        let (options, judging) = (self.options, self.judging);
        let gate = &judging.plan.gates[index];
        let (judged, took) = match judging.plan.trusted {
            false => (skip("not run: the repository's commands are not trusted"), Duration::ZERO),
            true => match self.outcomes.await_needs(&judging.plan, index).await {
                Err(why) => (skip(why), Duration::ZERO),
                Ok(()) => self.in_turn(index).await?,
            },
        };
        self.outcomes.tell(index, judged.outcome);
        let result = GateResult {
            command: gate.run.clone(),
            exit_code: judged.exit_code,
            duration_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
            findings: judged.findings,
            tests: judged.tests,
            coverage: judged.coverage,
            log: (judged.outcome != GateOutcome::Skip && gate.run.is_some())
                .then(|| run::log_name(judging.round, gate, 1)),
            ..GateResult::new(gate.name.clone(), judged.outcome, judged.summary)
        };
        tracing::info!(agent.id = %judging.agent, gate.name = %gate.name, gate.outcome = ?result.outcome, "gate ended");
        Ok(masked(options.scanner.as_ref(), result))
    }

    /// Judges a gate when it is its turn; the time that it waited for others is not its own.
    async fn in_turn(&self, index: usize) -> Result<(Judged, Duration), Failure> {
        let gate = &self.judging.plan.gates[index];
        let is_by_reports = gate.run.is_none();
        if is_by_reports {
            // It reads what others wrote and runs nothing.
            self.outcomes.await_all(&needs::sources(&self.judging.plan, index)).await;
        }
        let _turn = self.judging.at_once.acquire().await;
        let begun = self.options.clock.elapsed();
        let judged =
            if is_by_reports { self.by_foreign_reports(index).await } else { self.runs(index).await? };
        Ok((judged, self.options.clock.elapsed().saturating_sub(begun)))
    }

    /// Runs a gate, and once more when its tests failed: then the two runs decide.
    async fn runs(&self, index: usize) -> Result<Judged, Failure> {
        let (options, judging) = (self.options, self.judging);
        let gate = &judging.plan.gates[index];
        let begun = options.clock.elapsed();
        let first = self.attempt(index, 1).await?;
        let took = options.clock.elapsed().saturating_sub(begun);
        if !rerun::is_worth_it(gate, &first) || !judging.has_time_for(options, took) {
            return Ok(first);
        }
        tracing::info!(agent.id = %judging.agent, gate.name = %gate.name, "the gate's tests failed; they are run once more");
        let second = self.attempt(index, 2).await?;
        Ok(rerun::decide(first, second, &judging.plan.quarantine, options.clock.now()))
    }

    /// Runs a gate in a place of its own.
    async fn attempt(&self, index: usize, attempt: u32) -> Result<Judged, Failure> {
        let (options, judging) = (self.options, self.judging);
        let gate = &judging.plan.gates[index];
        let mut place = match place::make(options, judging).await? {
            Ok(place) => place,
            Err(why) => {
                return Ok(Judged::error(format!(
                    "could not be started: its checkout cannot be made: {why}"
                )));
            }
        };
        let judged = match place.give_reports(gate, judging.is_isolated()) {
            Ok(()) => self.judge_in(&place, gate, attempt).await,
            Err(why) => Ok(Judged::error(format!("its directory for reports cannot be made: {why}"))),
        };
        let done_with = if self.is_read_later(index) {
            let mut kept = self.kept.lock();
            let first = kept.iter().position(|(of, _)| *of == index).map(|at| kept.swap_remove(at).1);
            kept.push((index, place));
            first
        } else {
            Some(place)
        };
        if let Some(place) = done_with {
            place.remove(options, judging).await;
        }
        judged
    }

    /// Tells whether a gate without a command reads what this one writes.
    fn is_read_later(&self, index: usize) -> bool {
        let plan = &self.judging.plan;
        let is_reader = |gate: &usize| plan.gates[*gate].run.is_none();
        (0..plan.gates.len()).filter(is_reader).any(|gate| needs::sources(plan, gate).contains(&index))
    }

    async fn judge_in(
        &self,
        place: &GatePlace,
        gate: &GateDefinition,
        attempt: u32,
    ) -> Result<Judged, Failure> {
        let (options, judging) = (self.options, self.judging);
        let Some(command) = &gate.run else { return Ok(Judged::error(ReportError::Broke)) };
        let (tree, plan) = (place.tree.clone(), judging.plan.clone());
        // Reports that came with the commit must not count, neither here nor for a gate that reads them afterwards.
        let removed = blocking(move || remove_all(&tree, &plan)).await;
        if let Err(why) = removed.unwrap_or(Err(ReportError::Broke)) {
            return Ok(Judged::error(why));
        }
        let mut evidence = self.evidence(place);
        let command = place.reports.as_ref().map_or(command.clone(), |directory| directory.command(command));
        let command = after_setup(judging.setup_first.as_deref(), command);
        let mut output = CapturedOutput::of(gate);
        let (ended, log) = run::run(options, judging, place, gate, &command, attempt, &mut output).await?;
        evidence.output = Arc::new(output);
        // What was left out may be the middle of a key.
        let log = options.scanner.mask(&KeyLines::default().hide(&log));
        let (tree, seen) = (&place.tree, &place.inside);
        Ok(match ended {
            Ended::Unjudged(why) => Judged::error(why).with(log_findings(gate, &log, seen).0),
            Ended::Code(0) => {
                let judged = by_reports(tree, gate, evidence).await;
                Judged { exit_code: Some(0), ..judged }
            }
            Ended::Code(code) => {
                let judged = failed(tree, gate, code, &log, evidence).await;
                Judged { exit_code: Some(code), ..judged }
            }
        })
    }

    /// Judges a gate without a command by the reports that gates before it have written.
    async fn by_foreign_reports(&self, index: usize) -> Judged {
        let gate = &self.judging.plan.gates[index];
        let first = gate.reports.first().map(|report| report.path.clone()).unwrap_or_default();
        let (tree, evidence) = {
            let kept = self.kept.lock();
            let place = |source: usize| Some(&kept.iter().find(|(of, _)| *of == source)?.1);
            let places: Vec<_> =
                needs::sources(&self.judging.plan, index).into_iter().filter_map(place).collect();
            let has = |place: &&&GatePlace| match (report_dir::inner(&first), &place.reports) {
                (Some(inner), Some(directory)) => directory.has(inner),
                (Some(_), None) => false,
                (None, _) => place.tree.join(&first).symlink_metadata().is_ok(),
            };
            // The nearest one that has the report: whatever else is wrong with it is said when it is read.
            let Some(place) = places.iter().find(has).or(places.first()) else {
                return Judged::error(ReportError::Missing(first));
            };
            // Another gate wrote it, and its place was new then: nothing in it is older than that run.
            (place.tree.clone(), Evidence { since: Since::ever(), ..self.evidence(place) })
        };
        by_reports(&tree, gate, evidence).await
    }

    /// Returns what is known before a run that will be judged in this place.
    fn evidence(&self, place: &GatePlace) -> Evidence {
        let judging = self.judging;
        Evidence {
            inside: place.inside.clone(),
            since: Since::now(),
            output: Arc::default(),
            directory: place.reports.clone(),
            quarantine: Quarantine::at(&judging.plan.quarantine, self.options.clock.now()),
            changed: judging.changed_lines.clone(),
        }
    }
}

fn skip(why: impl Into<String>) -> Judged {
    Judged::new(GateOutcome::Skip, why)
}

/// Judges a command that ended with another code than 0: it failed; a test report only says more about it, or that all that
/// failed is tolerated.
async fn failed(tree: &Path, gate: &GateDefinition, code: i32, log: &str, evidence: Evidence) -> Judged {
    let (own, at, seen) = (gate.clone(), tree.to_owned(), evidence.inside.clone());
    let told = blocking(move || reports::explain(&at, &own, &evidence)).await.flatten();
    if let Some(mut told) = told {
        if told.findings.is_empty() && told.outcome != GateOutcome::Pass {
            told.findings = log_findings(gate, log, &seen).0;
        }
        return Judged { summary: format!("{} (exit {code})", told.summary), ..told };
    }
    let (found, count) = log_findings(gate, log, &seen);
    let summary = match count {
        0 => format!("exit {code}"),
        1 => format!("1 finding (exit {code})"),
        more => format!("{more} findings (exit {code})"),
    };
    Judged::new(GateOutcome::Fail, summary).with(found)
}

/// Returns what a log says and how many findings it really has; a log that nobody understands gives its end.
fn log_findings(gate: &GateDefinition, log: &str, tree: &Path) -> (Vec<Finding>, usize) {
    let found = findings::parse(gate.name.as_str(), log, tree);
    match found.count {
        0 => (findings::tail(gate.name.as_str(), log).into_iter().collect(), 0),
        count => (found.findings, count),
    }
}

/// Judges by the reports that the gate declares; without any, the exit code 0 has said it all.
async fn by_reports(tree: &Path, gate: &GateDefinition, evidence: Evidence) -> Judged {
    let (gate, tree) = (gate.clone(), tree.to_owned());
    match blocking(move || reports::judge(&tree, &gate, &evidence)).await {
        Some(Some(judged)) => judged,
        Some(None) => Judged::new(GateOutcome::Pass, "exit 0"),
        None => Judged::error(ReportError::Broke),
    }
}

/// Removes what lies where any gate writes its reports.
fn remove_all(tree: &Path, plan: &GatePlan) -> Result<(), ReportError> {
    plan.gates.iter().try_for_each(|gate| reports::remove(tree, gate))
}

/// Does file work off the event loop: reports may be large. `None` when it panicked, which judges nothing.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    tokio::task::spawn_blocking(work).await.ok()
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

/// Returns a command that runs the setup before; what the setup prints is only shown when it fails, because a report may be read
/// from the output.
fn after_setup(setup: Option<&str>, command: String) -> String {
    let Some(setup) = setup else { return command };
    let log = "\"${TMPDIR:-/tmp}/setup.log\"";
    // In a shell of its own: its `exit` must not be the gate's end, nor its directory or variables the gate's.
    format!(
        "( {setup}\n) >{log} 2>&1 || {{ echo 'the setup does not work with this commit:'; cat {log}; exit 1; }}\n{command}"
    )
}
