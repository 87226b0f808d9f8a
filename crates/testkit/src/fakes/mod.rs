//! Fakes of the ports, one file per port: most stand in one [`world`] that a test steers, some stand alone.

pub mod audit;
pub mod backing;
pub mod clock;
mod controls;
pub mod fleet;
mod gatekeeper;
pub mod host;
pub mod knobs;
pub mod orders;
pub mod plain_processes;
mod processes;
pub mod readable_repositories;
pub mod repositories;
mod runtime;
mod sandbox;
pub mod scanner;
pub mod store;
pub mod transcripts;
pub mod unused;
pub mod world;
