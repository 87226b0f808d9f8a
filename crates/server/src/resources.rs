//! `GET /v1/agents/{id}/resources`: what an agent uses and the signs of life that it gives. Samples are in the memory of the server
//! that drives the agent; one that is not driven has none.

use axum::Json as Answer;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use mosaic_api::Resources;
use mosaic_core::limits;
use mosaic_core::monitor::vitals::Sample;

use crate::context::Context;
use crate::params::{Id, Params};
use crate::problem::Problem;
use crate::view::Shown;

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
    Ok(Answer(Resources {
        agent_id: id.to_string(),
        live: found.live,
        phase: record.agent.phase().shown(),
        in_phase_ms: found.in_phase.map(millis),
        last_event_at: found.last_event.shown(),
        last_output_at: found.last_output.shown(),
        stall: found.stall.shown(),
        now: newest.shown(),
        samples: samples.shown(),
        period_ms: millis(limits::SAMPLE_PERIOD),
    })
    .into_response())
}

impl Shown for Sample {
    type View = mosaic_api::Sample;

    fn shown(&self) -> Self::View {
        mosaic_api::Sample {
            at: self.at.shown(),
            cpu_ms: self.cpu_ms,
            cores: (self.cores * 1000.0).round() / 1000.0,
            memory_bytes: self.memory_bytes,
            processes: self.processes,
            read_bytes: self.read_bytes,
            written_bytes: self.written_bytes,
            disk_bytes: self.disk_bytes,
            disk_more: self.disk_more,
            phase: self.phase.shown(),
            silent_ms: self.silent_ms,
            stall: self.stall.shown(),
        }
    }
}
