//! The node itself: taken out of service without hurting what runs on it.

use axum::Extension;
use axum::Json as Answer;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use mosaic_api::DrainStarted;
use mosaic_core::domain::audit::Action;

use crate::body::OptionalJson;
use crate::caller::Caller;
use crate::context::Context;
use crate::problem::Problem;
use crate::shell::RequestId;

/// `POST /v1/drain`: takes nothing new, waits until nothing runs any more, then ends the server. Answers at once with
/// how many agents run; a closed connection is the end.
pub(crate) async fn drain(
    State(context): State<Context>,
    Extension(caller): Extension<Caller>,
    Extension(request): Extension<RequestId>,
    body: OptionalJson,
) -> Result<Response, Problem> {
    let (o, reason) = (&context.orchestrator, body.reason(&context.orchestrator)?);
    o.audit_soon(caller.audit_entry(o, Action::Drain, &request).reason(reason.as_deref()));
    let running = o.drain();
    tracing::info!(running, reason, "drain asked for");
    Ok((StatusCode::ACCEPTED, Answer(DrainStarted { draining: true, running })).into_response())
}
