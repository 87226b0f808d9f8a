//! Control groups of agents that have ended or were removed: whatever is alive in them is stopped. Groups of agents that
//! this store never knew may belong to another server on this machine and are left alone.

use std::time::Duration;

use super::report::CareReport;
use crate::limits;
use crate::orchestrator::Orchestrator;
use crate::ports::store::StoreError;

/// Stops what is left in control groups, of at most [`limits::CARE_BATCH`] agents.
pub async fn pass(o: &Orchestrator, report: &mut CareReport) {
    let grouped = match o.ports.processes.grouped().await {
        Ok(grouped) => grouped,
        Err(e) => return report.problem(format!("control groups: {e}")),
    };
    let mut tried = 0;
    for id in grouped {
        if o.live().contains_key(&id) {
            continue;
        }
        let over = match o.ports.store.glance(id).await {
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
        let stopped = o.stop_jobs(id, Duration::ZERO).await;
        let done = match stopped {
            Ok(_) => o.ports.processes.forget(id).await,
            Err(e) => Err(e),
        };
        if let Err(e) = done {
            report.problem(format!("control group of agent {id}: {e}"));
        }
    }
}
