//! The test kit's own parts.

mod failpoints;
mod fake_store;
