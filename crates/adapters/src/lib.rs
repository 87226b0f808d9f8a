//! The adapters: one module per port and backend, so that a listing shows both at once.

pub mod agent_claude;
pub mod agent_command;
pub mod agent_demo;
pub mod audit_file;
pub mod bounded_file;
pub mod bundles_files;
pub mod clock_system;
pub mod data_dir;
pub mod data_kinds;
pub mod disk;
pub mod durable_write;
mod error_causes;
mod fence;
pub mod fleet_sole;
mod gate_reports;
pub mod gates_coordinator;
pub mod gates_local;
pub mod git;
pub mod git_identity;
mod given_outputs;
pub mod host_system;
pub mod isolation;
pub mod orders_files;
mod passing;
pub mod private_dirs;
mod private_place;
pub mod process;
pub mod sandbox_none;
pub mod secret_scan;
pub mod short_dirs;
#[cfg(feature = "valkey")]
pub mod store_archived;
pub mod store_sqlite;
#[cfg(feature = "valkey")]
pub mod store_valkey;
pub mod transcripts_files;
pub mod trash;
pub mod uid_range;
mod url_encoding;
