//! Decisions that people are asked for: the list over the fleet, and the answers.

use axum::Extension;
use axum::Json as Answer;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use mosaic_api::{AttentionAnswered, AttentionList, Code, OpenAttention};
use mosaic_core::attention::{AnswerError, Answered, AttentionId};
use mosaic_core::domain::agent::{AttentionAnswer, AttentionKind};
use mosaic_core::domain::audit::Action;
use mosaic_core::limits;
use mosaic_core::ports::store::Versioned;
use serde_json::Value;

use crate::agents::{note, to_the_end};
use crate::body::OptionalJson;
use crate::caller::Caller;
use crate::context::Context;
use crate::params::{Params, PathNames};
use crate::problem::Problem;
use crate::shell::RequestId;
use crate::view::{self, Shown};

/// `GET /v1/attention`: open decisions, oldest first.
pub(crate) async fn list(State(context): State<Context>, params: Params) -> Result<Response, Problem> {
    let mut r = params.reader(&["limit", "cursor"]);
    let limit = r.number("limit", 1..=limits::HTTP_PAGE as u64).map_or(50, |n| n as usize);
    let cursor = r.text("cursor").map(str::parse::<AttentionId>);
    if let Some(Err(e)) = &cursor {
        r.fault("cursor", "invalid", e.to_string());
    }
    r.finish()?;
    let records = context.orchestrator.attention().await?;
    let mut open: Vec<(AttentionId, OpenAttention)> = records.iter().flat_map(opened).collect();
    let place = |id: &AttentionId| (id.since, id.agent, id.kind.as_str());
    open.sort_by_key(|(id, _)| place(id));
    if let Some(Ok(after)) = cursor {
        open.retain(|(id, _)| place(id) > place(&after));
    }
    let more = open.len() > limit;
    open.truncate(limit);
    let next_cursor = open.last().filter(|_| more).map(|(id, _)| id.to_string());
    let items = open.into_iter().map(|(_, one)| one).collect();
    Ok(Answer(AttentionList { items, next_cursor }).into_response())
}

fn opened(record: &Versioned) -> Vec<(AttentionId, OpenAttention)> {
    let agent = &record.agent;
    let one = |attention: &mosaic_core::domain::agent::Attention| {
        let id = AttentionId::of(agent, attention);
        let shown = OpenAttention {
            id: id.to_string(),
            agent_id: agent.id.to_string(),
            name: agent.name.clone(),
            task_id: agent.spec.task_id.to_string(),
            node: agent.node.as_ref().map(ToString::to_string),
            kind: attention.kind.shown(),
            since: attention.since.shown(),
            message: attention.summary.clone(),
            next: advice(attention.kind).to_owned(),
            answers: attention.kind.answers().iter().map(Shown::shown).collect(),
        };
        (id, shown)
    };
    agent.attention.iter().map(one).collect()
}

/// Returns the advice for the next step.
fn advice(kind: AttentionKind) -> &'static str {
    match kind {
        AttentionKind::Stalled => {
            "look at its transcript; \"wait\" lets its silence count from now on, \"kill\" ends it; without an answer its attempt is ended and repeated"
        }
        AttentionKind::Quota => {
            "it starts by itself at the end of the limit, or once another credential is in force; \"kill\" ends it"
        }
        _ => "look at its status and its transcript; \"kill\" ends it",
    }
}

/// `POST /v1/attention/{id}/answer`.
pub(crate) async fn answer(
    State(context): State<Context>,
    Extension(caller): Extension<Caller>,
    Extension(request): Extension<RequestId>,
    names: PathNames,
    mut body: OptionalJson,
) -> Result<Response, Problem> {
    let id: AttentionId = names.text("id").parse().map_err(|e: mosaic_core::attention::NoAttentionId| {
        Problem::new(Code::AttentionNotFound, e.to_string()).hint("GET /v1/attention lists the open ones")
    })?;
    let answer = read(body.take("answer"))?;
    let reason = body.reason(&context.orchestrator)?;
    let entry = caller.audit_entry(&context.orchestrator, Action::AttentionAnswer, &request).subject(id);
    let entry = entry.reason(reason.as_deref());
    let (by, note) = (entry.actor.clone(), note(&request, reason));
    let done = to_the_end(&context.orchestrator, move |o| async move {
        if answer == AttentionAnswer::Kill {
            o.audit_soon(entry.clone().result("kill: ordered"));
        }
        let done = Box::pin(o.answer_attention(id, answer, &by, &note)).await;
        let result = match &done {
            Ok(done) if !done.confirmed => format!("{}: not verified in time", answer.as_str()),
            Ok(done) if done.changed => format!("{}: done", answer.as_str()),
            Ok(_) => format!("{}: was answered so already", answer.as_str()),
            Err(e) => format!("{}: not done: {e}", answer.as_str()),
        };
        o.audit_soon(entry.result(result));
        done
    });
    let Answered { record, changed, confirmed } = done.await??;
    let agent = view::status(&record.agent);
    let status = if confirmed { StatusCode::OK } else { StatusCode::ACCEPTED };
    let answered = AttentionAnswered { id: id.to_string(), answer: answer.shown(), changed, agent };
    Ok((status, Answer(answered)).into_response())
}

fn read(answer: Option<Value>) -> Result<AttentionAnswer, Problem> {
    let known = AttentionAnswer::ALL.map(AttentionAnswer::as_str);
    let given = answer.as_ref().and_then(Value::as_str);
    let found = AttentionAnswer::ALL.into_iter().find(|one| Some(one.as_str()) == given);
    found.ok_or_else(|| Problem::field("/answer", format!("must be one of: {}", known.join(", "))))
}

impl From<AnswerError> for Problem {
    fn from(e: AnswerError) -> Self {
        match e {
            AnswerError::Closed { agent, .. } => Self::new(Code::AttentionClosed, e.to_string())
                .hint("nothing was done; GET /v1/attention lists the open ones")
                .with("agentId", agent.to_string()),
            AnswerError::NotTaken(_) => Self::field("/answer", e.to_string()),
            AnswerError::Store(e) => e.into(),
        }
    }
}
