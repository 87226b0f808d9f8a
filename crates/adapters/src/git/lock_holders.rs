//! Processes that work on a git directory right now, as the kernel reports them: those that have a file of it open, stand in
//! it, or were started for it. Every git of ours carries its directory and its server in its environment, so that
//! the next server finds and ends the processes that a killed server left running.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use mosaic_core::limits;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

/// The variable that names the git directory a git of ours works on.
pub(super) const STORE: &str = "MOSAIC_GIT_STORE";
/// The variable that names the process which started it, as pid and start time.
pub(super) const OWNER: &str = "MOSAIC_GIT_OWNER";

/// Names this process so that no later one with its pid is taken for it.
pub(super) fn this_process() -> String {
    let pid = std::process::id();
    format!("{pid}.{}", start_time(pid).unwrap_or_default())
}

/// Returns when a process was started, in the kernel's ticks; `None` when there is none, or only what is left of it.
fn start_time(pid: u32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is a name in parentheses that may hold anything.
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
    let is_dead = matches!(fields.first(), Some(&("Z" | "X")));
    fields.get(19).filter(|_| !is_dead)?.parse().ok()
}

fn is_alive(owner: &str) -> bool {
    let parts =
        owner.split_once('.').and_then(|(pid, at)| Some((pid.parse().ok()?, at.parse::<u64>().ok()?)));
    parts.is_some_and(|(pid, at)| start_time(pid) == Some(at))
}

/// One process and what it has to do with git directories.
struct Process {
    pid: u32,
    name: String,
    env: Vec<u8>,
    /// Its environment may not be read: it is somebody else's.
    foreign: bool,
}

impl Process {
    fn all() -> impl Iterator<Item = Self> {
        let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
        entries.filter_map(|entry| Self::read(entry.file_name().to_str()?.parse().ok()?))
    }

    /// `None` for a process that has ended.
    fn read(pid: u32) -> Option<Self> {
        start_time(pid)?;
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?.trim().to_owned();
        let env = fs::read(format!("/proc/{pid}/environ"));
        let foreign = env.as_ref().is_err_and(|e| e.kind() == std::io::ErrorKind::PermissionDenied);
        Some(Self { pid, name, env: env.unwrap_or_default(), foreign })
    }

    fn variable(&self, name: &str) -> Option<&[u8]> {
        self.env.split(|b| *b == 0).find_map(|entry| entry.strip_prefix(name.as_bytes())?.strip_prefix(b"="))
    }

    fn path(&self, name: &str) -> Option<PathBuf> {
        self.variable(name).map(|bytes| PathBuf::from(OsStr::from_bytes(bytes)))
    }

    /// Says what it has to do with this git directory, when it may hold a lock there.
    fn works_on(&self, dir: &Path) -> Option<String> {
        let (pid, name) = (self.pid, &self.name);
        let is_git = name.starts_with("git");
        // Its environment and its open files are hidden from us. A git of another user may work here, any other program of
        // theirs has no business here.
        if self.foreign {
            return is_git.then(|| format!("process {pid} ({name}) of another user may be working on it"));
        }
        let below = |path: PathBuf| path.starts_with(dir);
        let links = |what: &str| fs::read_link(format!("/proc/{pid}/{what}")).ok();
        // Not by our own variable alone: programs of a remote inherit it, and they work elsewhere.
        if self.path("GIT_DIR").is_some_and(below) {
            return Some(format!("process {pid} ({name}) was started for it"));
        }
        if links("cwd").is_some_and(below) {
            return Some(format!("process {pid} ({name}) works in it"));
        }
        let open = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        if open.filter_map(|fd| fs::read_link(fd.path()).ok()).any(below) {
            return Some(format!("process {pid} ({name}) has a file of it open"));
        }
        // A git that was started this very moment has opened nothing yet; its arguments are there from the first instant.
        let args = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let named = args.windows(dir.as_os_str().len()).any(|w| w == dir.as_os_str().as_bytes());
        (is_git && named).then(|| format!("process {pid} ({name}) was told to work on it"))
    }

    /// Tells whether a server that is gone started it for a git directory below this one. The remote's own programs
    /// inherit our variables, but not the directory that git works on.
    fn is_orphan(&self, below: &Path) -> bool {
        let Some(dir) = self.path(STORE).filter(|dir| dir.starts_with(below)) else { return false };
        let owner = self.variable(OWNER).map(|owner| String::from_utf8_lossy(owner).into_owned());
        self.path("GIT_DIR").as_ref() == Some(&dir) && owner.is_some_and(|owner| !is_alive(&owner))
    }
}

/// Returns who may hold a lock in a git directory; `None` proves that nobody does. This process itself does not: it
/// knows what it started.
pub(super) fn holder(dir: &Path) -> Option<String> {
    let me = std::process::id();
    Process::all().filter(|process| process.pid != me).find_map(|process| process.works_on(dir))
}

/// Processes of an earlier server that cannot be ended, or a process that may hold a lock.
#[derive(Debug, thiserror::Error)]
pub enum HeldLock {
    /// One that was asked to end is still there.
    #[error("git process {pid} of an earlier server {fault}")]
    Undead {
        /// The process.
        pid: u32,
        /// The fault.
        #[source]
        fault: Undead,
    },
    /// Each that ended had started another one.
    #[error("git processes of an earlier server start faster than they are ended")]
    Breeding,
    /// A process may hold a lock.
    #[error("{0}")]
    Holder(String),
    /// A git of this server works on the repository.
    #[error("git works on it")]
    InUse,
    /// A lock cannot be removed.
    #[error("{}: {source}", path.display())]
    Remove {
        /// The lock.
        path: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// The look at the processes broke.
    #[error("looking for processes broke: {0}")]
    Broke(#[source] tokio::task::JoinError),
}

/// The fault of a process that was to be ended.
#[derive(Debug, thiserror::Error)]
pub enum Undead {
    /// It may not be ended.
    #[error("cannot be ended: {0}")]
    Refused(#[source] rustix::io::Errno),
    /// It did not end in time.
    #[error("does not end")]
    Late,
}

/// Ends every git that a server which is gone left running for directories below this one, and waits until they have
/// ended. Returns how many there were; errors with words about one that does not end.
pub(super) fn end_orphans(below: &Path) -> Result<usize, HeldLock> {
    let mut ended = 0;
    // One may have started another while they were looked at.
    for _ in 0..10 {
        let orphans: Vec<Process> = Process::all().filter(|process| process.is_orphan(below)).collect();
        if orphans.is_empty() {
            return Ok(ended);
        }
        for orphan in &orphans {
            end(orphan, below)?;
        }
        ended += orphans.len();
    }
    Err(HeldLock::Breeding)
}

fn end(orphan: &Process, below: &Path) -> Result<(), HeldLock> {
    let pid = i32::try_from(orphan.pid).ok().and_then(Pid::from_raw);
    let Some(handle) = pid.and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok()) else { return Ok(()) };
    // The handle is of the process that was looked at only if that one is still there.
    if !Process::read(orphan.pid).is_some_and(|now| now.is_orphan(below)) {
        return Ok(());
    }
    let undead = |fault| HeldLock::Undead { pid: orphan.pid, fault };
    // Never by number: between the look and the signal the process may end and its number be given to another.
    match pidfd_send_signal(&handle, Signal::KILL) {
        Ok(()) | Err(rustix::io::Errno::SRCH) => {}
        Err(e) => return Err(undead(Undead::Refused(e))),
    }
    let time: Duration = limits::GIT_ORPHANS;
    let time = Timespec { tv_sec: i64::try_from(time.as_secs()).unwrap_or(1), tv_nsec: 0 };
    match poll(&mut [PollFd::new(&handle, PollFlags::IN)], Some(&time)) {
        Ok(0) => Err(undead(Undead::Late)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processes_are_told_apart_from_later_ones_with_their_pid() {
        assert!(is_alive(&this_process()));
        assert!(!is_alive(&format!("{}.1", std::process::id())));
        for bad in ["", "x", "1", "1.x", "999999999.5"] {
            assert!(!is_alive(bad), "{bad}");
        }
    }
}
