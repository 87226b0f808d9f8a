//! Agents that ended in the middle of a push, or whose remote could not be asked after it: the remote is asked again, and
//! its answer goes into their records.

use super::parts::Caretaker;
use super::repairs::Repairs;
use super::report::CareReport;
use crate::limits;
use crate::ports::store::{Query, Versioned};

/// Asks about at most [`limits::PUSHES_ASKED`] of the agents that were admitted last.
pub(super) async fn pass(c: &Caretaker, repairs: &dyn Repairs, report: &mut CareReport) {
    let query = Query { limit: limits::PUSHES_LOOKED_AT, ..Query::default() };
    let newest = match c.store.list(query).await {
        Ok(newest) => newest,
        Err(e) => return report.problem(format!("pushes that were broken off: {e}")),
    };
    for record in newest.iter().filter(|record| is_open(c, record)).take(limits::PUSHES_ASKED) {
        if let Err(e) = repairs.learn_of_push(record.agent.id).await {
            report.problem(format!("the push of {}: {e}", record.agent.name));
        }
    }
}

fn is_open(c: &Caretaker, record: &Versioned) -> bool {
    let agent = &record.agent;
    agent.is_terminal() && agent.work.publication.is_open() && !c.membership.is_elsewhere(agent.node.as_ref())
}
