//! Gates of one agent: what will judge it and what was found, as JSON, JUnit XML or SARIF.

use axum::Json as Answer;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use mosaic_api::AgentGates;
use mosaic_api::Code;

use crate::context::Context;
use crate::mask;
use crate::negotiate::choose;
use crate::params::Id;
use crate::problem::Problem;
use crate::view::Shown;
use crate::{gates_junit, gates_sarif};

const JSON: &str = "application/json";
const JUNIT: &str = "application/xml";
const SARIF: &str = "application/sarif+json";

/// `GET /v1/agents/{id}/gates`.
pub(crate) async fn show(
    State(context): State<Context>,
    Id(id): Id,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let form = choose(&headers, &[JSON, JUNIT, SARIF])?;
    let record = context.orchestrator.agent(id).await?;
    let agent = &record.agent;
    // Commands of the base and output of gates may hold a value of the server's own.
    let scanner = &*context.orchestrator.ports().scanner;
    let gates = AgentGates {
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
    };
    if form == JSON {
        return Ok(Answer(gates).into_response());
    }
    // A file of results without one result would look as if all were well.
    let report = gates.report.as_ref().ok_or_else(|| {
        Problem::new(Code::LogNotFound, "no commit of this agent has been judged yet")
            .hint(format!("GET /v1/agents/{id}/gates as JSON says what will judge it"))
    })?;
    let text = match form {
        JUNIT => gates_junit::write(&gates, report),
        _ => gates_sarif::write(&gates, report, context.options.version).map_err(|_| Problem::internal())?,
    };
    Ok(([(CONTENT_TYPE, form)], text).into_response())
}
