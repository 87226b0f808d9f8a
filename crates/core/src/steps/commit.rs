//! Step 7, commit: inside the agent's confinement what is left over becomes a commit and HEAD a bundle; the server
//! reads only the bundle. "Nothing changed" is an outcome of its own. Salvage, for agents that are ended before this
//! step, goes the same way.

use std::path::PathBuf;
use std::time::Duration;

use super::context::{StepContext, StepState, stopped, supervisor_failed};
use crate::domain::agent::Salvaged;
use crate::domain::ids::CommitId;
use crate::domain::lifecycle::Event;
use crate::domain::outcome::{Failure, FailureKind};
use crate::limits;
use crate::orchestrator::Orchestrator;
use crate::ports::processes::{Exit, Job, JobEvent};
use crate::ports::repositories::{HarvestJob, Kept, Received};
use crate::ports::sandbox::{Purpose, SandboxHandle};

pub(super) async fn run(context: &StepContext<'_>, _: &mut StepState) -> Result<Event, Failure> {
    let Received { kept, beside, mut warnings } = harvest(context).await?;
    Ok(match kept {
        Kept::Commits { head } => {
            if !beside.is_empty() {
                warnings.push(format!(
                    "commits on {} are not part of what is published; `mosaic restore {}` brings them back",
                    beside.join(", "),
                    context.agent.name
                ));
            }
            Event::Kept { head, warnings }
        }
        Kept::Nothing => Event::Unchanged { beside, warnings },
        Kept::Diverged { branches } => Event::Diverged { branches, warnings },
    })
}

/// Commits, bundles and receives what the agent left.
pub(super) async fn harvest(context: &StepContext<'_>) -> Result<Received, Failure> {
    let tree = context.tree()?;
    let harvest = context.orchestrator.ports.intake.harvest(&tree).await?;
    let outbox = perform(context, "harvest", harvest, limits::HARVEST).await?;
    let mut received =
        context.orchestrator.ports.intake.receive(&tree, &outbox).await.map_err(|failure| {
            // Its tree is kept by the unwind.
            let name = &context.agent.name;
            match failure.kind {
                FailureKind::Unpublishable => Failure::new(
                    failure.kind,
                    format!("{}. The work is kept: `mosaic restore {name}` brings it back", failure.message),
                ),
                _ => failure,
            }
        })?;
    for warning in &mut received.warnings {
        *warning = context.orchestrator.ports.scanner.mask(warning);
    }
    Ok(received)
}

/// Bundles and receives the tree as it is; `None` when it holds nothing of its own.
pub(super) async fn salvage(context: &StepContext<'_>) -> Result<Option<Salvaged>, Failure> {
    let tree = context.tree()?;
    let salvage = context.orchestrator.ports.intake.salvage(&tree).await?;
    let outbox = perform(context, "salvage", salvage, limits::HARVEST).await?;
    context.orchestrator.ports.intake.receive_salvage(&tree, &outbox).await
}

/// Commits, bundles and receives the tree of an agent that goes on working; `None` when nothing in it was changed.
pub(super) async fn snapshot(context: &StepContext<'_>) -> Result<Option<CommitId>, Failure> {
    let tree = context.tree()?;
    let snapshot = context.orchestrator.ports.intake.snapshot(&tree).await?;
    let outbox = perform(context, "snapshot", snapshot, limits::LIVE_DIFF).await?;
    context.orchestrator.ports.intake.receive_snapshot(&tree, &outbox).await
}

/// Runs a harvest inside the agent's confinement and returns its outbox.
async fn perform(
    context: &StepContext<'_>,
    what: &str,
    harvest: HarvestJob,
    limit: Duration,
) -> Result<PathBuf, Failure> {
    let (o, agent) = (context.orchestrator, context.agent);
    if o.orders.latch().is_some() {
        return Err(held());
    }
    disk_allows_bundle(o).await?;
    let handle = context.prepare(Purpose::Harvest, Some(harvest.outbox.clone())).await?;
    let performed = Box::pin(perform_in(context, &handle, what, harvest, limit)).await;
    if let Err(e) = o.ports.sandbox.discard(&handle).await {
        tracing::warn!(agent.id = %agent.id, error = %e, "the directories of a harvest are left until the agent is released");
    }
    performed
}

async fn perform_in(
    context: &StepContext<'_>,
    handle: &SandboxHandle,
    what: &str,
    harvest: HarvestJob,
    limit: Duration,
) -> Result<PathBuf, Failure> {
    let (o, agent) = (context.orchestrator, context.agent);
    let name = format!("{what}-{}-{}", agent.runs, o.ports.chance.agent_id().short());
    let mut job = context.job(&name, handle, harvest.command, harvest.env, &harvest.outbox);
    job.output = o.ports.transcripts.log(agent.id, &format!("{what}-{}", agent.runs));
    job.output_limit = limits::GATE_LOG_BYTES;
    job.time_limit = Some(limit);
    let mut job = o.ports.processes.start(job).await.map_err(|e| supervisor_failed(&e))?;
    let exit = tokio::select! {
        biased;
        // No job of an agent runs while the switch is engaged, not even one of ours.
        () = o.orders.engaged() => {
            let stopped = o.stop_jobs(agent.id, Duration::ZERO).await;
            return Err(stopped.err().map_or_else(held, |e| supervisor_failed(&e)));
        }
        exit = until_exit(job.as_mut()) => exit?,
        // The shim's own limit comes first, unless the agent's code got at the shim.
        () = o.ports.clock.sleep(limit + limits::BACKSTOP) => {
            return Err(Failure::new(FailureKind::Internal, "the harvest of the agent's work does not answer"));
        }
    };
    if exit.stopped {
        return Err(stopped());
    }
    if exit.code != Some(0) {
        return Err(Failure::new(FailureKind::Internal, harvest_failure(&exit)));
    }
    Ok(harvest.outbox)
}

/// The kill switch is engaged: nothing of an agent starts, and what its tree holds is kept once it is released.
fn held() -> Failure {
    let why = "the kill switch is engaged, under which no job of an agent starts; it is tried again once it is released";
    Failure::new(FailureKind::Internal, why)
}

/// Refuses to begin on a disk that is all but full: a bundle would not fit, and trying would use up the last space, which
/// is for decisions. The tree stays until there is more.
async fn disk_allows_bundle(o: &Orchestrator) -> Result<(), Failure> {
    let least = o.settings.retention.disk_floor / limits::BUNDLE_PART;
    match o.ports.host.free_bytes().await {
        Ok(free) if free < least => {
            let text = format!(
                "only {} KiB of the disk are free; it is tried again when there is room",
                free / 1024
            );
            Err(Failure::new(FailureKind::Disk, text))
        }
        _ => Ok(()),
    }
}

fn harvest_failure(exit: &Exit) -> String {
    let how = match (exit.timed_out, exit.code, &exit.start_error) {
        (true, ..) => format!("took longer than {} s", limits::HARVEST.as_secs()),
        (_, _, Some(why)) => why.clone(),
        (_, Some(code), _) => format!("ended with status {code}"),
        (_, None, _) => "was killed".to_owned(),
    };
    format!(
        "the agent's work could not be committed and bundled: the harvest {how}: {}",
        exit.stderr_tail.trim()
    )
}

async fn until_exit(job: &mut dyn Job) -> Result<Exit, Failure> {
    loop {
        if let JobEvent::Exited(exit) = job.next().await.map_err(|e| supervisor_failed(&e))? {
            return Ok(exit);
        }
    }
}
