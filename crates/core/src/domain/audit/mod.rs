//! The audit log as values: what was done by whom, and a chain of records in which every one carries the hash of the
//! one before it, so that no single edit goes unseen. Reading and writing files is the adapter's.

mod chain;
mod entry;

pub use chain::{Broken, FormatError, Hash, Head, HeadFile, Record, Walk, verify};
pub use entry::*;
