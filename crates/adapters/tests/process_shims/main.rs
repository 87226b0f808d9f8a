//! The process adapter with real shims and a misbehaving agent.

mod jobs;
mod stops;
mod world;
