//! `GET /v1/agents/{id}/resources`: what an agent uses and how it is heard of. Samples are in the memory of the server
//! that drives the agent; one that is not driven has none.

use axum::Json as Answer;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use mosaic_core::domain::ids::Timestamp;
use mosaic_core::limits;
use mosaic_core::monitor::Sample;
use serde_json::{Value, json};

use crate::context::Context;
use crate::params::{Id, Params};
use crate::problem::Problem;

/// `GET /v1/agents/{id}/resources`: `since` leaves out older samples, `step` thins them out to one per so many seconds.
pub(crate) async fn show(
    State(context): State<Context>,
    Id(id): Id,
    params: Params,
) -> Result<Response, Problem> {
    let mut r = params.reader(&["since", "step"]);
    let since = r.time("since");
    let step = r.duration("step", limits::SAMPLE_PERIOD * u32::try_from(limits::SAMPLES).unwrap_or(u32::MAX));
    r.finish()?;
    let record = context.orchestrator.agent(id).await?;
    let found = context.orchestrator.resources(id);
    let newest = found.samples.last().copied();
    let mut samples = found.samples;
    samples.retain(|sample| since.is_none_or(|since| sample.at >= since));
    if let Some(step) = step {
        let width = u64::try_from(step.as_millis()).unwrap_or(u64::MAX).max(1);
        // The newest of each step stays.
        samples.reverse();
        samples.dedup_by_key(|sample| sample.at.0 / width);
        samples.reverse();
    }
    let millis = |time: std::time::Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    Ok(Answer(json!({
        "agentId": id, "live": found.live, "phase": record.agent.phase(),
        "inPhaseMs": found.in_phase.map(millis),
        "lastEventAt": found.last_event.map(Timestamp::to_rfc3339),
        "lastOutputAt": found.last_output.map(Timestamp::to_rfc3339),
        "stall": found.stall,
        "now": newest.as_ref().map(show_sample),
        "samples": samples.iter().map(show_sample).collect::<Vec<Value>>(),
        "periodMs": millis(limits::SAMPLE_PERIOD),
    }))
    .into_response())
}

fn show_sample(sample: &Sample) -> Value {
    json!({
        "at": sample.at.to_rfc3339(), "cpuMs": sample.cpu_ms, "cores": (sample.cores * 1000.0).round() / 1000.0,
        "memoryBytes": sample.memory_bytes, "processes": sample.processes, "readBytes": sample.read_bytes,
        "writtenBytes": sample.written_bytes, "diskBytes": sample.disk_bytes, "diskMore": sample.disk_more,
        "phase": sample.phase, "silentMs": sample.silent_ms, "stall": sample.stall,
    })
}
