//! Agents that this node had and another one has now: because this one was cut off for longer than a lease, or because
//! the agent was queued again and taken elsewhere. What is left of them here is killed, what lies in their trees is kept
//! in the server's bare repository under `refs/mosaic/salvage` and reported, and nothing is written to their records: those are
//! not ours.

use super::orphans;
use super::parts::Caretaker;
use super::repairs::Repairs;
use super::report::{Again, CareReport};
use crate::cleanup_error::CleanupError;
use crate::domain::ids::AgentId;
use crate::limits;

/// Keeps what at most [`limits::CARE_BATCH`] such agents left.
pub(super) async fn pass(c: &Caretaker, repairs: &dyn Repairs, again: &mut Again, report: &mut CareReport) {
    if !c.membership.is_fleet() {
        return;
    }
    // An error was told by the pass before.
    let Ok(present) = c.trees.present().await else { return };
    let mut tried = 0;
    for id in present {
        let is_driven = || c.is_driven(id);
        if tried >= limits::CARE_BATCH || is_driven() || !again.is_due(id, c.now()) {
            continue;
        }
        // Those without a record, and those of this node, are for the other passes.
        let Ok(record) = c.store.get(id).await else { continue };
        if !c.membership.is_elsewhere(record.agent.node.as_ref()) || record.node.as_ref() == Some(&c.node) {
            continue;
        }
        tried += 1;
        if !keep(c, repairs, id, is_driven).await {
            again.failed(id, c.now());
            report
                .problem(format!("what agent {id} left here could not be kept yet; another node has it now"));
        }
    }
}

/// Keeps what an agent left here, unless somebody drives it here by now; returns false when that failed.
pub(crate) async fn keep(
    c: &Caretaker,
    repairs: &dyn Repairs,
    id: AgentId,
    is_driven: impl Fn() -> bool + Send,
) -> bool {
    let Some(_keeping) = c.membership.keep(id) else { return true };
    // Who is started from here on waits for the end of this.
    if is_driven() {
        return true;
    }
    match keep_now(c, repairs, id).await {
        Ok(()) => true,
        Err(e) => {
            tracing::warn!(agent.id = %id, error = %e, "what an agent left here could not be kept yet; it stays");
            false
        }
    }
}

/// The same for who knows that nobody else does. The tree goes once what was kept of it is reported, so that a crash
/// between the two leaves nothing unsaid.
pub(crate) async fn keep_now(c: &Caretaker, repairs: &dyn Repairs, id: AgentId) -> Result<(), CleanupError> {
    orphans::keep_tree(c, repairs, id).await?;
    repairs.report_work(id).await?;
    orphans::release(c, id).await
}
