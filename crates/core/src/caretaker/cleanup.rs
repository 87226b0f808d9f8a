//! Ended agents that still have a directory: what could not be released at their end is released now, with growing
//! pauses between two tries. Work in a tree is kept first.

use super::parts::Caretaker;
use super::repairs::Repairs;
use super::report::{Again, CareReport};
use crate::limits;
use crate::ports::store::StoreError;

/// Cleans up after ended agents, at most [`limits::CARE_BATCH`] of them, and counts those that are left.
pub(super) async fn pass(c: &Caretaker, repairs: &dyn Repairs, again: &mut Again, report: &mut CareReport) {
    let present = match c.trees.present().await {
        Ok(present) => present,
        Err(e) => return report.problem(format!("directories of agents: {}", e.message)),
    };
    again.keep(&present);
    let mut tried = 0;
    for id in present {
        if c.is_driven(id) {
            continue;
        }
        let record = match c.store.get(id).await {
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
        if tried < limits::CARE_BATCH && again.is_due(id, c.now()) {
            tried += 1;
            repairs.clean_up(id).await;
            if !is_left(c, id).await {
                continue;
            }
            again.failed(id, c.now());
        }
        report.cleanup_pending += 1;
        if let Some(why) = record.agent.work.cleanup_pending {
            report.problem(format!("{}: {why}", record.agent.name));
        }
    }
}

/// Tells whether an agent still has something.
async fn is_left(c: &Caretaker, id: crate::domain::ids::AgentId) -> bool {
    c.trees.present().await.is_ok_and(|present| present.contains(&id))
}
