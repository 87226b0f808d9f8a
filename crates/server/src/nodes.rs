//! The nodes of the fleet: which there are and how they are, and taking one out of service or back into it.

use std::sync::Arc;

use axum::Extension;
use axum::Json as Answer;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use mosaic_api::Code;
use mosaic_api::{Node, NodeList, NodeRemoved};
use mosaic_core::Orchestrator;
use mosaic_core::domain::audit::Action;
use mosaic_core::domain::ids::NodeId;
use mosaic_core::limits;
use mosaic_core::ports::fleet::{Cordon, LostNode, NodeRemoval};

use crate::agents::by;
use crate::body::OptionalJson;
use crate::caller::Caller;
use crate::context::Context;
use crate::params::{Params, PathNames};
use crate::problem::Problem;
use crate::shell::RequestId;
use crate::view::{self, Shown};

async fn list_nodes(o: &Orchestrator) -> Result<Vec<Node>, Problem> {
    Ok(o.nodes().await?.iter().map(|state| view::node(state, o)).collect())
}

/// `GET /v1/nodes`.
pub(crate) async fn list(State(context): State<Context>, params: Params) -> Result<Response, Problem> {
    params.reader(&[]).finish()?;
    let o = &context.orchestrator;
    let term = o.ports().fleet.term().map(|term| u64::try_from(term.as_millis()).unwrap_or(u64::MAX));
    let lost = o.ports().fleet.lost_nodes().await?;
    let list = NodeList { nodes: list_nodes(o).await?, lost: lost.shown(), lease_ms: term };
    Ok(Answer(list).into_response())
}

/// `POST /v1/nodes/{node}/cordon`: it takes nothing new; what it runs goes on.
pub(crate) async fn cordon(
    State(context): State<Context>,
    Extension(caller): Extension<Caller>,
    Extension(request): Extension<RequestId>,
    path: PathNames,
    body: OptionalJson,
) -> Result<Response, Problem> {
    change(&context.orchestrator, &caller, &request, &path, body, Wish::Cordon).await
}

/// `POST /v1/nodes/{node}/uncordon`: it takes work again.
pub(crate) async fn uncordon(
    State(context): State<Context>,
    Extension(caller): Extension<Caller>,
    Extension(request): Extension<RequestId>,
    path: PathNames,
    body: OptionalJson,
) -> Result<Response, Problem> {
    change(&context.orchestrator, &caller, &request, &path, body, Wish::Uncordon).await
}

/// `POST /v1/nodes/{node}/drain`: it takes nothing new, and its server ends once nothing runs there any more.
pub(crate) async fn drain(
    State(context): State<Context>,
    Extension(caller): Extension<Caller>,
    Extension(request): Extension<RequestId>,
    path: PathNames,
    body: OptionalJson,
) -> Result<Response, Problem> {
    change(&context.orchestrator, &caller, &request, &path, body, Wish::Drain).await
}

/// `DELETE /v1/nodes/{node}`: takes a node that is gone off the list; with `?lost=true` it is declared lost for good, and
/// records whose work only it had may be removed by the others.
pub(crate) async fn remove(
    State(context): State<Context>,
    Extension(caller): Extension<Caller>,
    Extension(request): Extension<RequestId>,
    path: PathNames,
    params: Params,
) -> Result<Response, Problem> {
    let mut r = params.reader(&["lost", "reason"]);
    let is_lost = r.switch("lost").unwrap_or(false);
    let reason = r.text("reason").map(|text| context.orchestrator.hide(text.to_owned()));
    if reason.as_ref().is_some_and(|text| text.len() > limits::REASON_BYTES) {
        r.fault("reason", "range", format!("is longer than {} bytes", limits::REASON_BYTES));
    }
    r.finish()?;
    let (o, node) = (&context.orchestrator, path.get::<NodeId>("node")?);
    let action = if is_lost { Action::NodeLost } else { Action::NodeRemove };
    o.audit(caller.audit_entry(o, action, &request).subject(&node).reason(reason.as_deref())).await?;
    let (by, at) = (by(&request), o.now());
    let lost = is_lost.then(|| LostNode { node: node.clone(), by: by.clone(), reason, at });
    match o.remove_node(&node, lost.as_ref(), &by).await? {
        NodeRemoval::Done => {
            Ok(Answer(NodeRemoved { node: node.to_string(), lost: is_lost }).into_response())
        }
        NodeRemoval::Unknown => Err(unknown(&node)),
        NodeRemoval::Alive(seen) => {
            Err(active(&node, &format!("its last heartbeat came at {}", seen.to_rfc3339())))
        }
        NodeRemoval::Holds(until) => {
            Err(active(&node, &format!("it holds leases until {}", until.to_rfc3339())))
        }
    }
}

fn unknown(node: &NodeId) -> Problem {
    let what = format!("no node of the fleet has the name {node}");
    Problem::new(Code::NodeNotFound, what).hint("GET /v1/nodes lists them")
}

fn active(node: &NodeId, why: &str) -> Problem {
    Problem::new(Code::NodeActive, format!("node {node} is not gone: {why}; nothing was changed"))
        .hint(format!(
            "mosaic nodes drain {node} takes it out of service; a lost one can go once its leases are over"
        ))
        .with("node", node.as_str())
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Wish {
    Cordon,
    Uncordon,
    Drain,
}

async fn change(
    o: &Arc<Orchestrator>,
    caller: &Caller,
    request: &RequestId,
    path: &PathNames,
    body: OptionalJson,
    wish: Wish,
) -> Result<Response, Problem> {
    let (node, reason) = (path.get::<NodeId>("node")?, body.reason(o)?);
    let action = match wish {
        Wish::Cordon => Action::NodeCordon,
        Wish::Uncordon => Action::NodeUncordon,
        Wish::Drain => Action::NodeDrain,
    };
    o.audit(caller.audit_entry(o, action, request).subject(&node).reason(reason.as_deref())).await?;
    let stands = Cordon { by: by(request), reason, at: o.now(), drain: wish == Wish::Drain };
    let stands = Some(stands).filter(|_| wish != Wish::Uncordon);
    if !o.cordon(&node, stands).await? {
        return Err(unknown(&node));
    }
    let now = list_nodes(o).await?.into_iter().find(|view| view.node == node.as_str());
    Ok(Answer(now.ok_or_else(|| unknown(&node))?).into_response())
}
