//! Fakes of the ports, one file per port: most stand in one [`world`] that a test steers, some stand alone.

pub mod audit;
pub mod backing;
pub mod clock;
mod controls;
pub mod fleet;
pub mod gatekeeper;
pub mod host;
pub mod knobs;
pub mod orders;
pub mod plain_processes;
mod processes;
pub mod readable_repositories;
pub mod repositories;
mod runtime;
pub mod sandbox;
pub mod scanner;
pub mod store;
pub mod transcripts;
pub mod unused;
pub mod world;
