//! An in-memory store, the strictest of all.
