//! The store that many machines share: a Valkey server (Redis speaks the same).

pub mod bullmq;
mod dial;
mod failure;
mod honest;
mod keeper;
mod link;
mod options;
mod replicas;
mod script;
mod tls;
mod together;

pub use honest::{Looks, Risk};
pub use options::{LinkOptions, Sentinels, Tls};
