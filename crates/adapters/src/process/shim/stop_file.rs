//! The last resort: a file `STOP` in the data directory ends every job below it within a second, with no server and no
//! socket needed.

use std::fs::File;
use std::time::Instant;

use mosaic_core::limits;
use rustix::fs::{AtFlags, statat};

/// Name of the file.
pub(super) const STOP_FILE: &str = "STOP";

/// Where the data directory is, seen from a job directory: `<data>/agents/<agent>/runs/<job>`.
const DATA: &str = "../../../..";

/// The data directory, held open so that it may be renamed.
#[derive(Debug)]
pub(super) struct StopFile {
    data: Option<File>,
    next: Instant,
}

impl StopFile {
    /// Opens the data directory; the working directory is the job's.
    pub(super) fn open() -> Self {
        // The directory is opened once and held. An operator may rename the data directory while agents run,
        // and a path would lead nowhere then.
        Self { data: File::open(DATA).ok(), next: Instant::now() }
    }

    /// Tells whether the file is there, looking only so often.
    pub(super) fn is_due_and_there(&mut self, now: Instant) -> bool {
        if now < self.next {
            return false;
        }
        self.next = now + limits::STOP_LOOK;
        self.is_there()
    }

    /// Tells whether the file is there. A dangling link is one too.
    pub(super) fn is_there(&self) -> bool {
        self.data.as_ref().is_some_and(|data| statat(data, STOP_FILE, AtFlags::SYMLINK_NOFOLLOW).is_ok())
    }
}
