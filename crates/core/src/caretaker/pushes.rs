//! Agents that ended in the middle of a push, or whose remote could not be asked after it: the remote is asked again, and
//! its answer goes into their records.

use super::report::CareReport;
use crate::limits;
use crate::orchestrator::Orchestrator;
use crate::ports::store::{Query, Versioned};

/// Asks about at most [`limits::PUSHES_ASKED`] of the agents that were admitted last.
pub async fn pass(o: &Orchestrator, report: &mut CareReport) {
    let query = Query { limit: limits::PUSHES_LOOKED_AT, ..Query::default() };
    let newest = match o.ports.store.list(query).await {
        Ok(newest) => newest,
        Err(e) => return report.problem(format!("pushes that were broken off: {e}")),
    };
    for record in newest.iter().filter(|record| is_open(o, record)).take(limits::PUSHES_ASKED) {
        if let Err(e) = o.learn_of_push(record.agent.id).await {
            report.problem(format!("the push of {}: {e}", record.agent.name));
        }
    }
}

fn is_open(o: &Orchestrator, record: &Versioned) -> bool {
    let agent = &record.agent;
    agent.is_terminal() && agent.work.publication.is_open() && !o.is_elsewhere(agent.node.as_ref())
}
