//! Threads that write until nobody gives them anything more, and the wait for their end.

use std::io;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};

use mosaic_core::limits;
use parking_lot::Mutex;

/// A writer's thread.
pub(crate) struct LastWrites {
    name: &'static str,
    ended: Mutex<Receiver<()>>,
}

impl LastWrites {
    /// Starts the thread.
    pub(crate) fn start(name: &'static str, work: impl FnOnce() + Send + 'static) -> io::Result<Self> {
        let (alive, ended) = mpsc::channel();
        let work = move || {
            work();
            // Not sent when the work broke: then the sender just goes.
            let _ = alive.send(());
        };
        std::thread::Builder::new().name(name.to_owned()).spawn(work)?;
        Ok(Self { name, ended: Mutex::new(ended) })
    }

    /// Waits for the thread's end, at most [`limits::LAST_WRITES`]. What it has not written by then was acknowledged to nobody;
    /// a disk that hangs must not keep the program.
    pub(crate) fn wait(self, what: &str) {
        let ended = self.ended.into_inner();
        match ended.recv_timeout(limits::LAST_WRITES) {
            Ok(()) => {}
            Err(RecvTimeoutError::Timeout) => {
                tracing::error!(
                    thread = self.name,
                    "{what} does not finish its last writes; is its disk stuck?"
                );
            }
            Err(RecvTimeoutError::Disconnected) => {
                tracing::error!(thread = self.name, "the writer of {what} broke");
            }
        }
    }
}
