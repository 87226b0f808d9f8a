//! Waiting work on its way to another store: listed, ended here, and admitted here. `mosaic queue export` and `import` use it.

use axum::Extension;
use axum::Json as Answer;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use mosaic_core::domain::audit::Action;
use mosaic_core::domain::ids::AgentId;
use mosaic_core::transfer::{self, Arrival, Entry};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::body::Json;
use crate::caller::Caller;
use crate::context::Context;
use crate::params::Params;
use crate::problem::Problem;
use crate::shell::RequestId;

/// The body of `POST /v1/queue/export`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Release {
    export: String,
    agents: Vec<AgentId>,
}

/// Its answer.
#[derive(Serialize)]
struct Released {
    released: Vec<AgentId>,
}

/// The body of `POST /v1/queue/import`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Import {
    entries: Vec<Entry>,
}

/// Its answer.
#[derive(Serialize)]
struct Imported {
    /// In the order of the entries.
    arrivals: Vec<Arrival>,
}

fn body<T: DeserializeOwned>(Json(body): Json) -> Result<T, Problem> {
    serde_json::from_value(body).map_err(|e| Problem::field("", format!("cannot be read: {e}")))
}

/// `GET /v1/queue/export`: a page of the unfinished work, with whole records.
pub(crate) async fn unfinished(State(context): State<Context>, params: Params) -> Result<Response, Problem> {
    let mut params = params.reader(&["before"]);
    let before = params.number("before", 0..=u64::MAX);
    params.finish()?;
    let store = &context.orchestrator.ports().store;
    Ok(Answer(transfer::page(&**store, before).await?).into_response())
}

/// `POST /v1/queue/export`: ends waiting agents here, which run where the export is imported.
pub(crate) async fn release(
    State(context): State<Context>,
    Extension(caller): Extension<Caller>,
    Extension(request): Extension<RequestId>,
    json: Json,
) -> Result<Response, Problem> {
    let Release { export, agents } = body(json)?;
    let o = &context.orchestrator;
    let deed = caller.deed(o, Action::QueueExport, &request).subject(&export);
    o.audit(deed.result(format!("{} agents are to leave", agents.len()))).await?;
    let released = transfer::release(&*o.ports().store, &export, &agents, o.decide_now()).await?;
    Ok(Answer(Released { released }).into_response())
}

/// `POST /v1/queue/import`: admits waiting agents of another store.
pub(crate) async fn admit(
    State(context): State<Context>,
    Extension(caller): Extension<Caller>,
    Extension(request): Extension<RequestId>,
    json: Json,
) -> Result<Response, Problem> {
    let Import { entries } = body(json)?;
    let o = &context.orchestrator;
    let deed = caller.deed(o, Action::QueueImport, &request);
    o.audit(deed.result(format!("{} agents come from another store", entries.len()))).await?;
    let mut arrivals = Vec::with_capacity(entries.len());
    for entry in &entries {
        arrivals.push(o.take_in_entry(entry).await?);
    }
    Ok(Answer(Imported { arrivals }).into_response())
}
