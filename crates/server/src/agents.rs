//! The contract: spawn, status, kill, kill-all, at the paths of the NestJS orchestrator and under `/v1`.

use std::sync::Arc;

use axum::Extension;
use axum::Json as Answer;
use axum::extract::State;
use axum::http::header::LOCATION;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use mosaic_api::{KillAll, StatusView};
use mosaic_core::Orchestrator;
use mosaic_core::domain::agent::{Phase, Status};
use mosaic_core::domain::audit::Action;
use mosaic_core::domain::lifecycle::KillCause;
use mosaic_core::kill::Killed;
use mosaic_core::orchestrator::{SpawnError, Spawned};
use mosaic_core::ports::store::{Idempotency, StoreError};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::body::{Json, OptionalJson};
use crate::caller::Caller;
use crate::context::Context;
use crate::params::{Id, Params};
use crate::problem::Problem;
use crate::shell::RequestId;
use crate::view::{self, Shown, agent_path};

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// `POST /agents/spawn`, `POST /v1/agents`.
pub(crate) async fn spawn(
    State(context): State<Context>,
    uri: Uri,
    params: Params,
    headers: HeaderMap,
    Json(body): Json,
) -> Result<Response, Problem> {
    let mut query = params.reader(&["validate"]);
    let look_first = match query.text("validate") {
        None => false,
        Some("remote") => true,
        Some(_) => {
            query.fault("validate", "invalid", "must be \"remote\"");
            false
        }
    };
    query.finish()?;
    let idempotency = idempotency(&headers, uri.path(), &body)?;
    let orchestrator = &context.orchestrator;
    if look_first {
        let spec = orchestrator.validate(&body)?;
        let place = &spec.context;
        let fetched =
            orchestrator.ports().publisher.fetch(&place.repository, &place.branch, &place.branch).await;
        fetched.map_err(Problem::remote)?;
    }
    match orchestrator.spawn(&body, idempotency).await {
        Ok(spawned) => created(orchestrator, &spawned).await,
        Err(e) => Err(refused(orchestrator, e).await),
    }
}

/// Says who works on the task, when that is the reason.
pub(crate) async fn refused(orchestrator: &Orchestrator, e: SpawnError) -> Problem {
    let SpawnError::Store(StoreError::TaskActive { agent }) = e else { return e.into() };
    // The refusal is certain. A record that cannot be read now must not turn it into another error.
    let active = orchestrator.glance(agent).await.ok();
    Problem::task_active(agent, active.as_ref().map(|record| &record.agent))
}

/// Answers that an agent was admitted. A replay says what the first answer said: the status of then.
pub(crate) async fn created(orchestrator: &Orchestrator, spawned: &Spawned) -> Result<Response, Problem> {
    let agent = &spawned.record.agent;
    let (status, phase) = match spawned.replayed {
        true => (Status::Spawning, Phase::Queued),
        false => (agent.status(), agent.phase()),
    };
    // The agent is durable by now: a position that cannot be read must not turn the answer into an error.
    let queue_position = orchestrator.ports().store.position(agent.id).await.ok().flatten();
    let view = mosaic_api::Spawned {
        agent_id: agent.id.to_string(),
        status: status.shown(),
        phase: phase.shown(),
        queue_position,
        name: agent.name.clone(),
        task_id: agent.spec.task_id.to_string(),
        branch: agent.branch.to_string(),
        previous_agent_id: agent.previous.shown(),
        links: view::links(agent.id),
    };
    let mut response =
        (StatusCode::CREATED, [(LOCATION, agent_path(agent.id))], Answer(view)).into_response();
    if spawned.replayed {
        response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
    }
    Ok(response)
}

/// Reads the caller's idempotency key; the fingerprint is over method, path and the body with sorted keys.
pub(crate) fn idempotency(
    headers: &HeaderMap,
    path: &str,
    body: &Value,
) -> Result<Option<Idempotency>, Problem> {
    let mut values = headers.get_all(IDEMPOTENCY_KEY).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let bytes = value.as_bytes();
    let is_key = (1..=255).contains(&bytes.len()) && bytes.iter().all(u8::is_ascii_graphic);
    let (true, None, Ok(key)) = (is_key, values.next(), value.to_str()) else {
        return Err(Problem::field(
            "/headers/idempotency-key",
            "must be one value of 1 to 255 visible ASCII characters",
        ));
    };
    let digest = Sha256::digest(format!("POST\n{path}\n{body}"));
    let fingerprint = base16ct::lower::encode_string(&digest);
    Ok(Some(Idempotency { key: key.to_owned(), fingerprint }))
}

/// `GET /agents/{id}/status`.
pub(crate) async fn status(State(context): State<Context>, Id(id): Id) -> Result<Response, Problem> {
    let record = context.orchestrator.glance(id).await?;
    let frozen = context.orchestrator.is_frozen(id);
    let work = context.orchestrator.kept_work(&record).await;
    let warnings = view::warnings(&record.agent, &work);
    let archive = view::archive_fault(&context.orchestrator, &record);
    Ok(Answer(StatusView { frozen, warnings, archive, ..view::status(&record.agent) }).into_response())
}

/// `POST /agents/{id}/kill`, `POST /v1/agents/{id}/kill`.
pub(crate) async fn kill(
    State(context): State<Context>,
    Extension(caller): Extension<Caller>,
    Extension(request): Extension<RequestId>,
    Id(id): Id,
    body: OptionalJson,
) -> Result<Response, Problem> {
    let reason = body.reason(&context.orchestrator)?;
    let entry = caller
        .audit_entry(&context.orchestrator, Action::Kill, &request)
        .subject(id)
        .reason(reason.as_deref());
    let note = note(&request, reason);
    let killed = to_the_end(&context.orchestrator, move |o| async move {
        // Within the task, because a caller that hangs up must not leave a kill without its entry. No stop waits for
        // the log.
        o.audit_soon(entry.clone().result("ordered"));
        let killed = o.kill(id, KillCause::Operator, &note).await;
        o.audit_soon(entry.result(kill_result(&killed)));
        killed
    });
    let Killed { record, already_terminal, confirmed, receipt, elsewhere } = killed.await??;
    let view = mosaic_api::Killed {
        agent: view::status(&record.agent),
        verified: confirmed,
        already_terminal,
        receipt: receipt.shown(),
        seen_at: elsewhere.as_ref().and_then(|other| other.seen_at).shown(),
        lease_expires_at: elsewhere.as_ref().and_then(|other| other.lease_expires_at).shown(),
        node: elsewhere.map(|other| other.node.to_string()),
    };
    Ok(match confirmed {
        true => Answer(view).into_response(),
        false => (StatusCode::ACCEPTED, [(LOCATION, agent_path(id))], Answer(view)).into_response(),
    })
}

/// `POST /agents/kill-all`, `POST /v1/agents/kill-all`. A second call while one runs does not join it: it too must
/// end what was spawned between the two.
pub(crate) async fn kill_all(
    State(context): State<Context>,
    Extension(caller): Extension<Caller>,
    Extension(request): Extension<RequestId>,
    body: OptionalJson,
) -> Result<Response, Problem> {
    let (by, reason) = (by(&request), body.reason(&context.orchestrator)?);
    let entry =
        caller.audit_entry(&context.orchestrator, Action::KillAll, &request).reason(reason.as_deref());
    let report = to_the_end(&context.orchestrator, move |o| async move {
        o.audit_soon(entry.clone().result("ordered"));
        let report = o.kill_all(&by, reason).await;
        o.audit_soon(entry.result(format!(
            "{} killed, {} failed, {} of them queued",
            report.killed, report.failed, report.queued
        )));
        report
    });
    let report = report.await?;
    let message = format!("Kill all completed: {} killed, {} failed", report.killed, report.failed);
    Ok(Answer(KillAll { message: Some(message), ..report.shown() }).into_response())
}

/// Returns the result of a kill in the words of the audit log.
fn kill_result(killed: &Result<Killed, StoreError>) -> String {
    match killed {
        Ok(killed) if killed.already_terminal => "had already ended".to_owned(),
        Ok(killed) => {
            let processes = killed.receipt.as_ref().and_then(|receipt| receipt.processes.as_ref());
            let counts = processes.map(|r| (r.processes_before, r.processes_after));
            let proof = if killed.confirmed { "killed, verified" } else { "not confirmed in time" };
            counts.map_or_else(
                || proof.to_owned(),
                |(before, after)| format!("{proof}: {before} processes before, {after} after"),
            )
        }
        Err(e) => format!("not done: {e}"),
    }
}

/// Names the origin of an order, for the record.
pub(crate) fn by(RequestId(id): &RequestId) -> String {
    format!("HTTP request {id}")
}

pub(crate) fn note(request: &RequestId, reason: Option<String>) -> String {
    format!("{} ({})", reason.as_deref().unwrap_or("no reason given"), by(request))
}

/// Carries an order out even when the caller hangs up: dropping it halfway would leave some killed and some not.
/// The order has a deadline of its own, so the task does too.
pub(crate) async fn to_the_end<T, F, Fut>(orchestrator: &Arc<Orchestrator>, order: F) -> Result<T, Problem>
where
    F: FnOnce(Arc<Orchestrator>) -> Fut,
    Fut: Future<Output = T> + Send + 'static,
    T: Send + 'static,
{
    tokio::spawn(order(Arc::clone(orchestrator))).await.map_err(|_| Problem::internal())
}
