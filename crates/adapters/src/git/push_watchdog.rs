//! The fuse between a server and a git that talks to a remote under a lease: a small process that runs git and ends it,
//! with everything it started, at the lease's end. A server that is stopped or dead can end nothing, and a push that goes
//! on without it could overwrite what somebody else pushed meanwhile. So the fuse has the deadline: it is extended through
//! its standard input, and when that closes, because the server is gone or has given the push up, it burns at once.

use std::io::{ErrorKind, Read};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, WaitOptions, getpid, pidfd_open, set_child_subreaper, wait};

use crate::clock_system::since_boot;
use crate::process::kill_below;

/// Name of the hidden subcommand.
pub const FUSE: &str = "fuse";
/// Exit status of a fuse that has burnt.
pub(super) const BURNT: u8 = 75;
/// Longest line that puts the deadline off, in bytes.
const LINE: usize = 64;

/// Runs the hidden subcommand `mosaic fuse <milliseconds since boot> <program> <arguments>`; `args` is what follows
/// `fuse`. Must be called before threads exist.
pub fn fuse_main(args: &[String]) -> ExitCode {
    let (Some(until), Some(program)) = (args.first().and_then(|ms| ms.parse().ok()), args.get(1)) else {
        eprintln!("usage: mosaic fuse <deadline> <program> <arguments> (started by the server only)");
        return ExitCode::from(2);
    };
    // git starts helpers and ssh, which may change their process group or lose their parent. A subreaper gets each of them
    // back, so that "no child left" proves the end.
    if let Err(e) = set_child_subreaper(Some(getpid())) {
        eprintln!("fatal: what git starts could not be kept together: {e}");
        return ExitCode::from(2);
    }
    let mut fuse = Fuse { until: Duration::from_millis(until), inbox: Vec::new() };
    if fuse.is_over() {
        return burnt("is over already");
    }
    let child = Command::new(program).args(&args[2..]).stdin(Stdio::null()).spawn();
    match child {
        Ok(child) => fuse.watch(child),
        Err(e) => {
            eprintln!("fatal: cannot run {program}: {e}");
            ExitCode::from(2)
        }
    }
}

fn burnt(why: &str) -> ExitCode {
    eprintln!("fatal: the lease of this push {why}");
    ExitCode::from(BURNT)
}

struct Fuse {
    until: Duration,
    inbox: Vec<u8>,
}

impl Fuse {
    fn is_over(&self) -> bool {
        since_boot() >= self.until
    }

    /// Waits for the child's end or the deadline, whichever comes first.
    fn watch(&mut self, mut child: Child) -> ExitCode {
        // A signal for a child's end could come between a look at the clock and the wait. Polling a handle together with the
        // standard input has no such gap.
        let Ok(handle) = pidfd_open(Pid::from_child(&child), PidfdFlags::empty()) else {
            end_all();
            return burnt("could not be watched");
        };
        let mut stdin = std::io::stdin();
        loop {
            // The time since boot goes on while the machine sleeps and is not set by anybody, as the lease in the shared
            // store goes on, too.
            let left = self.until.saturating_sub(since_boot());
            let time = Timespec {
                tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
                tv_nsec: i64::from(left.subsec_nanos()),
            };
            let mut fds = [PollFd::new(&handle, PollFlags::IN), PollFd::new(&stdin, PollFlags::IN)];
            // An interrupted wait is only shorter.
            let _ = poll(&mut fds, Some(&time));
            let (ended, told) = (!fds[0].revents().is_empty(), !fds[1].revents().is_empty());
            // The end of git counts before everything else: a push that was accepted must not be reported as given up because
            // the server's pipe closed in the same moment.
            if ended {
                return status(&mut child);
            }
            if told && !self.hear(&mut stdin) {
                end_all();
                return burnt("was given up");
            }
            if self.is_over() {
                end_all();
                return burnt("is over");
            }
        }
    }

    /// Reads what the server says; false when it says nothing any more.
    fn hear(&mut self, stdin: &mut impl Read) -> bool {
        let mut chunk = [0; 256];
        match stdin.read(&mut chunk) {
            Ok(0) => return false,
            Ok(n) => self.inbox.extend_from_slice(&chunk[..n]),
            Err(e) => return e.kind() == ErrorKind::Interrupted,
        }
        while let Some(end) = self.inbox.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.inbox.drain(..=end).collect();
            let ms = std::str::from_utf8(&line).ok().and_then(|text| text.trim_end().parse().ok());
            if let Some(ms) = ms {
                self.until = Duration::from_millis(ms);
            }
        }
        // Whatever sends more without a line break is not the server.
        self.inbox.len() <= LINE
    }
}

fn status(child: &mut Child) -> ExitCode {
    let code = child
        .wait()
        .ok()
        .and_then(|status| status.code().or_else(|| status.signal().map(|signal| 128 + signal)));
    ExitCode::from(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1))
}

/// Kills everything below this process, until the kernel says that it has no child left: as a subreaper it is the
/// parent of whoever lost its own.
fn end_all() {
    loop {
        loop {
            match wait(WaitOptions::NOHANG) {
                Ok(Some(_)) | Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::CHILD) => return,
                Ok(None) | Err(_) => break,
            }
        }
        // A process may fork between the look and the kill; the loop ends only when the kernel has no child left for this
        // one.
        kill_below(getpid().as_raw_nonzero().get());
        let pause = Timespec { tv_sec: 0, tv_nsec: 200_000 };
        let _ = poll(&mut [], Some(&pause));
    }
}
