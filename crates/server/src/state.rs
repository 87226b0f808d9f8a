//! `GET /v1/state`: the node in one small snapshot, for status bars, `doctor` and the dashboard. Cheap enough to be asked
//! every second; a caller that has it already gets `304`.

use axum::Json as Answer;
use axum::extract::State;
use axum::http::header::ETAG;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use mosaic_api::{Admission, NodeCount, NodeSlots, NodeState, Quota};
use mosaic_core::domain::quota::Held;
use mosaic_core::limits;
use mosaic_core::monitor::state::{Dispatch, NodeSnapshot};
use sha2::{Digest, Sha256};

use crate::context::Context;
use crate::params::Params;
use crate::problem::Problem;
use crate::tags::is_known;
use crate::view::{self, Shown};

/// `GET /v1/state`.
pub(crate) async fn show(
    State(context): State<Context>,
    params: Params,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    params.reader(&[]).finish()?;
    let state = context.orchestrator.state().await?;
    let mut body = view(&context, state);
    let tag = tag(&body)?;
    if is_known(&headers, &tag) {
        return Ok((StatusCode::NOT_MODIFIED, [(ETAG, tag)]).into_response());
    }
    body.uptime_seconds = context.orchestrator.now().since(context.options.started_at).as_secs();
    body.clock = context.orchestrator.clocks().offset().shown();
    Ok(([(ETAG, tag)], Answer(body)).into_response())
}

/// Returns the tag of a snapshot. What changes by itself is left out: uptime, memory and load, how long a breaker waits.
fn tag(body: &NodeState) -> Result<String, Problem> {
    let mut steady = body.clone();
    (steady.admission.memory_bytes, steady.admission.load_per_core) = (None, None);
    steady.breakers.iter_mut().for_each(|breaker| breaker.retry_in_ms = None);
    let digest = Sha256::digest(serde_json::to_vec(&steady).map_err(|_| Problem::internal())?);
    let tag: String = base16ct::lower::encode_string(&digest[..8]);
    Ok(format!("W/\"{tag}\""))
}

fn view(context: &Context, state: NodeSnapshot) -> NodeState {
    let (orchestrator, options) = (&context.orchestrator, &context.options);
    let scanner = &*orchestrator.ports().scanner;
    let quota = |held: &Held| Quota {
        // Whose credential it is says the runtime's name; the mark after it is of no use to people.
        runtime: held.credential.split(':').next().unwrap_or_default().to_owned(),
        until: held.until.shown(),
        why: scanner.mask(&held.why),
    };
    let capacity = orchestrator.settings().capacity;
    let dispatch = match state.dispatch {
        Dispatch::Running => "running",
        Dispatch::Paused => "paused",
        Dispatch::Held => "held",
        Dispatch::Stopped => "stopped",
    };
    let admission = Admission {
        open: state.held.is_none(),
        reason: state.held,
        memory_bytes: state.host_load.memory_bytes,
        memory_floor_bytes: capacity.memory_bytes,
        load_per_core: state.host_load.load_per_core,
        load_ceiling: capacity.load_per_core,
        disk_floor_bytes: limits::DISK_FLOOR_BYTES,
    };
    NodeState {
        node: state.node.to_string(),
        version: options.version.to_owned(),
        started_at: options.started_at.shown(),
        counts: state.counts.shown(),
        slots: NodeSlots { total: state.slots, used: state.used },
        dispatch: dispatch.to_owned(),
        pause: state.pause.shown(),
        admission,
        breakers: view::breakers(&state.breakers, scanner),
        quotas: state.quotas.iter().map(quota).collect(),
        attention: state.attention,
        stalled: state.stalled,
        with_warnings: state.warnings,
        cleanup_pending: state.cleanup_pending,
        nodes: NodeCount { total: state.nodes.0, alive: state.nodes.1 },
        cordoned: state.cordon.is_some(),
        cordon: state.cordon.shown(),
        missing_runtimes: state.missing.shown(),
        uptime_seconds: 0,
        clock: None,
    }
}
