//! The lines of an event stream (WHATWG server-sent events), and how a stream is answered. Each stream reads from
//! the store page by page as its reader takes it, so a slow reader costs one page of memory and blocks nobody.

use std::convert::Infallible;
use std::pin::Pin;

use axum::body::Body;
use axum::http::HeaderMap;
use axum::http::{HeaderName, header};
use axum::response::{IntoResponse, Response};
use futures_util::Stream;
use mosaic_core::limits;
use serde::Serialize;

use crate::context::Context;
use crate::params::ParamReader;

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
const BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// The highest number an event can have: stores count in signed numbers.
const LAST: u64 = i64::MAX as u64;

/// Start of every stream: the time after which a reader comes back, in milliseconds.
pub(crate) const RETRY: &str = "retry: 1000\n\n";

/// Writes one event. `kind` is a word of ours; JSON has no line break in it.
pub(crate) fn event(id: u64, kind: &str, data: &impl Serialize) -> String {
    let data = serde_json::to_string(data).unwrap_or_default();
    format!("id: {id}\nevent: {kind}\ndata: {data}\n\n")
}

/// Writes a heartbeat, which also tells a filtered reader how far it has come.
pub(crate) fn heartbeat(id: u64) -> String {
    format!(": hb\nid: {id}\n\n")
}

/// Ready when the next heartbeat is due.
pub(crate) type HeartbeatTimer = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Starts the time until the next heartbeat.
pub(crate) fn heartbeat_timer(context: &Context) -> HeartbeatTimer {
    let orchestrator = context.orchestrator.clone();
    Box::pin(async move { orchestrator.ports().clock.sleep(limits::HEARTBEAT).await })
}

/// Reads where a reader goes on: the header of a reconnecting browser, else the parameter.
pub(crate) fn resume_after(headers: &HeaderMap, r: &mut ParamReader<'_>) -> Option<u64> {
    let after = r.number("after", 0..=LAST);
    // A browser reconnects to the same URL, so the parameter still says where the first connection began.
    let Some(value) = headers.get(LAST_EVENT_ID).filter(|value| !value.is_empty()) else { return after };
    let value = value.to_str().unwrap_or("?");
    let digits = value.bytes().all(|b| b.is_ascii_digit());
    let header = digits.then(|| value.parse().ok()).flatten().filter(|n| *n <= LAST);
    if header.is_none() {
        r.fault(
            "last-event-id",
            "invalid",
            "the header Last-Event-ID must be the id of an event of this server",
        );
    }
    header
}

/// Answers with a stream that nothing on the way may hold back.
pub(crate) fn respond(chunks: impl Stream<Item = Result<String, Infallible>> + Send + 'static) -> Response {
    let head = [(header::CONTENT_TYPE, "text/event-stream"), (BUFFERING, "no")];
    (head, Body::from_stream(chunks)).into_response()
}
