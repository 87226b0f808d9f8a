//! HTTP: every route on one page ([`routes`], in `router.rs`), one file per resource. This crate holds no state of
//! its own: each request asks the orchestrator, and what it answers comes from the store.
//!
//! Every request goes through the same checks, in this order: `shell` (request id, headers, faults), `hosts` (Host and
//! Origin), `reserved_connections` (those kept for orders to stop), `auth` (token), the route.

mod agents;
mod archive;
mod attention;
mod audit;
mod auth;
mod body;
mod byte_range;
mod caller;
mod connection_pool;
mod context;
mod coordinator;
mod diff;
mod events;
mod forward;
mod freeze;
mod gate_history;
mod gate_log;
mod gate_tail;
mod gates;
mod gates_junit;
mod gates_sarif;
mod health;
mod hello;
mod hosts;
mod killswitch;
mod mask;
mod negotiate;
mod node;
mod nodes;
mod openapi;
mod options;
mod params;
mod patch;
mod problem;
mod queue;
mod removal;
mod reserved_connections;
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

pub use archive::HttpArchives;
pub use auth::Scope;
pub use connection_pool::ConnectionLimits;
pub use coordinator::{coordinator_router, coordinator_routes};
pub use mosaic_api::Code;
pub use options::{Auth, PeerKey, ServerOptions};
pub use router::{RouteInfo, router, routes};
pub use serve::{serve, serve_control};
pub use view::shown_gates;
