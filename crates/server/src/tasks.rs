//! Tasks: the agents that worked on one, and the removal of its waiting work.

use axum::Extension;
use axum::Json as Answer;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use mosaic_api::Code;
use mosaic_api::{TaskAgents, TaskRemoved};
use mosaic_core::domain::audit::Action;
use mosaic_core::domain::ids::TaskId;
use mosaic_core::limits;

use crate::caller::Caller;
use crate::context::Context;
use crate::params::PathNames;
use crate::problem::Problem;
use crate::shell::RequestId;
use crate::view::{self, Shown};

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
    let told = |record| {
        let mut agent = view::brief(record);
        agent.status.archive = view::archive_fault(&context.orchestrator, record);
        agent
    };
    let agents = records.iter().take(limits::HTTP_PAGE).map(told).collect();
    let (task_id, total) = (task.to_string(), records.len());
    Ok(Answer(TaskAgents { task_id, active, total, agents }).into_response())
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
    o.audit(caller.audit_entry(o, Action::QueueRemove, &request).subject(&task)).await?;
    let note = format!("removed by HTTP request {}", request.0);
    let (removed, running) = context.orchestrator.remove_waiting(&task, &note).await?;
    if let (true, Some(first)) = (removed.is_empty(), running.first()) {
        let active = store.get(*first).await.ok();
        return Err(Problem::task_active(*first, active.as_ref().map(|record| &record.agent))
            .hint(format!("only waiting work is removed; POST /v1/agents/{first}/kill ends what runs")));
    }
    let (removed, running) = (removed.shown(), running.shown());
    Ok(Answer(TaskRemoved { task_id: task.to_string(), removed, running }).into_response())
}
