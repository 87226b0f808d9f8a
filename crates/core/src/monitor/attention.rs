//! While an agent is answered for its silence, its record says so: people see it in every list, and are told again when
//! it goes on. So it does of what its program uses up, where that is capped. A store that does not answer costs the note, never the supervision.

use crate::domain::agent::{Agent, AttentionKind};
use crate::domain::lifecycle::{self, Event};
use crate::domain::spec::Budget;
use crate::domain::stall::{Stage, summary};
use crate::monitor::Monitor;
use crate::ports::store::{Change, Lease, Safety, StoreError};

/// Performs a step of an agent while its record follows the answer to its silence. Errors when the lease was lost.
pub(crate) async fn attended(
    monitor: &Monitor,
    lease: &Lease,
    agent: &mut Agent,
    work: impl Future<Output = Event>,
) -> Result<Event, StoreError> {
    let vitals = monitor.vitals(agent.id);
    let (mut stage, mut spent) = (vitals.stage().subscribe(), vitals.spent().subscribe());
    let is_capped = agent.spec.budget != Budget::default();
    tokio::pin!(work);
    loop {
        tokio::select! {
            event = &mut work => return Ok(event),
            // Their senders live as long as `vitals`.
            _ = stage.changed() => {}
            _ = spent.changed(), if is_capped => {
                let now = *spent.borrow_and_update();
                write(monitor, lease, agent, Event::Spent(now)).await?;
                continue;
            }
        }
        let now = *stage.borrow_and_update();
        if now == Stage::None
            && let Some(answered) = vitals.answer()
        {
            // One that came when the agent had just continued is about a decision that is no longer open.
            let is_open =
                agent.attention.iter().any(|one| (one.kind, one.since) == (answered.kind, answered.since));
            if !is_open {
                vitals.withdraw_answer();
            } else if write(monitor, lease, agent, Event::Answered(answered)).await? {
                vitals.answer_is_written();
                continue;
            }
        }
        let signals = vitals.signals(monitor.clocks.elapsed(), monitor.stall / 10);
        note(monitor, lease, agent, now, summary(now, &signals)).await?;
    }
}

async fn note(
    monitor: &Monitor,
    lease: &Lease,
    agent: &mut Agent,
    stage: Stage,
    summary: String,
) -> Result<(), StoreError> {
    let known = agent.attention.iter().any(|one| one.kind == AttentionKind::Stalled);
    let event = match stage {
        Stage::None if known => Event::WentOn,
        // What follows a kill is written by the driver.
        Stage::None | Stage::Kill => return Ok(()),
        _ => Event::Stalled { stage, summary },
    };
    write(monitor, lease, agent, event).await.map(drop)
}

/// Writes an event into the record; tells whether the store has it.
async fn write(
    monitor: &Monitor,
    lease: &Lease,
    agent: &mut Agent,
    event: Event,
) -> Result<bool, StoreError> {
    let Ok(step) = lifecycle::next(agent, event, monitor.decide_now()) else { return Ok(true) };
    let change = Change { safety: Safety::Process, agent: step.agent.clone(), facts: step.facts };
    match monitor.store.advance(lease, change).await {
        Ok(_) => *agent = step.agent,
        Err(StoreError::Unavailable(why)) => {
            tracing::warn!(agent.id = %agent.id, why, "what is seen of the agent could not be noted");
            return Ok(false);
        }
        Err(e) => return Err(e),
    }
    Ok(true)
}
