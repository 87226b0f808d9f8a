//! Tasks: the agents that worked on one, and the removal of its waiting work.

use axum::Extension;
use axum::Json as Answer;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use mosaic_core::domain::audit::Action;
use mosaic_core::domain::ids::TaskId;
use mosaic_core::limits;
use serde_json::json;

use crate::caller::Caller;
use crate::context::Context;
use crate::params::PathNames;
use crate::problem::{Code, Problem};
use crate::shell::RequestId;
use crate::view::AgentView;

fn unknown(task: &TaskId) -> Problem {
    Problem::new(Code::TaskNotFound, format!("no agent was ever spawned for the task {task}"))
}

/// `GET /v1/tasks/{taskId}`.
pub(crate) async fn show(State(context): State<Context>, path: PathNames) -> Result<Response, Problem> {
    let task: TaskId = path.get("taskId")?;
    let records = context.orchestrator.ports().store.of_task(&task).await?;
    if records.is_empty() {
        return Err(unknown(&task));
    }
    let records = context.orchestrator.ports().store.whole(records).await?;
    let active = records.iter().any(|record| !record.agent.is_terminal());
    let agents: Vec<AgentView> = records.iter().take(limits::HTTP_PAGE).map(AgentView::brief).collect();
    Ok(Answer(json!({"taskId": task, "active": active, "total": records.len(), "agents": agents}))
        .into_response())
}

/// `DELETE /v1/tasks/{taskId}`: ends its waiting agents; what runs must be killed.
pub(crate) async fn remove(
    State(context): State<Context>,
    Extension(caller): Extension<Caller>,
    Extension(request): Extension<RequestId>,
    path: PathNames,
) -> Result<Response, Problem> {
    let task: TaskId = path.get("taskId")?;
    let store = &context.orchestrator.ports().store;
    if store.of_task(&task).await?.is_empty() {
        return Err(unknown(&task));
    }
    let o = &context.orchestrator;
    o.audit(caller.deed(o, Action::QueueRemove, &request).subject(&task)).await?;
    let note = format!("removed by HTTP request {}", request.0);
    let (removed, running) = context.orchestrator.remove_waiting(&task, &note).await?;
    if let (true, Some(first)) = (removed.is_empty(), running.first()) {
        let active = store.get(*first).await.ok();
        return Err(Problem::task_active(*first, active.as_ref().map(|record| &record.agent))
            .hint(format!("only waiting work is removed; POST /v1/agents/{first}/kill ends what runs")));
    }
    Ok(Answer(json!({"taskId": task, "removed": removed, "running": running})).into_response())
}
