//! The server's side: bare repositories.

mod filters;
mod old_objects;
mod pack_refs;
mod stale_locks;
