//! Agents that this node had and another one has now: because this one was cut off for longer than a lease, or because
//! the agent was queued again and taken elsewhere. What is left of them here is killed, what lies in their trees is kept
//! in the server's bare repository under `refs/mosaic/salvage` and reported, and nothing is written to their records: those are
//! not ours.

use super::orphans;
use super::report::{Again, CareReport};
use crate::cleanup_error::CleanupError;
use crate::domain::ids::AgentId;
use crate::limits;
use crate::orchestrator::Orchestrator;

/// Keeps what at most [`limits::CARE_BATCH`] such agents left.
pub async fn pass(o: &Orchestrator, again: &mut Again, report: &mut CareReport) {
    if !o.is_fleet() {
        return;
    }
    // An error was told by the pass before.
    let Ok(present) = o.ports.trees.present().await else { return };
    let mut tried = 0;
    for id in present {
        let is_driven = || o.live().contains_key(&id);
        if tried >= limits::CARE_BATCH || is_driven() || !again.is_due(id, o.now()) {
            continue;
        }
        // Those without a record, and those of this node, are for the other passes.
        let Ok(record) = o.ports.store.get(id).await else { continue };
        if !o.is_elsewhere(record.agent.node.as_ref()) || record.node.as_ref() == Some(&o.settings.node) {
            continue;
        }
        tried += 1;
        if !keep(o, id, is_driven).await {
            again.failed(id, o.now());
            report
                .problem(format!("what agent {id} left here could not be kept yet; another node has it now"));
        }
    }
}

/// Keeps what an agent left here, unless somebody drives it here by now; returns false when that failed.
pub(crate) async fn keep(o: &Orchestrator, id: AgentId, is_driven: impl Fn() -> bool) -> bool {
    let Some(_keeping) = o.fleet.keep(id) else { return true };
    // Who is started from here on waits for the end of this.
    if is_driven() {
        return true;
    }
    match keep_now(o, id).await {
        Ok(()) => true,
        Err(e) => {
            tracing::warn!(agent.id = %id, error = %e, "what an agent left here could not be kept yet; it stays");
            false
        }
    }
}

/// The same for who knows that nobody else does. The tree goes once what was kept of it is reported, so that a crash
/// between the two leaves nothing unsaid.
pub(crate) async fn keep_now(o: &Orchestrator, id: AgentId) -> Result<(), CleanupError> {
    orphans::keep_tree(o, id).await?;
    o.report_work(id).await?;
    orphans::release(o, id).await
}
