//! The adapters with the real things behind them: git, processes, files, SQLite, Valkey, Claude Code. The modules stand as those
//! of `src` do.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

mod agent_claude;
mod agent_command;
mod agent_demo;
mod audit_file;
mod caretaker;
mod conformance;
mod gates_coordinator;
mod gates_isolated;
mod gates_local;
mod gates_setup;
mod git;
mod orders_files;
mod process;
mod programs;
mod secret_scan;
mod store_conformance;
mod store_sqlite;
#[cfg(feature = "valkey")]
mod store_valkey;
mod transcripts_files;
mod trash;
