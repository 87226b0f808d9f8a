//! Conformance suites per port, fakes, failpoints, git fixtures, a scripted model endpoint. A development dependency only.

pub mod audit_suite;
#[cfg(feature = "bare-queue")]
pub mod bare_queue;
pub mod chaos;
pub mod connection;
pub mod failpoints;
pub mod fakes;
pub mod gatekeeper_suite;
pub mod git_fixture;
pub mod git_http_server;
pub mod hung_disk;
pub mod model_server;
pub mod node_oracle;
pub mod processes_suite;
pub mod program;
pub mod repositories_suite;
pub mod require;
pub mod runtime_suite;
pub mod sandbox_suite;
pub mod store_suite;
pub mod story;
pub mod tcp_proxy;
pub mod transcripts_suite;
pub mod valkey_sentinel;
pub mod valkey_server;
pub mod wrong_clock;
