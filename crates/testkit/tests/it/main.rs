//! The test kit's own parts.

mod failpoints;
mod fakes_store;
