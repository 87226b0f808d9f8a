//! Names of the logs of gates: the judgement writes them, and readers find the one that is being written.

use super::agent::{Agent, State};
use super::gates::GateResult;
use super::ids::Word;

/// Returns the number of an agent's present judgement among all of its judgements, from 1.
pub fn round(agent: &Agent) -> u32 {
    agent.runs.max(1)
}

/// Returns the name of a gate's log in this round.
pub fn name(round: u32, gate: &Word) -> String {
    format!("gate-{round}-{gate}")
}

/// Returns the name of the log that a gate writes, or will write, in the judgement that is under way.
pub fn running(agent: &Agent, gate: &Word) -> Option<String> {
    let is_judged = matches!(agent.state, State::Gating { .. });
    (is_judged && planned(agent, gate)).then(|| name(round(agent), gate))
}

/// Tells whether a gate is among those that judge an agent's work.
pub fn planned(agent: &Agent, gate: &Word) -> bool {
    agent.work.plan.iter().flat_map(|plan| &plan.gates).any(|one| one.name == *gate)
}

/// Returns a gate's result in the newest report.
pub fn result<'a>(agent: &'a Agent, gate: &Word) -> Option<&'a GateResult> {
    agent.work.report.iter().flat_map(|report| &report.results).find(|result| result.name == *gate)
}
