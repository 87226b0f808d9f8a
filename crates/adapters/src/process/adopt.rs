//! Takes over a job that an earlier server started. Its directory says everything: what was to run, who supervises it
//! and how it ended. Alive is whose lock is held; a process number alone proves nothing.

use std::io;
use std::time::Duration;

use mosaic_core::limits;
use mosaic_core::ports::processes::{Adopted, Exit, ProcessError};
use tokio::time::{Instant, sleep};

use super::connection::Connection;
use super::job::ShimJob;
use super::layout::{ExitFile, JobDir, LAYOUT, ShimFile, SpecFile};
use super::linux;
use super::output_reader::OutputReader;
use super::rung::Rung;

/// Time between two looks at a job that is just starting.
const STARTING: Duration = Duration::from_millis(5);

/// Takes a job over; `None` when there is none, or it never came to run anything.
pub(super) async fn adopt(dir: JobDir) -> Result<Option<Adopted>, ProcessError> {
    let Some(spec) = dir.load::<SpecFile>()? else { return Ok(None) };
    let Some(shim) = started(&dir).await? else { return Ok(None) };
    // An adopted job is read from its first byte on, although an earlier server has read part of it: the conversation has
    // to be replayed to know where it stands, and what was answered already the shim knows.
    let reader = match OutputReader::open(&spec.job.output, shim.output_base, spec.job.output_limit) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Err(ProcessError::Lost(dir.label())),
        opened => opened?,
    };
    // One that ended meanwhile has no socket any more; its files say everything.
    let connection = Connection::open(&dir).await.ok();
    let rebooted = shim.boot_id != linux::boot_id();
    let job = Box::new(ShimJob::new(dir, reader, connection));
    Ok(Some(Adopted { job, memo: spec.job.memo, rebooted }))
}

/// Records the end of a job that nobody started, with its lock held.
fn never_started(dir: &JobDir) -> Result<(), ProcessError> {
    if dir.has_ended() {
        return Ok(());
    }
    let why = "its server was lost before it started".to_owned();
    let exit = Exit { start_error: Some(why), ..Exit::default() };
    let rung = Rung::None.word().to_owned();
    Ok(dir.save(&ExitFile { version: LAYOUT, exit, rung, output_error: None, containment: None })?)
}

/// Returns who supervises or supervised the job. A supervisor that is just starting it is waited for; one that was
/// lost before it started anything leaves no name.
async fn started(dir: &JobDir) -> Result<Option<ShimFile>, ProcessError> {
    let deadline = Instant::now() + limits::SHIM_START;
    loop {
        // The lock is tried before the record is read, because a shim writes its record with the lock held.
        // The other way round, a shim that wrote its record and ended between the two looks would pass for
        // one that never started.
        let lock = dir.try_lock()?;
        if let Some(shim) = dir.load::<ShimFile>()? {
            return Ok(Some(shim));
        }
        if lock.is_some() {
            // It may be on its way still, with the specification in its pipe. It finds this and goes.
            return never_started(dir).map(|()| None);
        }
        if Instant::now() > deadline {
            return Err(ProcessError::NotStarted {
                job: dir.label(),
                why: format!("its supervisor has named no program within {} s", limits::SHIM_START.as_secs()),
            });
        }
        sleep(STARTING).await;
    }
}
