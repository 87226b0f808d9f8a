//! Waiting work on its way to another store: listed, ended here, and admitted here. `mosaic queue export` and `import` use it.

use axum::Extension;
use axum::Json as Answer;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use mosaic_api::{ExportRequest, ImportRequest, Imported, Released, TransferEntry, UnfinishedWork};
use mosaic_core::domain::audit::Action;
use mosaic_core::domain::ids::AgentId;
use mosaic_core::domain::spec::FieldError;
use mosaic_core::transfer::{self, Arrival, Entry};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::body::Json;
use crate::caller::Caller;
use crate::context::Context;
use crate::params::Params;
use crate::problem::Problem;
use crate::shell::RequestId;
use crate::view::Shown;

fn body<T: DeserializeOwned>(Json(body): Json) -> Result<T, Problem> {
    read(body)
}

fn read<T: DeserializeOwned>(value: Value) -> Result<T, Problem> {
    serde_json::from_value(value).map_err(|e| Problem::field("", format!("cannot be read: {e}")))
}

fn refuse_known(errors: Vec<FieldError>) -> Result<(), Problem> {
    if errors.is_empty() { Ok(()) } else { Err(Problem::invalid(errors)) }
}

impl Shown for Arrival {
    type View = mosaic_api::Arrival;

    fn shown(&self) -> mosaic_api::Arrival {
        match self {
            Self::Admitted => mosaic_api::Arrival::Admitted,
            Self::There => mosaic_api::Arrival::There,
            Self::Ended => mosaic_api::Arrival::Ended,
            Self::Busy { agent_id } => mosaic_api::Arrival::Busy { agent_id: agent_id.to_string() },
            Self::Refused { reason } => mosaic_api::Arrival::Refused { reason: reason.clone() },
        }
    }
}

fn travelling(entry: Entry) -> Result<TransferEntry, Problem> {
    let agent = serde_json::to_value(entry.agent).map_err(|_| Problem::internal())?;
    Ok(TransferEntry { seq: entry.seq, agent })
}

fn texts(agents: &[AgentId]) -> Vec<String> {
    agents.iter().map(AgentId::to_string).collect()
}

/// `GET /v1/queue/export`: a page of the unfinished work, with whole records.
pub(crate) async fn unfinished(State(context): State<Context>, params: Params) -> Result<Response, Problem> {
    let mut params = params.reader(&["before"]);
    let before = params.number("before", 0..=u64::MAX);
    params.finish()?;
    let store = &context.orchestrator.ports().store;
    let found = transfer::page(&**store, before).await?;
    let waiting = found.waiting.into_iter().map(travelling).collect::<Result<_, _>>()?;
    let (at_work, ordered) = (texts(&found.at_work), texts(&found.ordered));
    Ok(Answer(UnfinishedWork { waiting, at_work, ordered, next: found.next }).into_response())
}

/// `POST /v1/queue/export`: ends waiting agents here, which run where the export is imported.
pub(crate) async fn release(
    State(context): State<Context>,
    Extension(caller): Extension<Caller>,
    Extension(request): Extension<RequestId>,
    json: Json,
) -> Result<Response, Problem> {
    let ExportRequest { export, agents } = body(json)?;
    let agents = agents.into_iter().map(|id| read(Value::String(id))).collect::<Result<Vec<AgentId>, _>>()?;
    let o = &context.orchestrator;
    refuse_known(o.known_values_in("/export", &export))?;
    let entry = caller.audit_entry(o, Action::QueueExport, &request).subject(&export);
    o.audit(entry.result(format!("{} agents are to leave", agents.len()))).await?;
    let released = transfer::release(&*o.ports().store, &export, &agents, o.decide_now()).await?;
    Ok(Answer(Released { released: texts(&released) }).into_response())
}

/// `POST /v1/queue/import`: admits waiting agents of another store. An entry that cannot be taken is refused by itself.
pub(crate) async fn admit(
    State(context): State<Context>,
    Extension(caller): Extension<Caller>,
    Extension(request): Extension<RequestId>,
    json: Json,
) -> Result<Response, Problem> {
    let ImportRequest { entries } = body(json)?;
    let o = &context.orchestrator;
    let entry = caller.audit_entry(o, Action::QueueImport, &request);
    o.audit(entry.result(format!("{} agents come from another store", entries.len()))).await?;
    let mut arrivals = Vec::with_capacity(entries.len());
    for TransferEntry { seq, agent } in entries {
        arrivals.push(match serde_json::from_value(agent) {
            Ok(agent) => o.take_in_entry(&Entry { seq, agent }).await?.shown(),
            // The parser's message may quote the record, which has not been looked through.
            Err(_) => mosaic_api::Arrival::Refused { reason: "its record cannot be read".to_owned() },
        });
    }
    Ok(Answer(Imported { arrivals }).into_response())
}
