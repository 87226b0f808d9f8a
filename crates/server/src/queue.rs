//! The queue: what waits and in which order, what gave up, and whether dispatch is paused.

use std::collections::BTreeMap;

use axum::Extension;
use axum::Json as Answer;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use mosaic_api::{Dispatch, NodeSlots, Queue, QueueEntry};
use mosaic_core::Orchestrator;
use mosaic_core::domain::agent::{QueueCause, State as AgentState};
use mosaic_core::domain::audit::Action;
use mosaic_core::limits;
use mosaic_core::ports::store::{Query, Versioned};

use crate::body::OptionalJson;
use crate::caller::Caller;
use crate::context::Context;
use crate::params::Params;
use crate::problem::Problem;
use crate::shell::RequestId;
use crate::view::{self, Shown};

fn entry(record: &Versioned) -> QueueEntry {
    let agent = &record.agent;
    let end = agent.end();
    let failure = match &agent.state {
        AgentState::Queued { cause } => match cause.origin() {
            QueueCause::Backoff { failure, .. } => Some(failure),
            _ => None,
        },
        _ => None,
    };
    QueueEntry {
        agent_id: agent.id.to_string(),
        task_id: agent.spec.task_id.to_string(),
        agent_type: agent.spec.agent_type.shown(),
        name: agent.name.clone(),
        priority: agent.spec.priority.get(),
        status: agent.status().shown(),
        phase: agent.phase().shown(),
        attempt: agent.attempt,
        spawned_at: agent.spawned_at.shown(),
        not_before: agent.not_before().shown(),
        completed_at: end.map(|end| end.at.shown()),
        end_reason: end.map(|end| end.reason.shown()),
        error: end.and_then(|end| end.error.clone()).or(failure.map(|failure| failure.message.clone())),
        links: view::links(agent.id),
        position: None,
        reason: None,
    }
}

/// Says why an entry still waits: what holds up everything first, then what is its own.
fn reason(
    o: &Orchestrator,
    record: &Versioned,
    all: Option<&str>,
    leased: &BTreeMap<String, usize>,
) -> String {
    if let Some(all) = all {
        return all.to_owned();
    }
    let is_delayed = record.agent.not_before().is_some_and(|at| at > o.now());
    if let Some(held) = o.held_here(&record.agent, leased).filter(|_| !is_delayed) {
        return held;
    }
    let AgentState::Queued { cause } = &record.agent.state else { return String::new() };
    match cause {
        QueueCause::Delayed { why, .. } => why.clone(),
        QueueCause::Backoff { failure, until } if failure.reset.is_some() => {
            format!("the model service's limit is reached until {}: {}", until.to_rfc3339(), failure.message)
        }
        QueueCause::Backoff { failure, .. } => format!("retry after: {}", failure.message),
        QueueCause::Interrupted => "goes on where the server was stopped; waits for a slot".to_owned(),
        QueueCause::Admitted => "waits for a slot".to_owned(),
    }
}

/// `GET /v1/queue`: counts, the entries in the order in which they will start, and the newest dead ones.
pub(crate) async fn show(State(context): State<Context>, params: Params) -> Result<Response, Problem> {
    let mut r = params.reader(&["limit", "offset"]);
    let limit = r.number("limit", 1..=limits::HTTP_PAGE as u64).map_or(50, |n| n as usize);
    let offset = r.number("offset", 0..=limits::QUEUE_ENTRIES).unwrap_or(0);
    r.finish()?;
    let orchestrator = &context.orchestrator;
    let (store, now) = (&orchestrator.ports().store, orchestrator.now());
    let pause = store.pause().await?.shown();
    let counts = store.counts(now).await?;
    let waiting = store.waiting(offset, limit, now).await?;
    let leased = orchestrator.leased_beside(waiting.iter().map(|record| &record.agent)).await;
    let held = orchestrator.blocked().map(|blocked| blocked.message());
    let all = match &pause {
        Some(_) => Some("dispatch is paused"),
        None => held.as_deref(),
    };
    let waits = |(position, record): (u64, &Versioned)| {
        let reason = orchestrator.ports().scanner.mask(&reason(orchestrator, record, all, &leased));
        QueueEntry { position: Some(position), reason: Some(reason), ..entry(record) }
    };
    let waiting = (offset..).zip(&waiting).map(waits).collect();
    let dead = store.list(Query { dead: true, limit, ..Query::default() }).await?;
    let dead = store.whole(dead).await?;
    let dead = dead.iter().map(entry).collect();
    let (paused, draining, counts) = (pause.is_some(), orchestrator.is_draining(), counts.shown());
    let slots = NodeSlots { total: orchestrator.settings().slots, used: orchestrator.running() };
    Ok(Answer(Queue { paused, pause, draining, held, counts, slots, waiting, dead }).into_response())
}

/// `POST /v1/queue/pause`: nothing new starts; what runs goes on.
pub(crate) async fn pause(
    State(context): State<Context>,
    Extension(caller): Extension<Caller>,
    Extension(request): Extension<RequestId>,
    body: OptionalJson,
) -> Result<Response, Problem> {
    let (o, reason) = (&context.orchestrator, body.reason(&context.orchestrator)?);
    // A pause lets nothing start and does not wait for the log, unlike the resumption below.
    o.audit_soon(caller.audit_entry(o, Action::QueuePause, &request).reason(reason.as_deref()));
    o.pause(&format!("HTTP request {}", request.0), reason).await?;
    dispatch(&context).await
}

/// `POST /v1/queue/resume`.
pub(crate) async fn resume(
    State(context): State<Context>,
    Extension(caller): Extension<Caller>,
    Extension(request): Extension<RequestId>,
    body: OptionalJson,
) -> Result<Response, Problem> {
    let (o, reason) = (&context.orchestrator, body.reason(&context.orchestrator)?);
    o.audit(caller.audit_entry(o, Action::QueueResume, &request).reason(reason.as_deref())).await?;
    o.resume(&format!("HTTP request {}", request.0)).await?;
    dispatch(&context).await
}

async fn dispatch(context: &Context) -> Result<Response, Problem> {
    let pause = context.orchestrator.ports().store.pause().await?.shown();
    Ok(Answer(Dispatch { paused: pause.is_some(), pause }).into_response())
}
