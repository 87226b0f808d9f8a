//! The process adapter with real shims and a misbehaving agent.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking, also in what its tests share")]

mod adoption;
mod frozen;
mod hostile_records;
mod in_namespace;
mod jobs;
mod kills;
mod last_resorts;
mod leaderless;
mod leases;
mod neighbours;
mod recycled;
mod stops;
mod usage;
mod world;
