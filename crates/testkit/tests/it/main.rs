//! The test kit's own parts.

mod conformance;
mod failpoints;
mod fakes_store;
