//! Removing ended agents: one by its id, and many by age. Work that is nowhere else goes only when its agent's name, or
//! the number of such agents, is given.

use std::time::Duration;

use axum::Extension;
use axum::Json as Answer;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use mosaic_api::Pruned;
use mosaic_core::domain::audit::{Action, AuditEntry};
use mosaic_core::domain::spec::FieldError;
use mosaic_core::limits;
use mosaic_core::ports::store::EndedAfter;
use mosaic_core::removal::prune::PruneRequest;
use serde_json::{Map, Value};

use crate::agents::to_the_end;
use crate::body::{OptionalJson, unknown};
use crate::caller::Caller;
use crate::context::Context;
use crate::params::{Id, Params};
use crate::problem::Problem;
use crate::shell::RequestId;
use crate::view::Shown;

/// Age of ended agents that are pruned when none is given.
const OLDER_THAN: Duration = Duration::from_secs(30 * 24 * 3600);
/// Fields of the body of a prune.
const FIELDS: &[&str] = &["olderThan", "dryRun", "force", "cursor"];

/// `DELETE /v1/agents/{id}`; with `?discard=NAME` also when its work is nowhere else.
pub(crate) async fn remove(
    State(context): State<Context>,
    Extension(caller): Extension<Caller>,
    Extension(request): Extension<RequestId>,
    Id(id): Id,
    params: Params,
) -> Result<Response, Problem> {
    let mut r = params.reader(&["discard"]);
    let discard = r.text("discard").map(str::to_owned);
    r.finish()?;
    let why = format!("removed by HTTP request {}", request.0);
    let action = if discard.is_some() { Action::Discard } else { Action::Remove };
    let by = caller.audit_entry(&context.orchestrator, action, &request);
    let removal = move |o: std::sync::Arc<mosaic_core::Orchestrator>| async move {
        Box::pin(o.remove(id, discard.as_deref(), &why, &by)).await
    };
    let removed = to_the_end(&context.orchestrator, removal).await??;
    Ok(Answer(removed.shown()).into_response())
}

/// `POST /v1/prune`: one page of agents; `nextCursor` goes on.
pub(crate) async fn prune(
    State(context): State<Context>,
    Extension(caller): Extension<Caller>,
    Extension(request): Extension<RequestId>,
    body: OptionalJson,
) -> Result<Response, Problem> {
    let by = caller.audit_entry(&context.orchestrator, Action::Prune, &request);
    let mut wanted = read(body.object()?, by)?;
    wanted.why = format!("pruned by HTTP request {}", request.0);
    if wanted.force.is_some() {
        wanted.by.action = Action::Force.as_str().to_owned();
    }
    let dry_run = wanted.dry_run;
    let prune =
        move |o: std::sync::Arc<mosaic_core::Orchestrator>| async move { Box::pin(o.prune(&wanted)).await };
    let pruned = to_the_end(&context.orchestrator, prune).await??;
    let next = pruned.next.map(|place| format!("{:x}-{:x}", place.at, place.seq));
    let elsewhere = pruned.elsewhere.iter().map(|(node, count)| (node.to_string(), *count)).collect();
    let answer = Pruned {
        removed: pruned.removed,
        unmerged: pruned.unmerged.shown(),
        elsewhere,
        errors: pruned.errors,
        freed_bytes: pruned.freed_bytes,
        dry_run,
        next_cursor: next,
    };
    Ok(Answer(answer).into_response())
}

fn read(fields: Map<String, Value>, by: AuditEntry) -> Result<PruneRequest, Problem> {
    let mut wanted = PruneRequest {
        older_than: OLDER_THAN,
        dry_run: false,
        force: None,
        after: EndedAfter::default(),
        everywhere: true,
        why: String::new(),
        by,
    };
    let mut errors = Vec::new();
    for (key, value) in fields {
        let wrong = match (key.as_str(), &value) {
            (_, Value::Null) => None,
            ("olderThan", Value::String(text)) => match age(text) {
                Some(age) => {
                    wanted.older_than = age;
                    None
                }
                None => Some("must be a time such as 30d, 12h or 0s"),
            },
            ("dryRun", Value::Bool(yes)) => {
                wanted.dry_run = *yes;
                None
            }
            ("force", Value::Bool(false)) => None,
            ("force", Value::Number(n)) if n.as_u64().is_some() => {
                wanted.force = n.as_u64();
                None
            }
            ("force", _) => {
                Some("must be the number of agents whose work would be lost, as a dry run says it")
            }
            ("cursor", Value::String(text)) => match place(text) {
                Some(place) => {
                    wanted.after = place;
                    None
                }
                None => Some("is no cursor of this server"),
            },
            (known, _) if FIELDS.contains(&known) => Some("has the wrong type"),
            (other, _) => {
                let (pointer, code) = (format!("/{}", other.escape_debug()), "unknown".to_owned());
                errors.push(FieldError { pointer, code, message: unknown(other, "field", FIELDS) });
                None
            }
        };
        if let Some(message) = wrong {
            let (pointer, code) = (format!("/{key}"), "invalid".to_owned());
            errors.push(FieldError { pointer, code, message: message.to_owned() });
        }
    }
    if errors.is_empty() { Ok(wanted) } else { Err(Problem::invalid(errors)) }
}

/// Reads a time such as `30d`; at most [`limits::LONGEST_AGE`].
fn age(text: &str) -> Option<Duration> {
    humantime::parse_duration(text).ok().filter(|age| *age <= limits::LONGEST_AGE)
}

fn place(text: &str) -> Option<EndedAfter> {
    let (at, seq) = text.split_once('-')?;
    let number = |part: &str| u64::from_str_radix(part, 16).ok().map(|n| n.min(i64::MAX as u64));
    Some(EndedAfter { at: number(at)?, seq: number(seq)? })
}
