//! What an orchestrator is, as values and pure functions: no clock, no await, no I/O.

pub mod access;
pub mod agent;
pub mod audit;
pub mod blame;
pub mod breaker;
pub mod characters;
pub mod gates;
pub mod ids;
pub mod job;
pub mod journal;
pub mod lifecycle;
pub mod orders;
pub mod outcome;
pub mod placement;
pub mod prompt;
pub mod publication;
pub mod queue;
pub mod quota;
pub mod repository;
pub mod retry;
pub mod room;
pub mod secrets;
pub mod spec;
pub mod stall;
pub mod steady;
pub mod store_clock;
