//! Work on disks that may not answer, such as a network file system whose server is gone: it is done on [`threads`] of its
//! own, never on a thread that serves other callers. A [`lane::Lane`] adds a deadline and bounds how many calls hang at once;
//! [`ports`] and [`repositories`] do so with whole ports.

mod lane;
mod last_writes;
mod ports;
mod repositories;
mod threads;

pub use lane::Lane;
pub(crate) use last_writes::LastWrites;
pub use ports::OffThread;
pub(crate) use threads::{begin, drive_for};
pub use threads::{drive, run, within};
