//! The server's side: bare repositories, what is fetched and received into them, read from them, pushed and kept. No git here
//! has a working tree, and nothing of an agent's confinement is imported.

pub(super) mod additions;
pub(super) mod ask;
pub(super) mod attributes;
pub(super) mod blocked_branch;
pub(super) mod bundle;
pub(super) mod commit_cache;
pub(super) mod diff;
pub(super) mod fetch;
pub(super) mod filters;
pub(super) mod grep;
pub(super) mod harvest_report;
pub(super) mod kept_refs;
pub(super) mod last_fetch;
mod local_push;
pub(super) mod new_entries;
mod object_ids;
pub(super) mod old_objects;
pub(super) mod operator_attributes;
pub(super) mod pack_refs;
pub(super) mod prefix_looks;
pub(super) mod push;
pub(super) mod read;
pub(super) mod receive;
pub(super) mod receive_judged;
pub(super) mod remote_tips;
pub(super) mod repack;
pub(super) mod salvage;
pub(super) mod salvage_former;
pub(super) mod stale_locks;
pub(super) mod submodules;
pub(super) mod tags;
pub(super) mod trial_merge;
pub(super) mod view;
