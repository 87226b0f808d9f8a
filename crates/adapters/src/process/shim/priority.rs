//! Start of a program that comes after its supervisor when processor, memory or descriptors are short.

use std::io;
use std::process::{Child, Command};
use std::thread;

use mosaic_core::limits;
use rustix::process::{Resource, Rlimit, getpriority_process, getrlimit, setpriority_process, setrlimit};

/// The nicest that a process can be.
const NICEST: i32 = 19;
const OOM: &str = "/proc/self/oom_score_adj";

/// Starts a program that is nicer than this process, is ended before it when memory runs out, and has the soft limit of
/// open files that the server itself was started with. What cannot be set is left as it is.
pub(super) fn spawn(command: Command, open_files: Option<u64>) -> io::Result<Child> {
    // The score and the soft limit are inherited at the fork. They are changed here for that moment and
    // changed back, because code between fork and exec would have to be unsafe.
    let _changed = (Raised::by(limits::AGENT_OOM), open_files.and_then(SoftFiles::lower));
    spawn_nicer(command)
}

/// Starts a helper that starts the program itself, with [`spawn_nicer`]: it has the program's limits, but not its nice value. The
/// init of a namespace must come to its own end before the kernel ends the others in there, and as one of five thousand equals
/// that never sleep it took seven seconds.
pub(super) fn spawn_helper(mut command: Command, open_files: Option<u64>) -> io::Result<Child> {
    let _changed = (Raised::by(limits::AGENT_OOM), open_files.and_then(SoftFiles::lower));
    command.spawn()
}

/// Starts a program that is nicer than this process.
pub(super) fn spawn_nicer(mut command: Command) -> io::Result<Child> {
    // A thread has a nice value of its own on Linux, and what it starts inherits that one. So this process need not
    // become nicer first, from where it could not come back.
    thread::scope(|scope| {
        let start = scope.spawn(|| {
            let own = getpriority_process(None).unwrap_or(0);
            let _ = setpriority_process(None, (own + limits::AGENT_NICE).min(NICEST));
            command.spawn()
        });
        start.join().unwrap_or_else(|_| Err(io::Error::other("the thread that starts it broke")))
    })
}

/// A higher score for being ended when memory runs out, until it is dropped.
struct Raised(String);

impl Raised {
    fn by(more: i32) -> Option<Self> {
        let before = std::fs::read_to_string(OOM).ok()?;
        let score = before.trim().parse::<i32>().ok()?.saturating_add(more).min(1000);
        std::fs::write(OOM, score.to_string()).ok()?;
        Some(Self(before))
    }
}

impl Drop for Raised {
    fn drop(&mut self) {
        // It was this process's own score before, so it may have it again.
        let _ = std::fs::write(OOM, self.0.trim());
    }
}

/// A lower soft limit of open files, until it is dropped.
struct SoftFiles(Rlimit);

impl SoftFiles {
    fn lower(to: u64) -> Option<Self> {
        let before = getrlimit(Resource::Nofile);
        let lower = before.current.is_none_or(|now| now > to);
        (lower && setrlimit(Resource::Nofile, Rlimit { current: Some(to), maximum: before.maximum }).is_ok())
            .then_some(Self(before))
    }
}

impl Drop for SoftFiles {
    fn drop(&mut self) {
        // Raising the soft limit up to the hard one is always allowed.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: self.0.current, maximum: self.0.maximum });
    }
}
