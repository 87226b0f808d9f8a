//! Step 7, commit: inside the agent's confinement what is left over becomes a commit and HEAD a bundle; the server
//! reads only the bundle. "Nothing changed" is an outcome of its own. Salvage, for agents that are ended before this
//! step, goes the same way.

use super::context::{StepContext, StepState};
use super::harvest_job;
use crate::domain::agent::Salvaged;
use crate::domain::ids::CommitId;
use crate::domain::lifecycle::Event;
use crate::domain::outcome::{Failure, FailureKind};
use crate::limits;
use crate::ports::repositories::{Kept, Received};

pub(super) async fn run(context: &StepContext<'_>, _: &mut StepState) -> Result<Event, Failure> {
    let Received { kept, beside, mut warnings } = harvest(context).await?;
    Ok(match kept {
        Kept::Commits { head } => {
            if !beside.is_empty() {
                warnings.push(format!(
                    "commits on {} are not part of what is published; `mosaic restore {}` brings them back",
                    beside.join(", "),
                    context.agent.name
                ));
            }
            Event::Kept { head, warnings }
        }
        Kept::Nothing => Event::Unchanged { beside, warnings },
        Kept::Diverged { branches } => Event::Diverged { branches, warnings },
    })
}

/// Commits, bundles and receives what the agent left.
pub(super) async fn harvest(context: &StepContext<'_>) -> Result<Received, Failure> {
    let tree = context.tree()?;
    let harvest = context.orchestrator.ports.intake.harvest(&tree).await?;
    let outbox =
        harvest_job::perform(context.orchestrator, &context.owner(), "harvest", harvest, limits::HARVEST)
            .await?;
    let mut received =
        context.orchestrator.ports.intake.receive(&tree, &outbox).await.map_err(|failure| {
            // Its tree is kept by the unwind.
            let name = &context.agent.name;
            match failure.kind {
                FailureKind::Unpublishable => Failure::new(
                    failure.kind,
                    format!("{}. The work is kept: `mosaic restore {name}` brings it back", failure.message),
                ),
                _ => failure,
            }
        })?;
    for warning in &mut received.warnings {
        *warning = context.orchestrator.ports.scanner.mask(warning);
    }
    Ok(received)
}

/// Bundles and receives the tree as it is; `None` when it holds nothing of its own.
pub(super) async fn salvage(context: &StepContext<'_>) -> Result<Option<Salvaged>, Failure> {
    harvest_job::salvage(context.orchestrator, &context.owner(), &context.tree()?).await
}

/// Commits, bundles and receives the tree of an agent that goes on working; `None` when nothing in it was changed.
pub(super) async fn snapshot(context: &StepContext<'_>) -> Result<Option<CommitId>, Failure> {
    let tree = context.tree()?;
    let snapshot = context.orchestrator.ports.intake.snapshot(&tree).await?;
    let outbox =
        harvest_job::perform(context.orchestrator, &context.owner(), "snapshot", snapshot, limits::LIVE_DIFF)
            .await?;
    context.orchestrator.ports.intake.receive_snapshot(&tree, &outbox).await
}
