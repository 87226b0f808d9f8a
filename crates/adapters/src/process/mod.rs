//! Jobs under shims: how processes are started, followed, stopped and proven gone.
//!
//! A shim per job owns its pipes and outlives the server ([`shim`]); what a job is and how it ended stands in its
//! directory, which is the truth that a next server reads; the socket only carries orders and wake-ups.

mod adopt;
mod cgroup;
mod connection;
mod containment;
mod containment_choice;
mod fence;
mod find_agents;
mod freeze;
mod job;
mod job_list;
mod kill_without_shim;
mod layout;
pub(crate) mod linux;
mod output_reader;
mod output_writer;
mod precedence;
mod process_table;
mod protocol;
mod rung;
mod server;
pub mod shim;
mod stop;
mod stray_cgroups;
mod usage;
mod variables;

pub use cgroup::CgroupChoice;
pub use linux::boot_id;
pub(crate) use linux::kill_below;
pub use server::{ProcessOptions, ShimProcesses};
