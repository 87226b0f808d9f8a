//! Step 5, launch: the runtime is started with prompt, skills and context.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::context::{Running, StepContext, StepState, supervisor_failed};
use crate::domain::agent::Turn;
use crate::domain::lifecycle::Event;
use crate::domain::outcome::{Failure, FailureKind};
use crate::limits;
use crate::ports::processes::Stdin;
use crate::ports::runtime::{LaunchRequest, Opening};
use crate::ports::transcripts::TranscriptCursor;

pub(super) async fn run(context: &StepContext<'_>, step_state: &mut StepState) -> Result<Event, Failure> {
    let (o, agent) = (context.orchestrator, context.agent);
    let spec = &agent.spec;
    let budget = spec.budget.less(agent.spent()).map_err(|why| {
        let text = format!("the budget is used up: {why}; spawn again with a larger budget");
        Failure::new(FailureKind::Budget, text)
    })?;
    let runtime = context.runtime(context.runtime_name())?;
    let (Some(tree), Some(base)) = (step_state.tree.clone(), agent.work.base.clone()) else {
        return Err(Failure::new(FailureKind::Internal, "the agent's tree is not known to this server"));
    };
    let handle = context.sandbox(step_state).await?;
    let skills = context.skills(step_state, &base).await?;
    context.place_skills(&skills, &base).await?;
    // A session only makes sense in the tree that it knows.
    let resumes = tree.reused && *context.turn() != Turn::First;
    let briefing = context.briefing(step_state, &base, &skills, resumes).await?;
    let request = LaunchRequest {
        agent: agent.id,
        task: spec.task_id.clone(),
        agent_type: spec.agent_type,
        prompt: briefing.prompt,
        system: briefing.system,
        tree: tree.path.clone(),
        sandbox: handle.clone(),
        model: spec.model.clone(),
        budget,
        resume: agent.work.session.clone().filter(|_| resumes),
        new_session: o.ports.chance.agent_id().to_string(),
    };
    let plan = runtime.plan(&request).await?;
    let opening = Opening { prompt: request.prompt, session: plan.session, lent: plan.lent };
    let mut dialogue = runtime.dialogue(&opening);
    let mut env = plan.env;
    env.extend(o.access_env(agent.id));
    let left = [
        ("MOSAIC_BUDGET_USD", budget.usd.map(|usd| usd.to_string())),
        ("MOSAIC_BUDGET_TURNS", budget.turns.map(|n| n.to_string())),
    ];
    env.extend(left.into_iter().filter_map(|(name, left)| Some((name.to_owned(), left?))));
    let mut job = context.job(context.run_name().as_str(), &handle, plan.command, env, &tree.path);
    job.interrupt = plan.interrupt;
    // The supervisor keeps the deadline; the shim's own limit only ends what no server watches any more.
    let left =
        agent.work.time_left_ms.map_or(Duration::from_secs(spec.timeout_seconds), Duration::from_millis);
    job.time_limit = Some(left + limits::BACKSTOP);
    let first = dialogue.start().concat();
    // The prompt goes to the supervisor together with the job. A server that dies between start and first
    // message would otherwise leave a program that waits for it until its silence ends it.
    job.stdin = plan.stdin.map_or(Stdin::Open { first }, Stdin::Text);
    let memo = Memo { runtime: runtime.name().to_owned(), opening, credential: runtime.credential() };
    job.memo = serde_json::to_string(&memo).ok();
    let job = o.ports.processes.start(job).await.map_err(|e| supervisor_failed(&e))?;
    let Memo { runtime, opening, credential } = memo;
    let session = opening.session.clone();
    let cursor = TranscriptCursor::default();
    step_state.running = Some(Running { job, dialogue, opening, runtime, credential, cursor, ours: true });
    Ok(Event::Launched { session, warnings: std::mem::take(&mut step_state.warnings) })
}

/// Data that a later server needs to take part in the conversation; see [`super::resume`].
#[derive(Serialize, Deserialize)]
pub(super) struct Memo {
    /// The runtime that was chosen: another one may be the node's own by then.
    pub(super) runtime: String,
    /// Opening of the conversation.
    pub(super) opening: Opening,
    /// Mark of the credential that it was started with: another one may be in force when it meets a limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) credential: Option<String>,
}
