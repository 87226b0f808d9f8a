//! Stops one job, whoever started it: through its shim where one answers, from outside where none does.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use mosaic_core::domain::ids::AgentId;
use mosaic_core::limits;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep, timeout};

use crate::disk;

use super::connection::Connection;
use super::connection_error::ConnectionError;
use super::containment::Containment;
use super::job_list;
use super::kill_without_shim::{self, Counts, Reach};
use super::layout::{self, ExitFile, JobDir, ShimFile};
use super::protocol::{Answer, Request};
use super::rung::Rung;

/// The result of stopping one job.
#[derive(Debug)]
pub(super) struct Stopped {
    pub(super) before: u32,
    pub(super) rung: Rung,
    pub(super) containment: Option<Containment>,
}

/// A job that has not ended for certain.
#[derive(Debug)]
pub(super) struct Suspect {
    pub(super) dir: JobDir,
    /// It has no supervisor.
    pub(super) is_lost: bool,
}

/// Lists the agent's jobs that a stop must look at: those that have not ended cleanly, and those whose
/// supervisor lives on although an exit is recorded. The record lies where the agent can write; the supervisor goes right after it wrote a true one. May block.
pub(super) async fn suspects(data: PathBuf, agent: AgentId) -> io::Result<Vec<Suspect>> {
    let jobs = job_list::jobs(&layout::runs(&data, agent))?;
    Ok(join_all(jobs.into_iter().map(suspect)).await.into_iter().flatten().collect())
}

async fn suspect(dir: JobDir) -> Option<Suspect> {
    // An exit may have been written by the agent. A true one is followed by the end of its shim, which lets
    // go of the lock, so a lock that stays held for longer than that belongs to a supervisor that is still at
    // work.
    let stays = !dir.has_ended() || timeout(limits::JOB_POLL, gone(&dir)).await.is_err();
    let is_lost = stays && matches!(dir.try_lock(), Ok(Some(_)));
    stays.then_some(Suspect { dir, is_lost })
}

/// Stops a job: through its supervisor, and from outside where that does not end it in time. What is wrong with its
/// records, and that they cannot be read, is logged only: whether anything is left is for the caller to ask the system.
pub(super) async fn stop(dir: &JobDir, agent: AgentId, grace: Duration, parent: Option<&Path>) -> Stopped {
    let grace = grace.min(limits::LONGEST_GRACE);
    // Whatever goes wrong with the shim, the job is ended from outside: that needs nobody's help.
    // The count is shared and not returned: when the deadline ends the order, the shim may have said already
    // how many processes there were, and the receipt needs that number.
    let seen = Arc::new(AtomicU32::new(0));
    let _ = disk::drive_for(grace + limits::SHIM_PROOF, order(dir.clone(), grace, Arc::clone(&seen))).await;
    let mut before = seen.load(Ordering::SeqCst);
    if !has_gone(dir).await {
        let counts = end_without_shim(dir, agent, parent).await;
        before = before.max(counts.before);
        if counts.after > 0 {
            let of = dir.clone();
            let containment = disk::drive_for(limits::DISK_ANSWER, async move {
                of.load::<ShimFile>().ok().flatten().map(|shim| shim.containment)
            });
            return Stopped { before, rung: Rung::Sweep, containment: containment.await.flatten() };
        }
        // The shim counts as part of the agent too.
        let of = dir.clone();
        let _ = disk::drive_for(limits::JOB_POLL, async move { gone(&of).await }).await;
    }
    told(dir, before).await
}

/// Tells whether a job ended and its shim with it. The shim goes right after it wrote the exit; one that stays did not write it.
async fn has_gone(dir: &JobDir) -> bool {
    let dir = dir.clone();
    let look = async move {
        if !dir.has_ended() {
            return false;
        }
        gone(&dir).await;
        true
    };
    disk::drive_for(limits::JOB_POLL, look).await.unwrap_or(false)
}

/// Ends jobs without a supervisor, one after the other: each looks for everything that is the agent's, and all but the
/// first find nothing more.
pub(super) async fn stop_lost(jobs: Vec<Suspect>, agent: AgentId, parent: Option<&Path>) -> Stopped {
    let mut all = Stopped { before: 0, rung: Rung::None, containment: None };
    let until = Instant::now() + limits::SHIM_PROOF;
    let sorted = move || {
        let mut jobs = jobs;
        // Those that had a supervisor first.
        // Their records name a session and a cgroup, so the first sweep finds most of what there is, and its
        // receipt names the containment. A directory that was planted has neither.
        jobs.sort_by_cached_key(|job| !job.dir.has_begun());
        jobs
    };
    let jobs = disk::drive_for(limits::DISK_ANSWER, async move { sorted() }).await.unwrap_or_default();
    for job in jobs {
        // Thousands of planted directories are not worth a kill's time; the caller's last look finds what is alive.
        if Instant::now() > until {
            tracing::warn!(agent.id = %agent, "not every job directory of the agent could be looked at in time");
            break;
        }
        let before = end_without_shim(&job.dir, agent, parent).await.before;
        let one = told(&job.dir, before).await;
        all.before += one.before;
        all.rung = all.rung.max(one.rung);
        all.containment = all.containment.into_iter().chain(one.containment).min();
    }
    all
}

async fn end_without_shim(dir: &JobDir, agent: AgentId, parent: Option<&Path>) -> Counts {
    let (place, parent) = (dir.clone(), parent.map(Path::to_owned));
    let ended =
        spawn_blocking(move || kill_without_shim::end(&place, agent, Reach::Agent, parent.as_deref())).await;
    ended.map_err(io::Error::other).and_then(|ended| ended).unwrap_or_else(|e| {
        tracing::warn!(agent.id = %agent, job = %dir.label(), error = %e, "a job could not be ended without its shim");
        Counts { before: 0, after: 1 }
    })
}

/// Reads how far a job's end went.
async fn told(dir: &JobDir, before: u32) -> Stopped {
    let of = dir.clone();
    let exit = disk::drive_for(limits::DISK_ANSWER, async move { of.load::<ExitFile>() }).await;
    let exit = exit.and_then(Result::ok).flatten();
    let containment = exit.as_ref().and_then(|file| file.containment);
    // The file may be the agent's: only a word of ours is passed on.
    let rung = exit.map_or(Rung::None, |file| Rung::from_record(&file.rung));
    Stopped { before, rung, containment }
}

/// Orders the shim to stop its job, notes how many processes there are, and waits until it has. Returns at once when there
/// is no shim.
async fn order(dir: JobDir, grace: Duration, seen: Arc<AtomicU32>) -> Result<(), ConnectionError> {
    let grace_ms = u64::try_from(grace.as_millis()).unwrap_or(u64::MAX);
    // The lock may be held by something of the agent's that has no socket.
    let patience = Instant::now() + limits::SHIM_CONNECT;
    let mut connection = loop {
        if dir.try_lock()?.is_some() {
            return Ok(());
        }
        match Connection::open(&dir).await {
            Ok(connection) => break connection,
            Err(e) if Instant::now() > patience => return Err(e),
            // It has the lock and no socket: it starts or ends at this moment.
            Err(_) => sleep(Duration::from_millis(2)).await,
        }
    };
    let live = connection.ask(|id| Request::Stop { id, grace_ms }).await?.live;
    seen.store(live.unwrap_or(0), Ordering::SeqCst);
    // The end of the connection counts as well as the message. A shim drops a wake-up for a server that is
    // behind, and a shim that is killed sends none.
    while !matches!(connection.receive().await?, None | Some(Answer::Exited)) {}
    Ok(())
}

/// Waits until no shim holds the job's lock.
async fn gone(dir: &JobDir) {
    // The lock goes free when the kernel has closed the files of the dead process. No event tells of that to
    // a process that is not its parent, so it is asked for at short intervals.
    while matches!(dir.try_lock(), Ok(None)) {
        sleep(Duration::from_micros(500)).await;
    }
}
