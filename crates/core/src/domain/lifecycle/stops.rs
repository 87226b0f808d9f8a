//! The stop of a run in its agent's record.

use serde_json::json;

use super::super::agent::Agent;
use super::super::ids::Timestamp;
use super::super::journal::Fact;
use super::super::stop::{ForcedStop, StopCause, StopReceipt};
use super::decision::fact;

/// Records the stop of a run; returns the fact. Of several stops of one run the first counts that found processes.
pub(crate) fn note_stop(
    agent: &mut Agent,
    cause: StopCause,
    receipt: StopReceipt,
    at: Timestamp,
) -> Option<Fact> {
    let known = agent.stop.as_ref().filter(|known| known.run == agent.runs);
    if known.is_some_and(|known| known.receipt.processes_before > 0 || receipt.processes_before == 0) {
        return None;
    }
    let stop = ForcedStop { run: agent.runs, cause, receipt };
    let fact = fact("agent.stopped", agent, at, json!(&stop));
    agent.stop = Some(Box::new(stop));
    Some(fact)
}
