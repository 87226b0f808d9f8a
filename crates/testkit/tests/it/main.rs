//! The test kit's own parts.

mod conformance;
mod failpoints;
mod fakes_repositories;
mod fakes_store;
