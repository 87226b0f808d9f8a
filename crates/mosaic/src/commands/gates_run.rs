//! `mosaic gates run`: tries the gates on a commit of the repository one is in, without an agent and without a server. Its state is
//! its own, as that of `mosaic run` is; setups and verdicts are shared with all runs.

use std::sync::Arc;

use mosaic_api::{GateOutcome, GatePlan, GateReport, Verdict};
use mosaic_core::Orchestrator;
use mosaic_core::domain::ids::{AgentId, Word};
use mosaic_core::domain::outcome::{Failure, FailureKind};
use mosaic_core::domain::spec::GateProfile;
use mosaic_core::try_gates::{Trial, TrialRequest};
use serde::Serialize;
use tokio::signal::unix::{SignalKind, signal};

use super::server_config::server_config;
use crate::cli::{GateChoice, GatesRunArgs, ServeArgs};
use crate::color::Paint;
use crate::exit::Exit;
use crate::local_git::LocalRepository;
use crate::logging;
use crate::problem::Problem;
use crate::run_state::RunState;
use crate::sanitize;
use crate::serve::blocking;
use crate::session::{Session, say};
use crate::trust;
use crate::wire::{self, Overrides};

/// Output of a trial.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Tried {
    commit: String,
    profile: String,
    verdict: Verdict,
    plan: GatePlan,
    report: GateReport,
    warnings: Vec<String>,
}

/// Runs the command.
pub(super) fn run(session: &Session, args: &GatesRunArgs) -> Result<Exit, Problem> {
    let repository = LocalRepository::here()?.ok_or_else(|| {
        Problem::usage_hint("there is no git repository here", "go into one: cd REPOSITORY")
    })?;
    let request = request(&repository, args)?;
    let mut config = server_config(session, &ServeArgs::default())?;
    let trust = trust::settle(session, config.trust, &config.data_dir, &repository)?;
    logging::start_quiet(&config);
    let state = RunState::make(&config.data_dir, "gates")?;
    let overrides = Overrides {
        allowed_repository: Some(root(&repository)?),
        trusted: Some(trust::file(&config.data_dir)),
        // Without a cache in common the state's own is used, which is empty.
        gate_cache: (!args.fresh).then(|| config.data_dir.join(wire::GATE_CACHE)),
        open_files: None,
    };
    state.path().clone_into(&mut config.data_dir);
    config.trust = Some(trust);
    // Its own store, whatever is named: nothing of it concerns a fleet.
    config.valkey = crate::config::valkey::ValkeyConfig::default();
    // Tried here, where a person sees what they do.
    config.coordinator.url = None;
    let id = request.id;
    let tried = blocking(async {
        let wired = wire::wire(&config, &overrides).await?;
        let tried = until_signal(&wired.orchestrator, &request).await;
        let ended = wired.orchestrator.end_trial(id).await;
        wired.idle().await;
        if let Err(failure) = ended {
            say(&format!("warning: something of the trial is left: {}", failure.message));
        }
        Ok(tried)
    });
    let tried = tried.inspect_err(|_| state.leave_quietly(id))?;
    state.leave_quietly(id);
    let Some(tried) = tried else { return Ok(Exit::Interrupted) };
    match tried {
        Ok(trial) => show(session, args, &request, &trial),
        Err(failure) => not_judged(failure),
    }
}

/// Judges; nothing when a signal came first. Ending the program at once would leave the gates running.
async fn until_signal(o: &Arc<Orchestrator>, request: &TrialRequest) -> Option<Result<Trial, Failure>> {
    let signals = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()].map(signal);
    let [Ok(mut interrupt), Ok(mut terminate), Ok(mut hangup)] = signals else {
        return Some(o.try_gates(request).await);
    };
    tokio::select! {
        tried = Box::pin(o.try_gates(request)) => Some(tried),
        _ = interrupt.recv() => None,
        _ = terminate.recv() => None,
        _ = hangup.recv() => None,
    }
}

fn root(repository: &LocalRepository) -> Result<std::path::PathBuf, Problem> {
    let root = std::fs::canonicalize(&repository.root);
    root.map_err(|e| anyhow::Error::new(e).context("the repository's path cannot be resolved").into())
}

fn request(repository: &LocalRepository, args: &GatesRunArgs) -> Result<TrialRequest, Problem> {
    let (commit, branch) = repository.commit_and_branch(&args.commit)?;
    let root = root(repository)?;
    let path = root.to_str().ok_or_else(|| Problem::usage("the repository's path is not UTF-8"))?;
    let unusable =
        |what: &str, why: &dyn std::fmt::Display| Problem::usage(format!("{what} cannot be used: {why}"));
    let custom: Result<Vec<Word>, _> = args.gates.iter().map(|name| name.parse()).collect();
    let profile = if args.gates.is_empty() { args.profile } else { GateChoice::Custom };
    Ok(TrialRequest {
        id: AgentId(uuid::Uuid::new_v4()),
        repository: path.parse().map_err(|e| unusable("the repository's path", &e))?,
        branch: branch.parse().map_err(|e| unusable("the branch's name", &e))?,
        commit: commit.parse().map_err(|e| unusable("the commit", &e))?,
        profile: profile_of(profile),
        custom: custom.map_err(|e| unusable("a gate's name", &e))?,
    })
}

fn profile_of(choice: GateChoice) -> GateProfile {
    match choice {
        GateChoice::Strict => GateProfile::Strict,
        GateChoice::Standard => GateProfile::Standard,
        GateChoice::Minimal => GateProfile::Minimal,
        GateChoice::Custom => GateProfile::Custom,
    }
}

fn not_judged(failure: Failure) -> Result<Exit, Problem> {
    match failure.kind {
        // A setup that fails is what a trial is there to find out.
        FailureKind::Setup => {
            say(&sanitize::block(&failure.message));
            Ok(Exit::GatesNotPassed)
        }
        FailureKind::BadInput => Err(Problem::usage(failure.message)),
        _ => Err(Problem::Other(anyhow::anyhow!(failure.message))),
    }
}

fn show(
    session: &Session,
    args: &GatesRunArgs,
    request: &TrialRequest,
    trial: &Trial,
) -> Result<Exit, Problem> {
    let (plan, report) = mosaic_server::shown_gates(&trial.plan, &trial.report);
    let profile =
        mosaic_api::GateProfile::from(if args.gates.is_empty() { args.profile } else { GateChoice::Custom });
    let tried = Tried {
        commit: request.commit.to_string(),
        profile: profile.to_string(),
        verdict: report.verdict,
        plan,
        report,
        warnings: trial.warnings.clone(),
    };
    match session.global.json {
        true => session.print_json(&tried)?,
        false => session.print(render(&tried, session.paint()))?,
    }
    Ok(if tried.verdict == Verdict::Passed { Exit::Ok } else { Exit::GatesNotPassed })
}

/// Renders the verdict as `mosaic gates` does, failing output last.
fn render(tried: &Tried, paint: Paint) -> String {
    let commit = tried.commit.get(..7).unwrap_or(&tried.commit);
    let mut out = format!("{} @ {}\n", tried.profile, sanitize::line(commit));
    let by =
        format!("defined by {} · run by mosaic, without an agent", sanitize::line(&tried.plan.defined_by));
    out.push_str(&format!("{}\n", paint.dim(&by)));
    let results = &tried.report.results;
    let width =
        results.iter().map(|r| sanitize::columns(&sanitize::line(&r.name))).max().unwrap_or(0).max(10);
    results.iter().for_each(|result| out.push_str(&super::gates::screen::result_line(result, width, paint)));
    for name in &tried.plan.undefined {
        let name = sanitize::line(name);
        out.push_str(&format!("  {} [      —] {name:<width$}   no definition\n", paint.warn("SKIP ")));
    }
    let warnings = [&tried.plan.warnings, &tried.report.warnings, &tried.warnings];
    for warning in warnings.into_iter().flatten() {
        out.push_str(&format!("  {} {}\n", paint.warn("warning:"), sanitize::line(warning)));
    }
    out.push_str(&super::gates::screen::findings(results, paint));
    let count = |words: &[GateOutcome]| results.iter().filter(|r| words.contains(&r.outcome)).count();
    let cached = if results.iter().any(|result| result.cached) { " · known already" } else { "" };
    let (verdict, total) = (tried.verdict.to_string(), results.iter().map(|r| r.duration_ms).sum::<u64>());
    out.push_str(&format!(
        "{} {} passed, {} failed, {} skipped in {}.{}s{cached}\n",
        paint.by_word(&verdict, &verdict.to_uppercase()),
        count(&[GateOutcome::Pass]),
        count(&[GateOutcome::Fail, GateOutcome::Error, GateOutcome::Flaky]),
        count(&[GateOutcome::Skip]),
        total / 1000,
        total % 1000 / 100
    ));
    out
}
