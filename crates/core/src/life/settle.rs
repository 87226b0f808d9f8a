//! Step 10, settle: what was decided becomes durable, the terminal state with its event and the acknowledged queue
//! entry included. Every other step's outcome is written the same way.

use crate::domain::lifecycle::Step;
use crate::limits;
use crate::orchestrator::Orchestrator;
use crate::ports::store::{Change, Lease, StoreError};

/// Writes a decision under the lease. Waits while the store is unavailable: the agent's work is kept until it
/// returns. Errors with what the store says when waiting does not help, above all `Fenced`.
pub(crate) async fn record(o: &Orchestrator, lease: &Lease, step: &Step) -> Result<(), StoreError> {
    loop {
        let change = Change { agent: step.agent.clone(), facts: step.facts.clone() };
        match o.ports.store.advance(lease, change).await {
            Ok(_) => return Ok(()),
            Err(StoreError::Unavailable(why)) => {
                tracing::warn!(agent.id = %lease.agent, why, "store unavailable; the decision is kept and written again");
                o.ports.clock.sleep(limits::STORE_RETRY).await;
            }
            Err(e) => return Err(e),
        }
    }
}
