//! The HTTP server from outside: a router over an orchestrator whose ports are stubs and whose store is the strict
//! in-memory one.

mod access;
mod agent_tokens;
mod attention;
mod audit;
mod contract;
mod coordinator_openapi;
mod documented;
mod facts;
mod faulty_store;
mod forward;
mod gates;
mod hostile;
mod killswitch;
mod node;
mod openapi;
mod raw_http;
mod resources;
mod snapshots;
mod streams;
mod world;
