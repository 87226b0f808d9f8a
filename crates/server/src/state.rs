//! `GET /v1/state`: the node in one small snapshot, for status bars, `doctor` and the dashboard. Cheap enough to be asked
//! every second; a caller that has it already gets `304`.

use axum::Json as Answer;
use axum::extract::State;
use axum::http::header::ETAG;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use mosaic_core::limits;
use mosaic_core::monitor::NodeState;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::context::Context;
use crate::node_view::{BreakerView, CordonView, clock_view};
use crate::params::Params;
use crate::problem::Problem;
use crate::tags::is_known;
use crate::view::PauseView;

/// `GET /v1/state`.
pub(crate) async fn show(
    State(context): State<Context>,
    params: Params,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    params.reader(&[]).finish()?;
    let state = context.orchestrator.state().await?;
    let mut body = view(&context, state);
    // Only what changes by itself is left out of the tag: uptime, what the machine says, how long a breaker waits.
    let mut steady = body.clone();
    steady["admission"]["memoryBytes"] = Value::Null;
    steady["admission"]["loadPerCore"] = Value::Null;
    for breaker in steady["breakers"].as_array_mut().into_iter().flatten() {
        breaker["retryInMs"] = Value::Null;
    }
    let digest = Sha256::digest(steady.to_string());
    let tag: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    let tag = format!("W/\"{tag}\"");
    if is_known(&headers, &tag) {
        return Ok((StatusCode::NOT_MODIFIED, [(ETAG, tag)]).into_response());
    }
    let uptime = context.orchestrator.now().since(context.options.started_at);
    body["uptimeSeconds"] = json!(uptime.as_secs());
    body["clock"] = json!(context.orchestrator.clock_offset().map(clock_view));
    Ok(([(ETAG, tag)], Answer(body)).into_response())
}

fn view(context: &Context, state: NodeState) -> Value {
    let (orchestrator, options) = (&context.orchestrator, &context.options);
    let scanner = &orchestrator.ports().scanner;
    let breakers: Vec<BreakerView> =
        state.breakers.iter().map(|breaker| BreakerView::of(breaker, &**scanner)).collect();
    let quotas: Vec<Value> = state
        .quotas
        .into_iter()
        .map(|held| {
            // Whose credential it is says the runtime's name; the mark after it is of no use to people.
            let runtime = held.credential.split(':').next().unwrap_or_default().to_owned();
            json!({"runtime": runtime, "until": held.until.to_rfc3339(), "why": scanner.mask(&held.why)})
        })
        .collect();
    let floors = orchestrator.settings().floors;
    json!({
        "node": state.node, "version": options.version, "startedAt": options.started_at.to_rfc3339(),
        "counts": state.counts,
        "slots": {"total": state.slots, "used": state.used},
        "dispatch": state.dispatch, "pause": state.pause.map(PauseView::from),
        "admission": {"open": state.held.is_none(), "reason": state.held,
            "memoryBytes": state.reading.memory_bytes, "memoryFloorBytes": floors.memory_bytes,
            "loadPerCore": state.reading.load_per_core, "loadCeiling": floors.load_per_core,
            "diskFloorBytes": limits::DISK_FLOOR_BYTES},
        "breakers": breakers, "quotas": quotas,
        "attention": state.attention, "stalled": state.stalled, "withWarnings": state.warnings,
        "cleanupPending": state.cleanup_pending,
        "nodes": {"total": state.nodes.0, "alive": state.nodes.1}, "cordoned": state.cordon.is_some(),
        "cordon": state.cordon.as_ref().map(CordonView::of), "missingRuntimes": state.missing,
    })
}
