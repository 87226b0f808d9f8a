//! The store that many machines share: a Valkey server (Redis speaks the same).

mod dial;
mod failure;
mod honest;
mod keeper;
mod link;
mod options;
mod replicas;
mod script;
mod tls;

pub use honest::{Looks, Risk};
pub use options::{LinkOptions, Sentinels, Tls};
