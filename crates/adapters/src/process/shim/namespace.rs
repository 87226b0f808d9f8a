//! A job in a pid namespace of its own: its first process is a small init of ours, which starts the program, buries
//! the dead, and ends with the program. With the init the kernel ends everything else in there.
//!
//! Below the shim stands `unshare`, below that the init; neither counts as the job's.

use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use mosaic_core::ports::processes::JobSpec;
use rustix::io::Errno;
use rustix::process::{
    Resource, Rlimit, Signal, WaitOptions, set_parent_process_death_signal, setrlimit, wait,
};
use serde::{Deserialize, Serialize};

use super::super::containment::NamespaceMaker;
use super::super::layout::{JobDir, LAYOUT, Versioned};
use super::super::linux;
use super::priority;

/// The word after `shim` that makes this program the init of a namespace.
pub(super) const INIT: &str = "--init";

/// The word in place of a number of tasks where none is set.
const UNBOUNDED: &str = "-";
/// Exit status of an init whose program could not be started, as shells have it.
const NOT_STARTED: u8 = 127;
/// Number that shells add to a signal's number to make an exit status of it.
const BY_SIGNAL: i32 = 128;

/// `main.json`: how the program ended inside its namespace, as the init saw it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct MainFile {
    version: u32,
    pub(super) code: Option<i32>,
    pub(super) signal: Option<i32>,
    /// Processes that outlived the program.
    pub(super) leaked: u32,
    /// Why it could not be started.
    pub(super) start_error: Option<String>,
}

impl Versioned for MainFile {
    const NAME: &'static str = "main.json";
}

impl MainFile {
    /// Returns what the init reported. Only an init that came to its end has: whoever was killed left nothing that
    /// counts, as the file lies where the agent can write.
    pub(super) fn read(dir: &JobDir, status: i32) -> Option<Self> {
        dir.load::<Self>().ok().flatten().filter(|file| file.status() == status)
    }

    /// The init's own exit status, which must agree with its report.
    fn status(&self) -> i32 {
        match (&self.start_error, self.code, self.signal) {
            (Some(_), ..) => i32::from(NOT_STARTED),
            (None, Some(code), _) => code,
            (None, None, signal) => BY_SIGNAL + signal.unwrap_or(0),
        }
    }
}

/// Returns the command that runs a job's program in a new namespace.
pub(super) fn command(
    maker: &NamespaceMaker,
    job: &JobSpec,
    dir: &JobDir,
    tasks: u32,
) -> io::Result<Command> {
    let own = std::env::current_exe()?;
    let mut command = maker.command();
    // In a user namespace of its own the kernel counts this user's processes apart from all others. Elsewhere such a
    // bound would count whatever the user runs.
    let tasks = if maker.user { tasks.to_string() } else { UNBOUNDED.to_owned() };
    command.arg(own).args(["shim", INIT]).arg(tasks).arg(dir.path()).args(&job.command);
    Ok(command)
}

/// Lists the helpers between the shim and the program: `unshare` and the init.
pub(super) fn helpers(main: i32, all: &[linux::Seen]) -> Vec<i32> {
    let init = all.iter().filter(|seen| seen.parent == main).map(|seen| seen.process.pid);
    std::iter::once(main).chain(init).collect()
}

/// The same, asked of the kernel by one file instead of looked up in a list of all. Where it does not say, the init counts
/// as the job's.
pub(super) fn helpers_of(main: i32) -> Vec<i32> {
    let children = std::fs::read_to_string(format!("/proc/{main}/task/{main}/children")).unwrap_or_default();
    let init = children.split_ascii_whitespace().filter_map(|pid| pid.parse().ok());
    std::iter::once(main).chain(init).collect()
}

/// The init: `args` are the bound of tasks, the job directory and the program with its arguments.
pub(super) fn init_main(mut args: impl Iterator<Item = OsString>) -> ExitCode {
    let (Some(tasks), Some(directory), Some(program)) = (args.next(), args.next(), args.next()) else {
        eprintln!(
            "usage: mosaic shim {INIT} <tasks> <job directory> <program> [arguments] (started by a shim only)"
        );
        return ExitCode::from(2);
    };
    if let Some(most) = tasks.to_str().and_then(|tasks| tasks.parse::<u64>().ok()) {
        // Where it cannot be lowered the supervisor counts.
        let _ = setrlimit(Resource::Nproc, Rlimit { current: Some(most), maximum: Some(most) });
    }
    // `unshare` asked for it too; this one does not depend on its version.
    let _ = set_parent_process_death_signal(Some(Signal::KILL));
    let dir = JobDir::at(PathBuf::from(directory));
    // The program is not the first process itself. The kernel drops signals to a first process that it has no
    // handler for, so a SIGTERM would be lost on most programs, and orphans would become zombies that it
    // never waits for.
    let mut command = Command::new(&program);
    command.args(args).process_group(0);
    let file = match priority::spawn_nicer(command) {
        Ok(child) => bury(i32::try_from(child.id()).unwrap_or(0)),
        Err(e) => {
            let why = format!("cannot start {}: {e}", Path::new(&program).display());
            MainFile { version: LAYOUT, start_error: Some(why), ..MainFile::default() }
        }
    };
    // This comes before the end of this process, because with it the kernel ends everything else in the
    // namespace, and nobody would be left to say how the program ended.
    if let Err(e) = dir.save(&file) {
        // The status alone has to do then.
        eprintln!("the end of the program could not be recorded: {e}");
    }
    ExitCode::from(u8::try_from(file.status()).unwrap_or(u8::MAX))
}

/// Buries whoever dies until it is the program's turn.
fn bury(main: i32) -> MainFile {
    let mut file = MainFile { version: LAYOUT, ..MainFile::default() };
    loop {
        match wait(WaitOptions::empty()) {
            Ok(Some((pid, status))) if pid.as_raw_nonzero().get() == main => {
                (file.code, file.signal) = (status.exit_status(), status.terminating_signal());
                break;
            }
            Ok(_) | Err(Errno::INTR) => {}
            Err(_) => break,
        }
    }
    // This is the first process of its namespace, so everybody else in it is below.
    let others = linux::everything();
    let alive = others.iter().filter(|seen| !seen.zombie && seen.process.pid != 1).count();
    file.leaked = u32::try_from(alive).unwrap_or(u32::MAX);
    file
}
