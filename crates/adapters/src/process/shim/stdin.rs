//! The job's standard input: a bounded queue in front of a pipe that the job may never read.

use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd};
use std::process::ChildStdin;

use mosaic_core::limits;
use mosaic_core::ports::processes::Stdin;

use super::refusal::Refusal;

/// The writing side.
#[derive(Debug)]
pub(super) struct StdinQueue {
    pipe: Option<ChildStdin>,
    queue: Vec<u8>,
    done: usize,
    closing: bool,
    /// End of the newest line of output whose answer was taken.
    answered: u64,
}

impl StdinQueue {
    /// Takes over the pipe and queues the text; it is followed by the end of file unless more may come.
    pub(super) fn new(pipe: Option<ChildStdin>, source: &Stdin) -> Self {
        let (text, closing) = match source {
            Stdin::Null => ("", true),
            Stdin::Text(text) => (text.as_str(), true),
            Stdin::Open { first } => (first.as_str(), false),
        };
        let mut queue = Self { pipe, queue: text.as_bytes().to_vec(), done: 0, closing, answered: 0 };
        queue.flush();
        queue
    }

    /// Queues more.
    pub(super) fn push(&mut self, text: &str) -> Result<(), Refusal> {
        if self.pipe.is_none() || self.closing {
            return Err(Refusal::InputClosed);
        }
        self.queue.drain(..self.done);
        self.done = 0;
        // All of it is refused, not what does not fit: half a message in the protocol of an agent would spoil
        // every one that follows.
        if self.queue.len() + text.len() > limits::STDIN_QUEUE_BYTES {
            return Err(Refusal::InputFull { waiting: self.queue.len() });
        }
        self.queue.extend_from_slice(text.as_bytes());
        self.flush();
        Ok(())
    }

    /// Queues the answer to the line of output that ends after so many bytes, unless it was taken before: a later server
    /// reads the output from its start and cannot know how far the earlier one came.
    pub(super) fn answer(&mut self, line_end: u64, text: &str) -> Result<(), Refusal> {
        if line_end > self.answered {
            self.push(text)?;
            self.answered = line_end;
        }
        Ok(())
    }

    /// Closes it once what is queued was read.
    pub(super) fn close(&mut self) {
        self.closing = true;
        self.flush();
    }

    /// Returns the pipe when it is worth waiting until it takes more.
    pub(super) fn waiting(&self) -> Option<BorrowedFd<'_>> {
        self.pipe.as_ref().filter(|_| self.done < self.queue.len()).map(AsFd::as_fd)
    }

    /// Writes what the pipe takes now.
    pub(super) fn flush(&mut self) {
        let Some(pipe) = &mut self.pipe else { return };
        while self.done < self.queue.len() {
            match pipe.write(&self.queue[self.done..]) {
                Ok(n) => self.done += n,
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => return,
                // Rust ignores SIGPIPE from the start, so a closed pipe is an error of this call and not the
                // end of the supervisor.
                Err(_) => {
                    // The job closed its end: nobody will ever read this.
                    self.pipe = None;
                    break;
                }
            }
        }
        self.queue = Vec::new();
        self.done = 0;
        if self.closing {
            self.pipe = None;
        }
    }
}
