//! Interfaces of the core to the world, one trait per thing that differs between backends. A trait's documentation
//! is its contract; the conformance suites in `mosaic-testkit` check it for every backend.

pub mod archive;
pub mod audit;
pub mod clock;
pub mod external_queue;
pub mod fleet;
pub mod gatekeeper;
pub mod host;
pub mod orders;
pub mod processes;
pub mod repositories;
pub mod runtime;
pub mod sandbox;
pub mod scanner;
pub mod store;
pub mod transcripts;
