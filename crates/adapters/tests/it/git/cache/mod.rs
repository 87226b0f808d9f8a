//! The server's side: bare repositories.

mod blocked_branch;
mod diff;
mod filters;
mod old_objects;
mod pack_refs;
mod stale_locks;
