//! Gates of one agent: what will judge it, what was found, and each gate's log.

use axum::Json as Answer;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use mosaic_core::domain::ids::Word;
use serde_json::json;

use crate::context::Context;
use crate::mask::{self, stream_files};
use crate::params::{Id, PathNames};
use crate::problem::{Code, Problem};

/// `GET /v1/agents/{id}/gates`.
pub(crate) async fn show(State(context): State<Context>, Id(id): Id) -> Result<Response, Problem> {
    let record = context.orchestrator.agent(id).await?;
    let agent = &record.agent;
    let mut answer = json!({
        "agentId": id, "taskId": &agent.spec.task_id, "profile": agent.spec.gate_profile, "verdict": agent.verdict(),
        "phase": agent.phase(), "fixRound": agent.fix_round, "maxFixRounds": agent.spec.max_fix_rounds,
        "plan": &agent.work.plan, "report": &agent.work.report, "findings": &agent.work.findings,
    });
    // Commands of the base and what gates said may hold a value of the server's own.
    for part in ["plan", "report", "findings"] {
        mask::texts(&*context.orchestrator.ports().scanner, &mut answer[part]);
    }
    Ok(Answer(answer).into_response())
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
