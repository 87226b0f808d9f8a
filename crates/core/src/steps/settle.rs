//! Step 10, settle: what was decided becomes durable, the terminal state with its event and the acknowledged queue
//! entry included. Every other step's outcome is written the same way.

use crate::domain::agent::{Ending, State, Status};
use crate::domain::lifecycle::Step;
use crate::limits;
use crate::orchestrator::Orchestrator;
use crate::ports::store::{Change, Lease, Safety, StoreError};

/// Writes a decision under the lease. Waits while the store is unavailable: the agent's work is kept until it
/// returns. Errors with what the store says when waiting does not help, above all `Fenced`.
pub(crate) async fn record(o: &Orchestrator, lease: &Lease, step: &Step) -> Result<(), StoreError> {
    loop {
        let change = Change { safety: safety(step), agent: step.agent.clone(), facts: step.facts.clone() };
        match o.ports.store.advance(lease, change).await {
            Ok(_) => return Ok(()),
            Err(StoreError::Unavailable(why)) => {
                tracing::warn!(agent.id = %lease.agent, why, "store unavailable; the decision is kept and written again");
                make_room(o).await;
                o.ports.clock.sleep(limits::STORE_RETRY).await;
            }
            Err(e) => return Err(e),
        }
    }
}

/// Gives the reserve up when the disk is full: a decision that cannot be written would keep what fills it indefinitely.
async fn make_room(o: &Orchestrator) {
    if o.monitor.disk_capacity().await.is_err() && o.ports.host.release_reserve().await {
        tracing::warn!("the disk is full; the room that was set aside for this is used now");
    }
}

/// An ending is told to people, a kill must never be forgotten, and what is about to be pushed must be known to the
/// next server. Every other step is simply done again when the machine went down.
fn safety(step: &Step) -> Safety {
    match &step.agent.state {
        State::Publishing { .. } | State::Settled { .. } => Safety::Power,
        State::Unwinding { ending: Ending::Settle { end } } if end.status == Status::Killed => Safety::Power,
        _ => Safety::Process,
    }
}
