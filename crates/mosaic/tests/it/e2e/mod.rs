//! The real program from outside: a server of its own per test, real git remotes, real processes. Every wait has a
//! deadline and waits for what happens, never for time.

mod adoption;
mod audit;
mod background;
#[cfg(feature = "valkey")]
mod backups;
#[cfg(feature = "valkey")]
mod bad_node;
mod bombs;
mod budget;
mod cli_server;
#[cfg(feature = "valkey")]
mod clocks;
mod contract;
mod coordinator;
mod diffs;
mod disk;
mod drill;
mod filters;
#[cfg(feature = "valkey")]
mod fleet;
mod floods;
mod frozen;
mod gates_run;
mod gates_seen;
mod hostile_files;
mod hung_disk;
mod impostors;
mod in_the_way;
mod key_lines;
mod kill;
mod killswitch;
mod life;
mod limits;
mod local_run;
mod login;
#[cfg(feature = "valkey")]
mod mixed_builds;
#[cfg(feature = "valkey")]
mod moving;
mod no_code_after;
mod no_server;
mod odd_files;
mod planted;
mod pushes;
mod races;
mod receipts;
mod removal;
mod restore;
mod secrets;
mod setup;
mod shutdown;
mod silence;
mod spending;
#[cfg(feature = "valkey")]
mod spreading;
mod standing;
#[cfg(feature = "valkey")]
mod standstill;
mod state_files;
#[cfg(feature = "valkey")]
mod store_away;
#[cfg(feature = "valkey")]
mod store_failover;
#[cfg(feature = "valkey")]
mod store_rights;
mod support;
mod surroundings;
mod unwritable_log;
