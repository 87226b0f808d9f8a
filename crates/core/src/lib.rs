//! The core of the Mosaic Orchestrator: what an orchestrator of coding agents is, without any backend.
//!
//! Start with [`domain`] for the words, [`ports`] for what is needed from the world, [`steps`] for the ten steps of a
//! task, [`engine`] for the loop that performs them, and [`orchestrator`] for what callers see.

pub mod attention;
pub mod audit;
mod caller_texts;
pub mod caretaker;
mod cleanup_error;
pub mod clocks;
pub mod coordinator;
pub mod diff;
pub mod dispatch_gate;
pub mod domain;
mod drive;
mod driver;
pub mod engine;
mod external_changes;
pub mod fleet;
pub mod freeze;
pub mod gate_history;
pub mod kept_work;
pub mod kill;
pub mod kill_all;
pub mod limits;
pub mod monitor;
pub mod orchestrator;
pub mod orders;
pub mod ports;
pub mod receipt;
mod recovery;
pub mod removal;
mod repairs;
pub mod restore;
pub mod settings;
pub mod steps;
pub mod stop;
mod stop_jobs;
pub mod transfer;
pub mod try_gates;

pub use orchestrator::Orchestrator;
