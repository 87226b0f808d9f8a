//! The outermost layer: gives each request an id, turns problems and panics into error bodies, and puts the headers
//! on every answer.

use std::panic::AssertUnwindSafe;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_LENGTH, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use mosaic_core::Orchestrator;

use crate::context::Context;
use crate::problem::Problem;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The id under which a request appears in the log.
#[derive(Debug, Clone)]
pub(crate) struct RequestId(pub(crate) String);

impl RequestId {
    /// Takes the caller's id when it can do no harm in logs and records, else makes one.
    fn of(headers: &HeaderMap, o: &Orchestrator) -> Self {
        let ok = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
        let sent = headers.get(REQUEST_ID).and_then(|value| value.to_str().ok());
        let sent = sent.filter(|id| (1..=128).contains(&id.len()) && id.bytes().all(ok));
        match sent.filter(|id| !o.holds_known_value(id)) {
            Some(id) => Self(id.to_owned()),
            None => Self(uuid::Uuid::new_v4().simple().to_string()),
        }
    }
}

/// Wraps a request from the outside.
pub(crate) async fn wrap(State(context): State<Context>, mut request: Request, next: Next) -> Response {
    let id = RequestId::of(request.headers(), &context.orchestrator);
    request.extensions_mut().insert(id.clone());
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    // A panic's text goes to the log by the panic hook; the caller gets the id only.
    let answer = AssertUnwindSafe(next.run(request)).catch_unwind().await;
    let mut response = answer.unwrap_or_else(|_| Problem::internal().into_response());
    // Handlers leave the problem beside an empty body, because only this layer knows the id of the request that the
    // body names.
    if let Some(problem) = response.extensions_mut().remove::<Problem>() {
        let base = context.options.public_url.as_deref().unwrap_or("");
        let text = serde_json::to_string(&problem.body(&id.0, base)).unwrap_or_default();
        response.headers_mut().remove(CONTENT_LENGTH);
        *response.body_mut() = if method == "HEAD" { Body::empty() } else { Body::from(text) };
    }
    let status = response.status();
    if status.is_server_error() {
        tracing::warn!(request.id = %id.0, %method, path = %path.escape_debug(), status = status.as_u16(), "request could not be answered");
    } else {
        tracing::debug!(request.id = %id.0, %method, path = %path.escape_debug(), status = status.as_u16(), "request answered");
    }
    let headers = response.headers_mut();
    if let Ok(value) = HeaderValue::from_str(&id.0) {
        headers.insert(REQUEST_ID, value);
    }
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}
