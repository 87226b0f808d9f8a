//! The program from outside: its command line, the server with real agents, real Claude Code, and a server that is killed.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod claude;
mod cli;
mod e2e;
mod live_server;
mod stops;
mod survival;
