//! The stop of a run in its agent's record.

use super::super::agent::Agent;
use super::super::facts::Fact;
use super::super::ids::Timestamp;
use super::super::journal::LogRecord;
use super::super::stop::{ForcedStop, StopCause, StopReceipt};

/// Records the stop of a run; returns the fact. Of several stops of one run the first counts that found processes.
pub(crate) fn note_stop(
    agent: &mut Agent,
    cause: StopCause,
    receipt: StopReceipt,
    at: Timestamp,
) -> Option<LogRecord> {
    let known = agent.stop.as_ref().filter(|known| known.run == agent.runs);
    if known.is_some_and(|known| known.receipt.processes_before > 0 || receipt.processes_before == 0) {
        return None;
    }
    let stop = ForcedStop { run: agent.runs, cause, receipt };
    let stopped = LogRecord::about(agent, &Fact::AgentStopped(stop.clone()), at);
    agent.stop = Some(Box::new(stop));
    Some(stopped)
}
