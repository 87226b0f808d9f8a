//! `POST /api/quality/check`: a commit is judged, and the answer waits for that. A caller that leaves calls the check off.

use std::fmt::Display;
use std::str::FromStr;
use std::sync::Arc;

use axum::Extension;
use axum::Json as Answer;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use mosaic_api::{CheckAnswer, CheckDetails, CheckRequest, CheckResult};
use mosaic_core::coordinator::{Check, Checked, Coordinator};
use mosaic_core::domain::gates::{GateOutcome, GateResult, Verdict};
use mosaic_core::domain::spec::{FieldError, GateProfile};
use mosaic_core::limits;

use crate::body;
use crate::context::Context;
use crate::problem::Problem;
use crate::view::Shown;

/// `POST /api/quality/check`.
pub(super) async fn check(
    State(context): State<Context>,
    Extension(coordinator): Extension<Arc<Coordinator>>,
    request: Request,
) -> Result<Response, Problem> {
    let body = body::json_within(request, &context, limits::CHECK_REQUEST_BYTES).await?;
    let asked: CheckRequest =
        serde_json::from_value(body).map_err(|e| Problem::field("", format!("is no check: {e}")))?;
    let check = parse(&asked)?;
    let checked = coordinator.check(check).await?;
    Ok(Answer(answer(&asked, &checked)).into_response())
}

/// Collects the faults of a body.
#[derive(Default)]
struct Fields(Vec<FieldError>);

impl Fields {
    fn read<T: FromStr<Err: Display>>(&mut self, name: &str, text: &str) -> Option<T> {
        match text.parse() {
            Ok(value) => Some(value),
            Err(e) => {
                self.fault(name, format!("{e}"));
                None
            }
        }
    }

    fn optional<T: FromStr<Err: Display>>(&mut self, name: &str, text: Option<&str>) -> Option<T> {
        text.and_then(|text| self.read(name, text))
    }

    fn fault(&mut self, name: &str, message: String) {
        self.0.push(FieldError { pointer: format!("/{name}"), code: "invalid".to_owned(), message });
    }
}

/// Turns the body into values that cannot be built wrong; names all faults at once.
fn parse(asked: &CheckRequest) -> Result<Check, Problem> {
    let mut fields = Fields::default();
    let f = &mut fields;
    let profile = GateProfile::ALL.into_iter().find(|profile| profile.shown() == asked.profile);
    if profile.is_none() {
        f.fault("profile", "must be strict, standard, minimal or custom".to_owned());
    }
    if asked.gates.len() > limits::GATES {
        f.fault("gates", format!("names more than {} gates", limits::GATES));
    }
    let gates = asked.gates.iter().take(limits::GATES).enumerate();
    let gates = gates.filter_map(|(n, gate)| f.read(&format!("gates/{n}"), gate)).collect();
    let task = f.read("taskId", &asked.task_id);
    let agent = f.read("agentId", &asked.agent_id);
    let repository = f.read("repository", &asked.repository);
    let branch = f.read("branch", &asked.branch);
    let base = f.read("baseCommit", &asked.base_commit);
    let commit = f.read("headCommit", &asked.head_commit);
    let base_branch = f.optional("baseBranch", asked.base_branch.as_deref());
    let bundle = f.optional("bundleId", asked.bundle_id.as_deref());
    let attempt = asked.attempt.unwrap_or(1);
    let (Some(profile), Some(task), Some(agent), Some(repository), Some(branch), Some(base), Some(commit)) =
        (profile, task, agent, repository, branch, base, commit)
    else {
        return Err(Problem::invalid(fields.0));
    };
    if !fields.0.is_empty() {
        return Err(Problem::invalid(fields.0));
    }
    Ok(Check { task, agent, attempt, profile, gates, repository, branch, base_branch, base, commit, bundle })
}

/// Says what was found. Only a verdict to which nothing is missing approves.
fn answer(asked: &CheckRequest, checked: &Checked) -> CheckAnswer {
    let report = &checked.report;
    let approved = report.verdict == Verdict::Passed;
    let red = |result: &&GateResult| !matches!(result.outcome, GateOutcome::Pass | GateOutcome::Skip);
    let first = report.results.iter().find(red);
    let first = first.or_else(|| report.results.iter().find(|result| result.outcome != GateOutcome::Pass));
    let gate = match first {
        Some(result) if !approved => result.name.to_string(),
        _ => asked.profile.to_string(),
    };
    let message = match first {
        Some(result) if !approved => format!("{}: {}", result.name, result.summary),
        _ if approved => format!("{} of {} gates passed", report.results.len(), asked.gates.len()),
        _ => "no gate was run".to_owned(),
    };
    let outputs = checked.outputs.iter().cloned().chain(std::iter::repeat(None));
    let results = report.results.iter().zip(outputs);
    CheckAnswer {
        approved,
        gate,
        message: Some(message),
        details: Some(CheckDetails {
            task_id: asked.task_id.clone(),
            agent_id: asked.agent_id.clone(),
            base_commit: asked.base_commit.clone(),
            head_commit: report.commit.to_string(),
            verdict: report.verdict.shown(),
            isolation: report.isolation.shown(),
            warnings: report.warnings.clone(),
            defined_by: checked.defined_by.clone(),
        }),
        results: results.map(|(result, output)| CheckResult { result: result.shown(), output }).collect(),
    }
}
