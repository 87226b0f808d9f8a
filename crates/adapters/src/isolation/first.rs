//! The first process of an isolation: builds the view, starts the command, buries the dead, and reports the command's end. With
//! its own end the kernel ends everything else in the namespace.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use mosaic_core::limits;
use rustix::io::Errno;
use rustix::process::{
    DumpableBehavior, Signal, WaitOptions, set_dumpable_behavior, set_parent_process_death_signal, wait,
};

use super::program::Program;
use super::spec::{Outcome, Spec};
use super::{BROKEN, PROGRAM, SUSPENDED, view};
use crate::process::{JOB_VARIABLES, everything_alive};

/// Time between two looks at what outlives the command.
const LOOK: Duration = Duration::from_millis(5);

/// Becomes the first process by this specification.
pub(super) fn main(spec: &OsStr) -> ExitCode {
    // Its parent has one thread, so that this fires at the parent's end and never before.
    let _ = set_parent_process_death_signal(Some(Signal::KILL));
    // Neither its memory nor its descriptors are readable for the command, whatever user that runs as.
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    let outcome = run(Path::new(spec)).unwrap_or_else(|why| Outcome::broken(&why));
    let is_broken = outcome.fault.is_some();
    match serde_json::to_vec(&outcome).map_err(io::Error::from).and_then(|report| say(&report)) {
        Ok(()) if !is_broken => ExitCode::SUCCESS,
        _ => ExitCode::from(BROKEN),
    }
}

/// Writes to the pipe that stands in the place of the standard input.
fn say(bytes: &[u8]) -> io::Result<()> {
    let pipe = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3)?;
    File::from(pipe).write_all(bytes)
}

fn run(path: &Path) -> io::Result<Outcome> {
    let spec = Spec::read(path)?;
    let shell = view::build(&spec)?;
    let program = Program::of(&spec, shell);
    let mut command = Command::new("/proc/self/exe");
    command.arg0("init").args(["shim", PROGRAM]).arg(serde_json::to_string(&program)?);
    // They mark this process for its server; the command is not to know whose it is.
    for name in JOB_VARIABLES {
        command.env_remove(name);
    }
    let child = command.current_dir(&spec.cwd).stdin(Stdio::null()).spawn()?;
    Ok(bury(i32::try_from(child.id()).map_err(io::Error::other)?))
}

/// Buries whoever dies until the command has ended. Tells the part outside at once when somebody stopped the command or let it go
/// on.
fn bury(main: i32) -> Outcome {
    let mut outcome = Outcome::default();
    loop {
        match wait(WaitOptions::UNTRACED | WaitOptions::CONTINUED) {
            Ok(Some((pid, status))) if pid.as_raw_nonzero().get() == main => {
                if status.stopped() || status.continued() {
                    // The part outside knows whether that was an order of the server, and sees when nothing is written.
                    let _ = say(&[SUSPENDED]);
                    continue;
                }
                (outcome.code, outcome.signal) = (status.exit_status(), status.terminating_signal());
                break;
            }
            Ok(_) | Err(Errno::INTR) => {}
            Err(_) => break,
        }
    }
    outcome.leaked = left(main);
    outcome
}

/// Counts the processes that outlive the command. What is about to end by itself, as the rest of a pipeline is, is waited for.
fn left(main: i32) -> u32 {
    let until = Instant::now() + limits::GATE_LEFTOVERS;
    loop {
        let others = everything_alive().into_iter().filter(|pid| *pid != 1 && *pid != main).count();
        if others == 0 || Instant::now() > until {
            return u32::try_from(others).unwrap_or(u32::MAX);
        }
        while matches!(wait(WaitOptions::NOHANG), Ok(Some(_))) {}
        std::thread::sleep(LOOK);
    }
}
