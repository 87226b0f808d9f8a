//! The process adapter with real shims and a misbehaving agent.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking, also in what its tests share")]

mod adoption;
mod jobs;
mod stops;
mod usage;
mod world;
