//! The lane for orders to stop: connections of their own, which nothing else can use up. On them only what stops
//! agents is answered, and health; everything else gets a 503 and the connection is closed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::extract::{Request, State};
use axum::http::header::{CONNECTION, HeaderValue};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use mosaic_api::Code;

use crate::problem::Problem;

/// Kind of a connection kept for orders to stop, which decides how much is answered on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lane {
    /// On the network, when all other connections are used up.
    Reserve,
    /// On the control socket: also what a person needs to name the agent that is meant.
    Control,
}

/// A connection kept for orders to stop. Until an authorised request has come it makes way for newer ones.
#[derive(Debug, Clone)]
pub(crate) struct ReservedConnection {
    lane: Lane,
    settled: Arc<AtomicBool>,
}

impl ReservedConnection {
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

/// The connections kept for orders to stop on which a route is answered; a column of the route table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lanes {
    /// On none of them.
    None,
    /// On the control socket.
    Control,
    /// On all of them.
    All,
}

impl Lanes {
    fn has(self, lane: Lane) -> bool {
        self == Self::All || self == Self::Control && lane == Lane::Control
    }
}

/// Refuses a request on such a connection unless its route is answered there.
pub(crate) async fn check(State(lanes): State<Lanes>, request: Request, next: Next) -> Response {
    let lane = request.extensions().get::<ReservedConnection>().map(|reserved| reserved.lane);
    let Some(lane) = lane.filter(|lane| !lanes.has(*lane)) else { return next.run(request).await };
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
