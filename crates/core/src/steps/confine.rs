//! Step 4, confine: the sandbox around the tree, with the agent's private directories, and what the repository's setup makes in
//! both.

use std::path::PathBuf;
use std::sync::Arc;

use super::context::{StepContext, StepState};
use super::judged_commit::JudgedCommit;
use crate::domain::lifecycle::Event;
use crate::domain::outcome::Failure;
use crate::ports::gatekeeper::PrepareRequest;
use crate::ports::repositories::{JudgingRequest, Worktree};
use crate::ports::runtime::AgentEvent;
use crate::ports::sandbox::SandboxHandle;
use crate::ports::transcripts::Checkpoint;

pub(super) async fn run(context: &StepContext<'_>, step_state: &mut StepState) -> Result<Event, Failure> {
    let place = context.sandbox(step_state).await?;
    // What an agent has had is its own: nothing of ours is written into it.
    let fresh = |tree: &&Worktree| !tree.reused || context.agent.runs == 0;
    let tree = step_state.tree.as_ref().filter(fresh).map(|tree| tree.path.clone());
    match prepare(context, tree, &place).await {
        Ok(warnings) => step_state.warnings = warnings,
        Err(failure) => {
            tell(context, &failure).await;
            return Err(failure);
        }
    }
    Ok(Event::Confined)
}

/// Has the gatekeeper make the tree and the home ready; returns its warnings.
async fn prepare(
    context: &StepContext<'_>,
    tree: Option<PathBuf>,
    place: &SandboxHandle,
) -> Result<Vec<String>, Failure> {
    let (o, agent) = (context.orchestrator, context.agent);
    let (Some(base), Some(plan)) = (&agent.work.base, &agent.work.plan) else { return Ok(Vec::new()) };
    let task = &agent.spec.context;
    let request = PrepareRequest {
        agent: agent.id,
        round: agent.runs.saturating_add(1),
        repository: task.repository.clone(),
        base: base.clone(),
        plan: plan.as_ref().clone(),
        tree,
        home: place.home.clone(),
    };
    let of_base = JudgingRequest {
        agent: agent.id,
        repository: task.repository.clone(),
        base_branch: task.branch.clone(),
        base: base.clone(),
        commit: base.clone(),
        label: format!("setup-{}", o.ports.chance.agent_id().short()),
    };
    let source = JudgedCommit::new(Arc::clone(&o.ports.trees), Arc::clone(&o.ports.commits), of_base);
    Ok(o.ports.gatekeeper.prepare(request, Arc::new(source)).await?.warnings)
}

/// Writes the failure into the transcript, so that it stands where a person looks for what happened.
async fn tell(context: &StepContext<'_>, failure: &Failure) {
    let (o, agent) = (context.orchestrator, context.agent);
    let text = o.ports.scanner.mask(&failure.message);
    let cursor = o.ports.transcripts.cursor(agent.id, agent.runs).await.unwrap_or_default();
    let checkpoint = Checkpoint { run: agent.runs, bytes: cursor.bytes };
    let entries = vec![AgentEvent::Notice { text }];
    if let Err(e) = o.ports.transcripts.append(agent.id, o.now(), agent.attempt, checkpoint, entries).await {
        tracing::warn!(agent.id = %agent.id, error = %e, "the failure could not be written into the transcript");
    }
}
