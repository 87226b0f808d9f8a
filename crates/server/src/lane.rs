//! The lane for orders to stop: connections of their own, which nothing else can use up. On them only what stops
//! agents is answered, and health; everything else gets a 503 and the connection is closed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::extract::Request;
use axum::http::Method;
use axum::http::header::{CONNECTION, HeaderValue};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::problem::{Code, Problem};

/// Last parts of the paths that stop agents, or let them go on.
const STOPS: [&str; 4] = ["kill", "kill-all", "freeze", "thaw"];

/// How much is answered on a connection kept for orders to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lane {
    /// On the network, when all other connections are used up.
    Reserve,
    /// On the control socket: also what a person needs to name the agent that is meant.
    Control,
}

/// A connection kept for orders to stop. Until an authorised request has come it makes way for newer ones.
#[derive(Debug, Clone)]
pub(crate) struct Seat {
    lane: Lane,
    settled: Arc<AtomicBool>,
}

impl Seat {
    pub(crate) fn new(lane: Lane) -> Self {
        Self { lane, settled: Arc::new(AtomicBool::new(false)) }
    }

    /// Keeps its place: an authorised order is being carried out.
    pub(crate) fn settle(&self) {
        self.settled.store(true, Ordering::SeqCst);
    }

    pub(crate) fn is_settled(&self) -> bool {
        self.settled.load(Ordering::SeqCst)
    }
}

/// Tells whether a path (or a path of the table) is one that stops agents, or says whether the server lives.
pub(crate) fn stops(path: &str) -> bool {
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    parts.last().is_some_and(|last| STOPS.contains(last))
        || parts.contains(&"killswitch")
        || parts.first() == Some(&"health")
        // Without the proof no client sends its order.
        || path == "/v1/hello"
}

/// Tells whether a path is one that names agents.
fn names(method: &Method, path: &str) -> bool {
    let below =
        path == "/v1/agents" || path.strip_prefix("/v1/agents/").is_some_and(|rest| !rest.contains('/'));
    method == Method::GET && below
}

/// The door in front of everything on such a connection.
pub(crate) async fn check(request: Request, next: Next) -> Response {
    let Some(lane) = request.extensions().get::<Seat>().map(|seat| seat.lane) else {
        return next.run(request).await;
    };
    let path = request.uri().path();
    if stops(path) || lane == Lane::Control && names(request.method(), path) {
        return next.run(request).await;
    }
    let text = match lane {
        Lane::Reserve => "all connections of the server are in use; only orders to stop are taken now",
        Lane::Control => "only orders to stop are taken on the control socket",
    };
    let refused =
        Problem::new(Code::Busy, text).hint("close connections that are not used, or try again in a moment");
    let mut response = refused.into_response();
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stops_agents_is_known_by_its_path() {
        for path in [
            "/agents/kill-all",
            "/v1/agents/kill-all",
            "/agents/7d0c/kill",
            "/v1/agents/7d0c/kill",
            "/v1/killswitch",
            "/v1/killswitch/engage",
            "/v1/freeze",
            "/v1/agents/7d0c/thaw",
            "/health",
            "/health/ready",
            "/v1/hello",
        ] {
            assert!(stops(path), "{path}");
        }
        for path in [
            "/",
            "/v1/agents",
            "/agents/spawn",
            "/v1/queue",
            "/v1/events",
            "/v1/agents/kill/diff",
            "/v1/tasks/health",
        ] {
            assert!(!stops(path), "{path}");
        }
        assert!(names(&Method::GET, "/v1/agents") && names(&Method::GET, "/v1/agents/7d0c"));
        assert!(!names(&Method::POST, "/v1/agents") && !names(&Method::GET, "/v1/agents/7d0c/diff"));
    }
}
