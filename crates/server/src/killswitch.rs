//! The kill switch: whether dispatch is stopped and by whom, stopping it, letting it go on.

use axum::Extension;
use axum::Json as Answer;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use mosaic_api::{SwitchEngaged, SwitchReleased};
use mosaic_core::Orchestrator;
use mosaic_core::domain::audit::Action;

use crate::agents::{by, to_the_end};
use crate::body::OptionalJson;
use crate::caller::Caller;
use crate::context::Context;
use crate::problem::Problem;
use crate::shell::RequestId;
use crate::view::Shown;

/// `GET /v1/killswitch`.
pub(crate) async fn show(State(context): State<Context>) -> Response {
    context.orchestrator.know_orders().await;
    Answer(context.orchestrator.shown()).into_response()
}

/// `POST /v1/killswitch/engage`: nothing starts any more, what runs is ended, what waits keeps its place.
pub(crate) async fn engage(
    State(context): State<Context>,
    Extension(caller): Extension<Caller>,
    Extension(request): Extension<RequestId>,
    body: OptionalJson,
) -> Result<Response, Problem> {
    let (by, reason) = (by(&request), body.reason(&context.orchestrator)?);
    let entry = caller
        .audit_entry(&context.orchestrator, Action::KillswitchEngage, &request)
        .reason(reason.as_deref());
    let order = move |o: std::sync::Arc<Orchestrator>| async move {
        o.audit_soon(entry.clone().result("ordered"));
        let (latch, report) = o.engage(&by, reason).await;
        o.audit_soon(entry.result(format!("{} killed, {} failed", report.killed, report.failed)));
        (latch, report)
    };
    let (_, report) = to_the_end(&context.orchestrator, order).await?;
    let engaged = SwitchEngaged { switch: context.orchestrator.shown(), report: report.shown() };
    Ok(Answer(engaged).into_response())
}

/// `POST /v1/killswitch/release`.
pub(crate) async fn release(
    State(context): State<Context>,
    Extension(caller): Extension<Caller>,
    Extension(request): Extension<RequestId>,
    body: OptionalJson,
) -> Result<Response, Problem> {
    let reason = body.reason(&context.orchestrator)?;
    let by = by(&request);
    let entry = caller
        .audit_entry(&context.orchestrator, Action::KillswitchRelease, &request)
        .reason(reason.as_deref());
    let was_engaged = to_the_end(&context.orchestrator, move |o| async move {
        let released = o.release(&by).await;
        o.audit_soon(entry.result(match &released {
            Ok(true) => "released".to_owned(),
            Ok(false) => "was not engaged".to_owned(),
            Err(e) => format!("not done: {e}"),
        }));
        released
    })
    .await??;
    let released = SwitchReleased { switch: context.orchestrator.shown(), was_engaged };
    Ok(Answer(released).into_response())
}
