//! HTTP: every route on one page ([`routes`], in `router.rs`), one file per resource. This crate holds no state of
//! its own: each request asks the orchestrator, and what it answers comes from the store.
//!
//! Every request goes through the same doors, in this order: `shell` (request id, headers, faults), `lane` (what is
//! answered on connections kept for orders to stop), `hosts` (Host and Origin), `auth` (token), the route.

mod agents;
mod archive;
mod audit;
mod auth;
mod body;
mod connection_pool;
mod diff;
mod events;
mod forward;
mod freeze;
mod gates;
mod health;
mod hello;
mod hosts;
mod killswitch;
mod lane;
mod mask;
mod negotiate;
mod node;
mod nodes;
mod params;
mod patch;
mod problem;
mod queue;
mod removal;
mod resources;
mod restore;
mod router;
mod serve;
mod shell;
mod sse;
mod state;
mod strict_json;
mod tags;
mod tasks;
mod transcript;
mod transfer;
mod v1_agents;
mod view;

use mosaic_core::domain::ids::Timestamp;

pub use archive::HttpArchives;
pub use auth::{Auth, Scope};
pub use connection_pool::ConnectionLimits;
pub use forward::PeerKey;
pub use problem::Code;
pub use router::{RouteInfo, router, routes};
pub use serve::{serve, serve_control};

/// What the server must know besides the orchestrator.
#[derive(Debug, Clone)]
pub struct ServerOptions {
    /// Who may call.
    pub auth: Auth,
    /// Host names under which the server may be called, besides IP literals, `localhost` and `*.localhost`.
    pub allowed_hosts: Vec<String>,
    /// The port that the server listens on, for its proof towards clients.
    pub port: u16,
    /// The program's version, for `/health`.
    pub version: &'static str,
    /// When the server was started.
    pub started_at: Timestamp,
    /// The address under which clients see the server, such as `https://mosaic.example`, without a slash at the
    /// end; a page from there counts as the same origin.
    pub public_url: Option<String>,
    /// What this fleet's nodes show each other; none where there is one node.
    pub peer_key: Option<PeerKey>,
}
