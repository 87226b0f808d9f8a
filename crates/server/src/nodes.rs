//! The nodes of the fleet: which there are and how they are, and taking one out of service or back into it.

use std::sync::Arc;

use axum::Extension;
use axum::Json as Answer;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use mosaic_core::Orchestrator;
use mosaic_core::clocks::ClockOffset;
use mosaic_core::domain::audit::Action;
use mosaic_core::domain::ids::{NodeId, Timestamp};
use mosaic_core::limits;
use mosaic_core::ports::fleet::{Cordon, LostNode, NodeInfo, NodeRemoval, NodeState};
use serde_json::{Value, json};

use crate::agents::by;
use crate::body::OptionalJson;
use crate::caller::Caller;
use crate::context::Context;
use crate::node_view::{BreakerView, CordonView, clock_view};
use crate::params::{Params, PathNames};
use crate::problem::{Code, Problem};
use crate::shell::RequestId;

/// Says in one word how a node is.
fn health(state: &NodeState) -> &'static str {
    match (state.alive, state.info.draining, &state.cordon) {
        (false, _, _) => "away",
        (true, true, _) => "draining",
        (true, false, Some(_)) => "cordoned",
        (true, false, None) => "taking",
    }
}

/// Describes one node.
fn view(node: &NodeState, o: &Orchestrator) -> Value {
    let (info, own) = (&node.info, &o.settings().node);
    let cordon = node.cordon.as_ref().map(CordonView::of);
    let scanner = &*o.ports().scanner;
    let breakers: Vec<BreakerView> =
        info.health.breakers.iter().map(|breaker| BreakerView::of(breaker, scanner)).collect();
    json!({
        "node": &info.node, "here": info.node == *own, "alive": node.alive, "seenAt": node.seen_at.to_rfc3339(),
        "leasesEndAt": node.leases_end_at.map(Timestamp::to_rfc3339), "cordon": cordon, "draining": info.draining,
        "slots": {"total": info.slots, "used": info.running}, "version": &info.version, "url": &info.url,
        "clock": clock(info), "labels": &info.labels, "startedAt": info.started_at.to_rfc3339(),
        "health": health(node), "held": &info.health.held, "breakers": breakers, "runtimes": &info.health.runtimes,
        "sandbox": &info.health.sandbox,
    })
}

/// Describes how far a node's wall clock is from the store's; null where that is not known.
fn clock(info: &NodeInfo) -> Option<Value> {
    let (offset_ms, error_ms) = (info.clock_offset_ms?, info.clock_error_ms.unwrap_or(0));
    Some(clock_view(ClockOffset { offset_ms, error_ms }))
}

/// Describes a node that was declared lost for good.
fn lost_view(lost: &LostNode) -> Value {
    json!({"node": &lost.node, "by": &lost.by, "reason": &lost.reason, "at": lost.at.to_rfc3339()})
}

async fn all(o: &Orchestrator) -> Result<Vec<Value>, Problem> {
    Ok(o.nodes().await?.iter().map(|state| view(state, o)).collect())
}

/// `GET /v1/nodes`.
pub(crate) async fn list(State(context): State<Context>, params: Params) -> Result<Response, Problem> {
    params.reader(&[]).finish()?;
    let o = &context.orchestrator;
    let term = o.ports().fleet.term().map(|term| u64::try_from(term.as_millis()).unwrap_or(u64::MAX));
    let lost = o.ports().fleet.lost_nodes().await?;
    let lost: Vec<Value> = lost.iter().map(lost_view).collect();
    Ok(Answer(json!({"nodes": all(o).await?, "lost": lost, "leaseMs": term})).into_response())
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
    let reason = r.text("reason").map(str::to_owned);
    if reason.as_ref().is_some_and(|text| text.len() > limits::REASON_BYTES) {
        r.fault("reason", "range", format!("is longer than {} bytes", limits::REASON_BYTES));
    }
    r.finish()?;
    let (o, node) = (&context.orchestrator, path.get::<NodeId>("node")?);
    let action = if is_lost { Action::NodeLost } else { Action::NodeRemove };
    o.audit(caller.deed(o, action, &request).subject(&node).reason(reason.as_deref())).await?;
    let (by, at) = (by(&request), o.now());
    let lost = is_lost.then(|| LostNode { node: node.clone(), by: by.clone(), reason, at });
    match o.remove_node(&node, lost.as_ref(), &by).await? {
        NodeRemoval::Done => Ok(Answer(json!({"node": node, "lost": is_lost})).into_response()),
        NodeRemoval::Unknown => Err(unknown(&node)),
        NodeRemoval::Alive(seen) => Err(active(&node, &format!("it was heard of at {}", seen.to_rfc3339()))),
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
    let (node, reason) = (path.get::<NodeId>("node")?, body.reason()?);
    let action = match wish {
        Wish::Cordon => Action::NodeCordon,
        Wish::Uncordon => Action::NodeUncordon,
        Wish::Drain => Action::NodeDrain,
    };
    o.audit(caller.deed(o, action, request).subject(&node).reason(reason.as_deref())).await?;
    let stands = Cordon { by: by(request), reason, at: o.now(), drain: wish == Wish::Drain };
    let stands = Some(stands).filter(|_| wish != Wish::Uncordon);
    if !o.cordon(&node, stands).await? {
        return Err(unknown(&node));
    }
    let now = all(o).await?.into_iter().find(|view| view["node"] == json!(&node));
    Ok(Answer(now.unwrap_or_else(|| json!({"node": node}))).into_response())
}
