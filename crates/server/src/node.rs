//! The node itself: taken out of service without hurting what runs on it.

use axum::Json as Answer;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::body::OptionalJson;
use crate::problem::Problem;
use crate::router::Context;

/// `POST /v1/drain`: takes nothing new, waits until nothing runs any more, then ends the server. Answers at once with
/// how many agents run; a closed connection is the end.
pub(crate) async fn drain(State(context): State<Context>, body: OptionalJson) -> Result<Response, Problem> {
    let reason = body.reason()?;
    let running = context.orchestrator.drain();
    tracing::info!(running, reason, "drain asked for");
    Ok((StatusCode::ACCEPTED, Answer(json!({"draining": true, "running": running}))).into_response())
}
