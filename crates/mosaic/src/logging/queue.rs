//! Writing to standard error without being held up by it: it may be a file on a disk that hangs, or a pipe that nobody
//! reads. [`log_output`] drops what a pipe does not take; what may hang all the same is written by a thread of its own: the
//! caller waits a moment for it, and not at all once one was late.

use std::collections::VecDeque;
use std::time::Duration;

use parking_lot::{Condvar, Mutex, MutexGuard};

use crate::log_output;

/// Longest wait of a caller for its line.
const PROMPT: Duration = Duration::from_millis(100);
/// Bytes that wait at most; what comes then is counted, and said once there is room: a busy hour's log.
const WAITING: usize = 4 * 1024 * 1024;
/// Name of the thread that writes.
const THREAD: &str = "log";

/// Lines on their way.
struct Lines {
    started: bool,
    waiting: VecDeque<Vec<u8>>,
    bytes: usize,
    /// Lines that were taken, and those of them that were written.
    taken: u64,
    written: u64,
    lost: u64,
    /// A line was not written in time: nobody waits until all are.
    late: bool,
}

/// Lines to one place.
pub(super) struct Queue {
    lines: Mutex<Lines>,
    more: Condvar,
    done: Condvar,
}

impl Queue {
    pub(super) const fn new() -> Self {
        let lines = Lines {
            started: false,
            waiting: VecDeque::new(),
            bytes: 0,
            taken: 0,
            written: 0,
            lost: 0,
            late: false,
        };
        Self { lines: Mutex::new(lines), more: Condvar::new(), done: Condvar::new() }
    }

    fn lines(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock()
    }

    /// Takes a line and waits until it is written, as long as that is done in no time.
    pub(super) fn push(&'static self, line: Vec<u8>) {
        let mut lines = self.lines();
        if !lines.started {
            let write = move || self.write();
            lines.started = std::thread::Builder::new().name(THREAD.to_owned()).spawn(write).is_ok();
        }
        if lines.bytes + line.len() > WAITING || !lines.started {
            lines.lost += 1;
            return;
        }
        lines.bytes += line.len();
        lines.taken += 1;
        lines.waiting.push_back(line);
        self.more.notify_one();
        // The writing thread logs as well, when lines were lost. It would wait here for a line that only it can write.
        if !lines.late && std::thread::current().name() != Some(THREAD) {
            let lines = self.wait(lines, PROMPT);
            drop(lines);
        }
    }

    /// Waits until everything that was taken is written, at most this long.
    pub(super) fn finish(&self, patience: Duration) {
        drop(self.wait(self.lines(), patience));
    }

    fn wait<'a>(&self, mut lines: MutexGuard<'a, Lines>, patience: Duration) -> MutexGuard<'a, Lines> {
        let mine = lines.taken;
        self.done.wait_while_for(&mut lines, |lines| lines.written < mine, patience);
        lines.late |= lines.written < mine;
        lines
    }

    /// Writes what comes, for the life of the program.
    fn write(&self) -> ! {
        loop {
            let line = {
                let mut lines = self.lines();
                self.more.wait_while(&mut lines, |lines| lines.waiting.is_empty());
                let line = lines.waiting.pop_front().unwrap_or_default();
                lines.bytes -= line.len();
                line
            };
            // Not under the lock: a disk that hangs here would stop every caller on its way to the queue.
            log_output::put(&line);
            let lost = {
                let mut lines = self.lines();
                lines.written += 1;
                let is_through = lines.waiting.is_empty();
                lines.late &= !is_through;
                if is_through { std::mem::take(&mut lines.lost) } else { 0 }
            };
            self.done.notify_all();
            if lost > 0 {
                tracing::warn!(lost, "standard error took nothing for a while; lines of the log were lost");
            }
        }
    }
}
