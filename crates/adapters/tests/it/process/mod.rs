//! The process adapter with real shims and a misbehaving agent.

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
mod v1_freezer;
mod world;
