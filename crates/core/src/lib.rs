//! The core of the Mosaic Orchestrator: what an orchestrator of coding agents is, without any backend.
//!
//! Start with [`domain`] for the words, [`ports`] for what is needed from the world.

pub mod domain;
pub mod limits;
pub mod ports;
