//! Ended agents that still have a directory: what could not be released at their end is released now, with growing
//! pauses between two tries. Work in a tree is kept first.

use super::report::{Again, CareReport};
use crate::limits;
use crate::orchestrator::Orchestrator;
use crate::ports::store::StoreError;

/// Cleans up after ended agents, at most [`limits::CARE_BATCH`] of them, and counts those that are left.
pub async fn pass(o: &Orchestrator, again: &mut Again, report: &mut CareReport) {
    let present = match o.ports.trees.present().await {
        Ok(present) => present,
        Err(e) => return report.problem(format!("directories of agents: {}", e.message)),
    };
    again.keep(&present);
    let mut tried = 0;
    for id in present {
        if o.live().contains_key(&id) {
            continue;
        }
        let record = match o.ports.store.get(id).await {
            Ok(record) if record.agent.is_terminal() => record,
            // Active, or for the other passes.
            Ok(_)
            | Err(StoreError::NotFound(_) | StoreError::Pruned { .. } | StoreError::ArchiveAway { .. }) => {
                continue;
            }
            // What a damaged record said of the work is not known, so nothing of the agent may be deleted.
            Err(StoreError::Quarantined(_)) => {
                report.orphans += 1;
                continue;
            }
            Err(e) => return report.problem(format!("records of agents: {e}")),
        };
        if tried < limits::CARE_BATCH && again.is_due(id, o.now()) {
            tried += 1;
            o.clean_up(id).await;
            if !is_left(o, id).await {
                continue;
            }
            again.failed(id, o.now());
        }
        report.cleanup_pending += 1;
        if let Some(why) = record.agent.work.cleanup_pending {
            report.problem(format!("{}: {why}", record.agent.name));
        }
    }
}

/// Tells whether an agent still has something.
async fn is_left(o: &Orchestrator, id: crate::domain::ids::AgentId) -> bool {
    o.ports.trees.present().await.is_ok_and(|present| present.contains(&id))
}
