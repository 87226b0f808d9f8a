//! Bringing kept work back: a new directory on the machine of the node that has it, through whichever node was asked.

use axum::Extension;
use axum::Json as Answer;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use mosaic_core::domain::audit::Action;
use mosaic_core::domain::ids::NodeId;
use mosaic_core::restore::{RestoreChoice, WorkPlace};
use serde_json::Value;

use crate::agents::to_the_end;
use crate::body::{OptionalJson, read};
use crate::caller::Caller;
use crate::context::Context;
use crate::forward::{to_node, was_passed_on};
use crate::params::Id;
use crate::problem::Problem;
use crate::shell::RequestId;
use crate::view::Shown;

/// `POST /v1/agents/{id}/restore`: a copy of its own each time.
pub(crate) async fn create(
    State(context): State<Context>,
    Extension(caller): Extension<Caller>,
    Extension(request_id): Extension<RequestId>,
    Id(id): Id,
    request: Request,
) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    let (headers, bytes) = read(Request::from_parts(parts.clone(), body), &context).await?;
    let mut body = OptionalJson::parse(&headers, &bytes)?;
    let choice = choice(&mut body)?;
    let reason = body.reason(&context.orchestrator)?;
    let o = &context.orchestrator;
    let (place, node) = o.work_place(id, choice).await?;
    let node = node.filter(|_| !was_passed_on(&headers));
    if let Some(node) = other_node(&context, node, &place).await? {
        return to_node(&context, &node, Request::from_parts(parts, Body::from(bytes))).await;
    }
    let entry = caller.audit_entry(o, Action::Restore, &request_id).subject(id).reason(reason.as_deref());
    let restored = to_the_end(o, move |o| async move {
        let restored = Box::pin(o.restore(id, place)).await;
        o.audit_soon(entry.result(match &restored {
            Ok(restored) => format!("to {}", restored.path.display()),
            Err(e) => format!("not done: {e}"),
        }));
        restored
    });
    let restored = restored.await??;
    let view = mosaic_api::Restored {
        node: o.settings().node.to_string(),
        path: restored.path.display().to_string(),
        branch: restored.branch.to_string(),
        head: restored.head.map(String::from),
        salvage: restored.salvage.shown(),
    };
    Ok((StatusCode::CREATED, Answer(view)).into_response())
}

/// Returns the node to ask instead of this one.
async fn other_node(
    context: &Context,
    node: Option<NodeId>,
    place: &WorkPlace,
) -> Result<Option<NodeId>, Problem> {
    let o = &context.orchestrator;
    let Some(node) = node.filter(|node| *node != o.settings().node) else { return Ok(None) };
    // A home that nobody knows may be this node under a former name.
    let nodes = o.ports().fleet.nodes().await?;
    let is_known = nodes.iter().any(|state| state.info.node == node);
    Ok(Some(node).filter(|_| is_known || *place != WorkPlace::Last))
}

fn choice(body: &mut OptionalJson) -> Result<RestoreChoice, Problem> {
    let mut number = |name: &str| match body.take(name) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => match value.as_u64().and_then(|number| u32::try_from(number).ok()) {
            Some(number) => Ok(Some(number)),
            None => Err(Problem::field(&format!("/{name}"), "must be a number, as keptWork has it")),
        },
    };
    Ok(RestoreChoice { attempt: number("attempt")?, run: number("run")? })
}
