//! Control groups of agents that have ended or were removed: whatever is alive in them is stopped. Groups of agents that
//! this store never knew may belong to another server on this machine and are left alone.

use super::parts::Caretaker;
use super::repairs::Repairs;
use super::report::CareReport;
use crate::limits;
use crate::ports::store::StoreError;

/// Stops what is left in control groups, of at most [`limits::CARE_BATCH`] agents.
pub(super) async fn pass(c: &Caretaker, repairs: &dyn Repairs, report: &mut CareReport) {
    let grouped = match c.processes.grouped().await {
        Ok(grouped) => grouped,
        Err(e) => return report.problem(format!("control groups: {e}")),
    };
    let mut tried = 0;
    for id in grouped {
        if c.is_driven(id) {
            continue;
        }
        let over = match c.store.glance(id).await {
            Ok(record) => record.agent.is_terminal(),
            Err(e) => matches!(e, StoreError::Pruned { .. }),
        };
        if !over {
            continue;
        }
        if tried >= limits::CARE_BATCH {
            return;
        }
        tried += 1;
        let stopped = repairs.stop_jobs(id).await;
        let done = match stopped {
            Ok(()) => c.processes.forget(id).await,
            Err(e) => Err(e),
        };
        if let Err(e) = done {
            report.problem(format!("control group of agent {id}: {e}"));
        }
    }
}
