//! The HTTP API: connections, requests, answers.

use std::time::Duration;

/// Events a subscriber may lag behind before it is told to start over.
pub const EVENT_BUFFER: usize = 1000;
/// Most connections open at once, where there are descriptors for them; then an idle one makes way for the next.
pub const CONNECTIONS: usize = 900;
/// Descriptors that the server itself needs, whoever calls: store, logs, git and its pipes, listeners, orders.
pub const OWN_DESCRIPTORS: usize = 96;
/// Descriptors for each agent that may run: its output, its supervisor, its transcript, a stop, and git at its end.
pub const SLOT_DESCRIPTORS: usize = 8;
/// The part of few descriptors that connections for orders to stop get: one in so many.
pub const SMALL_SHARE: usize = 24;
/// Requests of one agent, by its own token, that are answered at once: it has itself to look at.
pub const AGENT_REQUESTS: usize = 8;
/// Longest time until the head of an HTTP request is there, idle keep-alive included.
pub const HEADER_READ: Duration = Duration::from_secs(30);
/// Longest time until the body of an HTTP request is there.
pub const BODY_READ: Duration = Duration::from_secs(30);
/// Largest head of an HTTP request, in bytes.
pub const HEADER_BYTES: usize = 64 * 1024;
/// Time for open answers and event streams to end once the server stops.
pub const HTTP_GRACE: Duration = Duration::from_secs(5);
/// Longest time a client may take nothing of an answer that is ready, before its connection is closed.
pub const WRITE_STALL: Duration = Duration::from_secs(60);
/// Longest `wait` of a blocking query.
pub const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// Time between heartbeats of an event stream; proxies close what is silent for 30 s.
pub const HEARTBEAT: Duration = Duration::from_secs(15);
/// Most entries of one page of a list over HTTP; what is larger makes slow answers.
pub const HTTP_PAGE: usize = 200;
/// Most running agents shown in the first event of an event stream.
pub const SNAPSHOT_AGENTS: usize = 500;
/// Most bytes of one diff that is shown.
pub const DIFF_BYTES: usize = 4 * 1024 * 1024;
/// Time that a run may outlive its deadline before its shim ends it by itself: the server is gone then.
pub const BACKSTOP: Duration = Duration::from_secs(120);
/// Connections beyond [`CONNECTIONS`] on which only orders to stop are answered.
pub const STOP_CONNECTIONS: usize = 32;
/// Connections on the control socket, on which only orders to stop are answered.
pub const CONTROL_CONNECTIONS: usize = 16;
/// Longest time until the head of a request is there on a connection kept for orders to stop.
pub const STOP_HEADER_READ: Duration = Duration::from_secs(2);
/// Time for which a connection kept for orders to stop is safe from making way for a newer one, before its request is there.
pub const STOP_HEAD_START: Duration = Duration::from_millis(250);
/// Descriptors that a server asks for: every connection, and some for each of the most agents that it may run; many
/// systems allow 1024 at first.
pub const DESCRIPTORS: u64 = 16_384;
