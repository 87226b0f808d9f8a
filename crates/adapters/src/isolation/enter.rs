//! The part outside: makes the namespaces, starts the first process in them, watches the disk, and writes the outcome once
//! everything inside is gone.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{
    DumpableBehavior, Pid, WaitId, WaitIdOptions, getgid, getuid, set_dumpable_behavior, waitid,
};
use rustix::thread::{
    CapabilitySet, CapabilitySets, UnshareFlags, capabilities, configure_capability_in_ambient_set,
    set_capabilities,
};
use thiserror::Error;

use super::spec::{Outcome, Spec};
use super::{BROKEN, FIRST, SUSPENDED};

/// Time between two looks at the free space of the disk.
const DISK_LOOK: Timespec = Timespec { tv_sec: 0, tv_nsec: 500_000_000 };
/// Most bytes that are read of the first process's report.
const REPORT_BYTES: usize = 64 * 1024;
/// Time in which an order to freeze everything reaches every process.
const FREEZING: Duration = Duration::from_millis(200);
/// Number that shells add to a signal's number to make an exit status of it.
const BY_SIGNAL: i32 = 128;

/// Reasons why an isolation cannot be entered.
#[derive(Debug, Error)]
enum EnterError {
    #[error("its specification cannot be read: {0}")]
    Spec(#[source] io::Error),
    #[error("a user namespace is refused: {0}")]
    Users(#[source] io::Error),
    #[error("namespaces are refused: {0}")]
    Namespaces(#[source] rustix::io::Errno),
    #[error("its first process cannot be started: {0}")]
    First(#[source] io::Error),
    #[error("its first process said nothing")]
    Silent,
}

/// Enters the isolation of this specification and stays until it is over.
pub(super) fn main(spec: &OsStr) -> ExitCode {
    let path = Path::new(spec);
    let spec = match Spec::read(path) {
        Ok(spec) => spec,
        Err(why) => {
            eprintln!("{}", EnterError::Spec(why));
            return ExitCode::from(BROKEN);
        }
    };
    let mut outcome = run(path, &spec).unwrap_or_else(|why| Outcome::broken(&why));
    if is_disk_full(&spec) {
        // Neither this process nor the supervisor could say how it ended. Nothing inside runs any more, and what it wrote judges
        // nothing.
        empty_out(&spec);
        outcome.disk_full = true;
    }
    let text = serde_json::to_vec(&outcome).expect("an outcome is plain data");
    // Whoever reads it waits for this process, so that a torn file is never seen.
    if let Err(why) = std::fs::write(&spec.outcome, text) {
        eprintln!("the outcome cannot be written: {why}");
        return ExitCode::from(BROKEN);
    }
    let status = match (&outcome.fault, outcome.code, outcome.signal) {
        (Some(_), ..) => i32::from(BROKEN),
        (None, Some(code), _) => code,
        (None, None, signal) => BY_SIGNAL + signal.unwrap_or(0),
    };
    ExitCode::from(u8::try_from(status).unwrap_or(u8::MAX))
}

fn run(path: &Path, spec: &Spec) -> Result<Outcome, EnterError> {
    if spec.own_users {
        own_users().map_err(EnterError::Users)?;
    }
    // The mounts are the first process's to separate: a new root directory would become this process's, too.
    let kinds = UnshareFlags::NEWPID | UnshareFlags::NEWIPC | UnshareFlags::NEWUTS | UnshareFlags::NEWCGROUP;
    unshare(kinds).map_err(EnterError::Namespaces)?;
    // Judged code of the same user must not read the memory of what reports on it.
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    let (report, ours) =
        rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).map_err(|e| EnterError::First(e.into()))?;
    let mut command = Command::new("/proc/self/exe");
    // The report travels over its standard input, the one descriptor that needs no number to be agreed on; the command itself
    // gets an empty input.
    command.arg0("init").args(["shim", FIRST]).arg(path).stdin(Stdio::from(ours));
    let child = command.spawn().map_err(EnterError::First)?;
    drop(command);
    follow(child, report, spec)
}

/// Deletes what the command could write.
fn empty_out(spec: &Spec) {
    for own in spec.binds.iter().filter(|own| own.writable) {
        for entry in std::fs::read_dir(&own.source).into_iter().flatten().flatten() {
            let is_directory = entry.file_type().is_ok_and(|kind| kind.is_dir());
            // What stays is deleted with the place.
            let _ = if is_directory {
                std::fs::remove_dir_all(entry.path())
            } else {
                std::fs::remove_file(entry.path())
            };
        }
    }
}

/// Makes a user namespace in which this user keeps its number.
fn own_users() -> io::Result<()> {
    let (uid, gid) = (getuid().as_raw(), getgid().as_raw());
    unshare(UnshareFlags::NEWUSER)?;
    std::fs::write("/proc/self/setgroups", "deny")?;
    std::fs::write("/proc/self/uid_map", format!("{uid} {uid} 1"))?;
    std::fs::write("/proc/self/gid_map", format!("{gid} {gid} 1"))?;
    // The right to mount would be lost with the start of the first process, because that is not root. It is handed on; the command
    // gives it up.
    let kept = CapabilitySet::SYS_ADMIN;
    let sets = capabilities(None)?;
    set_capabilities(None, CapabilitySets { inheritable: sets.inheritable | kept, ..sets })?;
    Ok(configure_capability_in_ambient_set(kept, true)?)
}

/// Makes namespaces for this process, or for what it starts.
pub(super) fn unshare(flags: UnshareFlags) -> Result<(), rustix::io::Errno> {
    #[expect(
        deprecated,
        reason = "its successor is unsafe for the sake of a flag that takes descriptors from other threads, which is not used \
                  here and there is one thread"
    )]
    rustix::thread::unshare(flags)
}

/// Waits for the report of the first process and then for its end, which the kernel holds back until nothing else is left in
/// its namespace.
fn follow(mut child: Child, report: OwnedFd, spec: &Spec) -> Result<Outcome, EnterError> {
    let (mut report, mut text) = (File::from(report), Vec::new());
    let ended = loop {
        let mut bytes = [0; 4096];
        match is_ready(report.as_fd()).then(|| report.read(&mut bytes)) {
            None if is_disk_full(spec) => break Some(Outcome { disk_full: true, ..Outcome::default() }),
            None => {}
            Some(Ok(0)) => break None,
            Some(Ok(count)) => {
                let (told, rest) =
                    bytes[..count].split_at(bytes[..count].partition_point(|b| *b == SUSPENDED));
                text.extend_from_slice(rest);
                if !told.is_empty() && !is_frozen(&child) {
                    break Some(Outcome { suspended: true, ..Outcome::default() });
                }
            }
            Some(Err(e)) if e.kind() == io::ErrorKind::Interrupted => {}
            Some(Err(e)) => return Err(EnterError::First(e)),
        }
        if text.len() > REPORT_BYTES {
            break Some(Outcome::broken(&EnterError::Silent));
        }
    };
    if ended.is_some() {
        // Everything inside ends with its first process.
        let _ = child.kill();
    }
    child.wait().map_err(EnterError::First)?;
    ended.map_or_else(|| serde_json::from_slice(&text).map_err(|_| EnterError::Silent), Ok)
}

/// Tells whether the server has frozen everything, or thawed it: then the first process was stopped too, which nothing inside can do
/// to it. Only judged code stops the command alone.
fn is_frozen(child: &Child) -> bool {
    // The order reaches one process after the other.
    std::thread::sleep(FREEZING);
    let options = WaitIdOptions::STOPPED | WaitIdOptions::CONTINUED | WaitIdOptions::NOHANG;
    matches!(waitid(WaitId::Pid(Pid::from_child(child)), options), Ok(Some(_)))
}

/// Waits until the pipe says something or is closed, for one period at most.
fn is_ready(report: std::os::fd::BorrowedFd<'_>) -> bool {
    let mut fds = [PollFd::from_borrowed_fd(report, PollFlags::IN)];
    poll(&mut fds, Some(&DISK_LOOK)).is_ok_and(|count| count > 0)
}

fn is_disk_full(spec: &Spec) -> bool {
    let beside = spec.outcome.parent().unwrap_or(&spec.outcome);
    rustix::fs::statvfs(beside).is_ok_and(|fs| fs.f_bavail.saturating_mul(fs.f_frsize) < spec.free_floor)
}
