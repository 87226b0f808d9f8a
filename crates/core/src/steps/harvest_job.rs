//! The job that reads an agent's tree inside its confinement: a harvest, a salvage or a snapshot. It needs the tree and the
//! names of the agent's jobs, and no record: a tree whose record is lost is salvaged in the same way.

use std::path::PathBuf;
use std::time::Duration;

use super::context::{JobOwner, stopped, supervisor_failed};
use crate::domain::agent::Salvaged;
use crate::domain::outcome::{Failure, FailureKind};
use crate::limits;
use crate::orchestrator::Orchestrator;
use crate::ports::processes::{Exit, Job, JobEvent};
use crate::ports::repositories::{HarvestJob, TreeRequest};
use crate::ports::sandbox::{Mount, Policy, Purpose, SandboxHandle};

/// Bundles and receives a tree as it is; `None` when it holds nothing of its own.
pub(super) async fn salvage(
    o: &Orchestrator,
    owner: &JobOwner,
    tree: &TreeRequest,
) -> Result<Option<Salvaged>, Failure> {
    let salvage = o.ports.intake.salvage(tree).await?;
    let outbox = perform(o, owner, "salvage", salvage, limits::HARVEST).await?;
    o.ports.intake.receive_salvage(tree, &outbox).await
}

/// Runs a harvest inside the agent's confinement and returns its outbox.
pub(super) async fn perform(
    o: &Orchestrator,
    owner: &JobOwner,
    what: &str,
    harvest: HarvestJob,
    limit: Duration,
) -> Result<PathBuf, Failure> {
    if o.orders.latch().is_some() {
        return Err(held());
    }
    disk_allows_bundle(o).await?;
    let policy = Policy::of_harvests().with(Mount::writable(harvest.outbox.clone()));
    let handle = o.ports.sandbox.prepare(owner.agent, Purpose::Harvest, &policy).await?;
    let performed = Box::pin(perform_in(o, owner, &handle, what, harvest, limit)).await;
    if let Err(e) = o.ports.sandbox.discard(&handle).await {
        tracing::warn!(agent.id = %owner.agent, error = %e, "the directories of a harvest are left until the agent is released");
    }
    performed
}

async fn perform_in(
    o: &Orchestrator,
    owner: &JobOwner,
    handle: &SandboxHandle,
    what: &str,
    harvest: HarvestJob,
    limit: Duration,
) -> Result<PathBuf, Failure> {
    // Every try has a name of its own, because records of an earlier try in the same run may still be there.
    let name = format!("{what}-{}-{}", owner.runs, o.ports.chance.agent_id().short());
    let mut job = owner.job(o, &name, handle, (harvest.command, harvest.env), &harvest.outbox);
    job.output = o.ports.transcripts.log(owner.agent, &format!("{what}-{}", owner.runs));
    job.output_limit = limits::GATE_LOG_BYTES;
    job.time_limit = Some(limit);
    let mut job = o.ports.processes.start(job).await.map_err(|e| supervisor_failed(&e))?;
    let exit = tokio::select! {
        biased;
        // No job of an agent runs while the switch is engaged, not even one of ours.
        () = o.orders.engaged() => {
            let stopped = o.stop_jobs(owner.agent, Duration::ZERO).await;
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
