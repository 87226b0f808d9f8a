//! The chaos suite: the real program is broken at every step of an agent's life, or killed at any moment, started again,
//! and everything it left is counted. What must hold is one function of `sweep.rs`; every run ends with it.
//!
//! `bin/chaos.rs` is the command; the survival tests of the program use the same place, agents and storm.

mod afterwards;
mod api;
mod dice;
pub mod fleet;
pub mod matrix;
pub mod ready;
mod scene;
mod server;
mod stop_orders;
mod stories;
pub mod storm;
mod sweep;
mod testbed;

use std::path::PathBuf;
use std::time::Duration;

pub use stories::Story;
pub use sweep::Violation;

/// Result of a part of the suite: it either saw what it wanted to see or says why it could not.
pub type Outcome<T> = Result<T, String>;

/// Longest wait for something that is certain to come, on a machine with other work to do.
pub(crate) const SOON: Duration = Duration::from_secs(90);

/// The programs under test.
#[derive(Debug, Clone)]
pub struct Programs {
    /// The production build.
    pub mosaic: PathBuf,
    /// The same with failpoints around its ports.
    pub chaos: PathBuf,
    /// The port of the Valkey that servers keep everything in; the embedded store without one.
    pub valkey: Option<u16>,
}

/// Puts an error's words behind what was being done.
pub(crate) fn while_<E: std::fmt::Display>(what: &str) -> impl FnOnce(E) -> String + '_ {
    move |e| format!("{what}: {e}")
}
