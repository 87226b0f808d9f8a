//! Gates of one agent: what will judge it, what was found, and each gate's log.

use axum::Json as Answer;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use mosaic_api::AgentGates;
use mosaic_api::Code;
use mosaic_core::domain::ids::Word;

use crate::context::Context;
use crate::mask::{self, stream_files};
use crate::params::{Id, PathNames};
use crate::problem::Problem;
use crate::view::Shown;

/// `GET /v1/agents/{id}/gates`.
pub(crate) async fn show(State(context): State<Context>, Id(id): Id) -> Result<Response, Problem> {
    let record = context.orchestrator.agent(id).await?;
    let agent = &record.agent;
    // Commands of the base and output of gates may hold a value of the server's own.
    let scanner = &*context.orchestrator.ports().scanner;
    Ok(Answer(AgentGates {
        agent_id: id.to_string(),
        task_id: agent.spec.task_id.to_string(),
        profile: agent.spec.gate_profile.shown(),
        verdict: agent.verdict().shown(),
        phase: agent.phase().shown(),
        fix_round: agent.fix_round,
        max_fix_rounds: agent.spec.max_fix_rounds,
        plan: mask::view(scanner, agent.work.plan.shown())?,
        report: mask::view(scanner, agent.work.report.shown())?,
        findings: mask::view(scanner, agent.work.findings.shown())?,
    })
    .into_response())
}

/// `GET /v1/agents/{id}/gates/{gate}/log`: what the gate's newest run wrote, secrets masked.
pub(crate) async fn log(
    State(context): State<Context>,
    Id(id): Id,
    path: PathNames,
) -> Result<Response, Problem> {
    let gate: Word = path.get("gate")?;
    let record = context.orchestrator.agent(id).await?;
    let results = record.agent.work.report.iter().flat_map(|report| &report.results);
    let log = results.filter(|result| result.name == gate).find_map(|result| result.log.as_deref());
    let missing = || {
        Problem::new(Code::LogNotFound, format!("there is no log of the gate {gate}"))
            .hint(format!("GET /v1/agents/{id}/gates says which gates ran"))
    };
    let ports = context.orchestrator.ports();
    let file = ports.transcripts.log(id, log.ok_or_else(missing)?);
    match ports.transcripts.piece(id, &file, 0, 1).await {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Err(missing()),
        there => drop(there?),
    }
    Ok(([(CONTENT_TYPE, "text/plain; charset=utf-8")], stream_files(ports, id, vec![file])).into_response())
}
