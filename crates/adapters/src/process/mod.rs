//! Jobs under shims: how processes are started, followed, stopped and proven gone.
//!
//! A shim per job owns its pipes and outlives the server ([`shim`]); what a job is and how it ended stands in its
//! directory, which is the truth that a next server reads; the socket only carries orders and wake-ups.
//!
//! The modules are listed from plain facts up to the port: each imports only from its own group and the groups above it.

// Facts and means that know nothing of jobs.
mod containment;
pub(crate) mod linux;
mod precedence;
mod rung;
mod variables;

// The records of a job, its output and its socket: what a shim and a server of different versions share.
mod connection;
mod connection_error;
mod job_list;
mod layout;
mod output_reader;
mod output_writer;
mod protocol;

// Groups of the kernel around a job.
mod cgroup;
mod containment_choice;
mod fence;
mod stray_cgroups;

// The shim, a process of its own.
pub mod shim;

// A server's acts on one agent's jobs.
mod adopt;
mod freeze;
mod job;
mod kill_without_shim;
mod process_table;
mod start_error;
mod stop;
mod usage;
mod v1_freezer;
mod v1_groups;

// The port.
mod find_agents;
mod server;

pub use cgroup::CgroupChoice;
pub use linux::boot_id;
pub(crate) use linux::kill_below;
pub(crate) use linux::living as everything_alive;
pub use server::{ProcessOptions, ShimProcesses};
pub(crate) use variables::JOB_VARIABLES;
