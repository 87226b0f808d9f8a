//! Freezing and thawing one agent.

use axum::Extension;
use axum::Json as Answer;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use mosaic_core::domain::audit::Action;
use mosaic_core::freeze::{FreezeError, Frozen};

use crate::agents::{note, to_the_end};
use crate::body::OptionalJson;
use crate::caller::Caller;
use crate::context::Context;
use crate::params::Id;
use crate::problem::Problem;
use crate::shell::RequestId;
use crate::view;

/// Returns the result of a freeze or a resumption in the words of the audit log.
fn result(done: &Result<Frozen, FreezeError>) -> String {
    match done {
        Ok(done) if done.changed => "done".to_owned(),
        Ok(_) => "was so already".to_owned(),
        Err(e) => format!("not done: {e}"),
    }
}

fn answer(done: Result<Frozen, FreezeError>) -> Result<Response, Problem> {
    let Frozen { record, frozen, changed } = done?;
    let agent = view::status(&record.agent);
    Ok(Answer(mosaic_api::Frozen { agent, is_frozen: frozen, changed }).into_response())
}

/// `POST /v1/agents/{id}/freeze`: it stops where it is until it is thawed.
pub(crate) async fn freeze(
    State(context): State<Context>,
    Extension(caller): Extension<Caller>,
    Extension(request): Extension<RequestId>,
    Id(id): Id,
    body: OptionalJson,
) -> Result<Response, Problem> {
    let reason = body.reason(&context.orchestrator)?;
    let entry = caller
        .audit_entry(&context.orchestrator, Action::Freeze, &request)
        .subject(id)
        .reason(reason.as_deref());
    let note = note(&request, reason);
    let done = to_the_end(&context.orchestrator, move |o| async move {
        let done = o.freeze(id, &note).await;
        o.audit_soon(entry.result(result(&done)));
        done
    });
    answer(done.await?)
}

/// `POST /v1/agents/{id}/thaw`: it goes on.
pub(crate) async fn thaw(
    State(context): State<Context>,
    Extension(caller): Extension<Caller>,
    Extension(request): Extension<RequestId>,
    Id(id): Id,
    body: OptionalJson,
) -> Result<Response, Problem> {
    let reason = body.reason(&context.orchestrator)?;
    let entry = caller
        .audit_entry(&context.orchestrator, Action::Thaw, &request)
        .subject(id)
        .reason(reason.as_deref());
    let note = note(&request, reason);
    let done = to_the_end(&context.orchestrator, move |o| async move {
        let done = o.thaw(id, &note).await;
        o.audit_soon(entry.result(result(&done)));
        done
    });
    answer(done.await?)
}
