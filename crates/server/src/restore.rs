//! Bringing an ended agent's work back: a new directory on the server's machine.

use axum::Extension;
use axum::Json as Answer;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use mosaic_core::domain::agent::Salvaged;
use mosaic_core::domain::audit::Action;
use serde::Serialize;

use crate::agents::to_the_end;
use crate::auth::Caller;
use crate::body::OptionalJson;
use crate::params::Id;
use crate::problem::Problem;
use crate::router::Context;
use crate::shell::RequestId;

/// Where the work is now.
#[derive(Debug, Serialize)]
struct RestoredView {
    path: String,
    branch: String,
    head: Option<String>,
    salvage: Option<Salvaged>,
}

/// `POST /v1/agents/{id}/restore`: a copy of its own each time.
pub(crate) async fn create(
    State(context): State<Context>,
    Extension(caller): Extension<Caller>,
    Extension(request): Extension<RequestId>,
    Id(id): Id,
    body: OptionalJson,
) -> Result<Response, Problem> {
    let reason = body.reason()?;
    let deed =
        caller.deed(&context.orchestrator, Action::Restore, &request).subject(id).reason(reason.as_deref());
    let restored = to_the_end(&context.orchestrator, move |o| async move {
        let restored = o.restore(id).await;
        o.audit_soon(deed.result(match &restored {
            Ok(restored) => format!("to {}", restored.path.display()),
            Err(e) => format!("not done: {e}"),
        }));
        restored
    });
    let restored = restored.await??;
    let view = RestoredView {
        path: restored.path.display().to_string(),
        branch: restored.branch.to_string(),
        head: restored.head.map(String::from),
        salvage: restored.salvage,
    };
    Ok((StatusCode::CREATED, Answer(view)).into_response())
}
