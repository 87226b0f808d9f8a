//! The shim: the small supervisor under which every job runs. It owns the job's pipes and outlives the server. It is
//! entered before any async runtime exists, has one thread and waits in `poll(2)` only.

mod clients;
mod fork_bomb;
mod freezer;
mod ladder;
mod launch;
mod namespace;
mod priority;
mod refusal;
mod stdin;
mod stop_file;
mod supervisor;

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use rustix::process::{DumpableBehavior, getpid, set_child_subreaper, set_dumpable_behavior, setsid};
use thiserror::Error;

use crate::clock_system::since_boot;

use self::stop_file::{STOP_FILE, StopFile};
use super::layout::{JobDir, SpecFile, Versioned};

/// Longest specification that is read, in bytes: the task's text and its files with room to spare.
const SPEC_BYTES: u64 = 64 * 1024 * 1024;

/// Runs the hidden subcommand `mosaic shim <job directory>`; `args` is what follows `shim`. The specification comes
/// on standard input; one line on standard output says `ready` or why not. Must be called before threads exist.
pub fn shim_main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let mut args = args.into_iter().peekable();
    if args.next_if(|word| word == namespace::INIT).is_some() {
        return namespace::init_main(args);
    }
    if let Some(word) = args.next_if(|word| crate::isolation::is_part(word)) {
        return crate::isolation::main(&word, args);
    }
    let (Some(directory), None) = (args.next(), args.next()) else {
        eprintln!("usage: mosaic shim <job directory> (started by the server only)");
        return ExitCode::from(2);
    };
    match supervise(PathBuf::from(directory)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let line = error.to_string().replace('\n', " ");
            // The server may be gone; then nobody needs to know.
            let _ = writeln!(std::io::stdout(), "failed {line}");
            ExitCode::FAILURE
        }
    }
}

/// Reasons why a shim starts nothing, or could not supervise to the end. The server gets them as text.
#[derive(Debug, Error)]
enum ShimError {
    #[error("{step}: {cause}")]
    Io {
        step: &'static str,
        #[source]
        cause: io::Error,
    },
    #[error("the job has another supervisor, or is being stopped")]
    Locked,
    #[error("the job was stopped before it started")]
    Ended,
    #[error("{STOP_FILE} stands in the data directory: nothing starts until it is removed")]
    StopFile,
    #[error("the lease of its agent is over")]
    LeaseOver,
}

/// Takes the job's lock, starts the job and supervises it to its end.
fn supervise(directory: PathBuf) -> Result<(), ShimError> {
    let failed = |step: &'static str| move |cause: io::Error| ShimError::Io { step, cause };
    // It fails only for a process that leads a group already, which is as good.
    // A session of its own keeps the signals of the server's terminal away. Its number also marks everything
    // of the job that makes no session of its own, which is how a next server finds it when this process is
    // dead.
    let _ = setsid();
    std::env::set_current_dir(&directory).map_err(failed("cannot enter the job directory"))?;
    let dir = JobDir::at(directory);
    // The lock comes before everything that could start something. Whoever ends a job without its shim holds
    // it while the end is recorded, so of that and of this start exactly one comes first, and the other one
    // sees it.
    let lock = dir.try_lock().map_err(failed("cannot lock the job directory"))?;
    let _lock = lock.ok_or(ShimError::Locked)?;
    if dir.has_ended() {
        return Err(ShimError::Ended);
    }
    if StopFile::open().is_there() {
        return Err(ShimError::StopFile);
    }
    let mut text = Vec::new();
    std::io::stdin()
        .take(SPEC_BYTES)
        .read_to_end(&mut text)
        .map_err(failed("cannot read the specification"))?;
    let spec = SpecFile::parse(&text).map_err(failed("the specification is damaged"))?;
    drop(text);
    if spec.lease_until.is_some_and(|until| until <= since_boot()) {
        return Err(ShimError::LeaseOver);
    }
    // From here on a process of the job that loses its parent becomes a child of this one instead of init's.
    // So `wait` tells when nothing is left, and no double fork gets away.
    let adopts = set_child_subreaper(Some(getpid())).map_err(io::Error::from);
    adopts.map_err(failed("cannot become a subreaper"))?;
    // The environment of the job passed through this process; others have no business reading its memory.
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    let mut supervisor = launch::launch(dir, spec).map_err(failed("cannot prepare the job"))?;
    announce_ready();
    supervisor.run().map_err(failed("supervision failed"))
}

/// Says that the program runs and lets go of the server's pipe.
fn announce_ready() {
    // The server may be gone; the job goes on.
    let _ = writeln!(std::io::stdout(), "ready");
    if let Ok(null) = std::fs::File::options().read(true).write(true).open("/dev/null") {
        let _ = rustix::stdio::dup2_stdout(&null);
        let _ = rustix::stdio::dup2_stdin(&null);
    }
}
