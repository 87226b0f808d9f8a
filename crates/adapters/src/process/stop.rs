//! Stops one job, whoever started it: through its shim where one answers, from outside where none does.

use std::io;
use std::path::Path;
use std::time::Duration;

use mosaic_core::domain::ids::AgentId;
use mosaic_core::limits;
use tokio::task::spawn_blocking;
use tokio::time::{sleep, timeout};

use super::confinement::Confinement;
use super::connection::Connection;
use super::layout::{self, ExitFile, JobDir, ShimFile};
use super::outside::{self, Reach};
use super::protocol::{Answer, Request};

/// The rungs of the kill ladder in climbing order, as receipts name them.
pub(super) const RUNGS: [&str; 5] = ["none", "interrupt", "term", "kill", "sweep"];

/// Returns the rung that is further up.
pub(super) fn further<'a>(one: &'a str, other: &'a str) -> &'a str {
    let height = |rung: &str| RUNGS.iter().position(|known| *known == rung);
    if height(one) >= height(other) { one } else { other }
}

/// What stopping one job did.
#[derive(Debug)]
pub(super) struct Stopped {
    pub(super) before: u32,
    pub(super) after: u32,
    pub(super) rung: String,
    pub(super) confinement: Option<Confinement>,
}

/// Lists the agent's jobs that have not ended cleanly.
pub(super) fn unended(data: &Path, agent: AgentId) -> io::Result<Vec<JobDir>> {
    let mut jobs = layout::jobs(&layout::runs(data, agent))?;
    jobs.retain(|dir| !dir.has_ended());
    Ok(jobs)
}

/// Lists the agent's jobs that a stop must look at: those, and those whose supervisor lives on although an exit is
/// recorded. The record lies where the agent can write; the supervisor goes right after it wrote a true one.
pub(super) async fn suspects(data: &Path, agent: AgentId) -> io::Result<Vec<JobDir>> {
    let mut found = Vec::new();
    for dir in layout::jobs(&layout::runs(data, agent))? {
        if !dir.has_ended() || timeout(limits::JOB_POLL, gone(&dir)).await.is_err() {
            found.push(dir);
        }
    }
    Ok(found)
}

/// Lists the agents that have such jobs.
pub(super) fn unfinished(data: &Path) -> io::Result<Vec<AgentId>> {
    let agents = match std::fs::read_dir(data.join("agents")) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(e),
    };
    let mut found = Vec::new();
    for entry in agents {
        let Some(agent) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        if !unended(data, agent)?.is_empty() {
            found.push(agent);
        }
    }
    Ok(found)
}

/// Stops a job and proves it.
pub(super) async fn stop(
    dir: &JobDir,
    agent: AgentId,
    grace: Duration,
    parent: Option<&Path>,
) -> io::Result<Stopped> {
    let grace = grace.min(limits::LONGEST_GRACE);
    let ordered = timeout(grace + limits::STOP_PROOF, order(dir, grace)).await.unwrap_or(Ok(None));
    // Whatever went wrong with the shim, the job is ended from outside: that needs nobody's help.
    let mut before = ordered.ok().flatten().unwrap_or(0);
    // The shim goes right after it wrote the exit; one that stays did not write it.
    if !dir.has_ended() || timeout(limits::JOB_POLL, gone(dir)).await.is_err() {
        let (place, parent) = (dir.clone(), parent.map(Path::to_owned));
        let counts =
            spawn_blocking(move || outside::end(&place, agent, Reach::Agent, parent.as_deref())).await;
        let counts = counts.map_err(io::Error::other)??;
        before = before.max(counts.before);
        if counts.after > 0 {
            let confinement = dir.load::<ShimFile>().ok().flatten().map(|shim| shim.confinement);
            return Ok(Stopped { before, after: counts.after, rung: RUNGS[4].to_owned(), confinement });
        }
    }
    // The shim goes right after it wrote the exit; it counts as part of the agent too.
    let _ = timeout(limits::JOB_POLL, gone(dir)).await;
    let exit = dir.load::<ExitFile>()?;
    let confinement = exit.as_ref().and_then(|file| file.confinement);
    let rung = exit.map_or_else(|| RUNGS[0].to_owned(), |file| file.rung);
    Ok(Stopped { before, after: 0, rung, confinement })
}

/// Orders the shim to stop its job and waits until it has; returns how many processes there were, `None` when
/// there is no shim.
async fn order(dir: &JobDir, grace: Duration) -> io::Result<Option<u32>> {
    let grace_ms = u64::try_from(grace.as_millis()).unwrap_or(u64::MAX);
    let mut connection = loop {
        if dir.try_lock()?.is_some() {
            return Ok(None);
        }
        match Connection::open(dir).await {
            Ok(connection) => break connection,
            // It has the lock and no socket: it starts or ends at this moment.
            Err(_) => sleep(Duration::from_millis(2)).await,
        }
    };
    let live = connection.ask(|id| Request::Stop { id, grace_ms }).await?.live;
    while !matches!(connection.receive().await?, None | Some(Answer::Exited)) {}
    Ok(live)
}

/// Waits until no shim holds the job's lock.
async fn gone(dir: &JobDir) {
    while matches!(dir.try_lock(), Ok(None)) {
        sleep(Duration::from_micros(500)).await;
    }
}
