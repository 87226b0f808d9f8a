//! A decision in the making: the record as it changes, and what is to be logged.

use super::super::agent::{Agent, Attention, AttentionKind, End, Ending, QueueCause, State, Status};
use super::super::facts::{AgentEnded, AgentPhase, AgentRan, AttentionCleared, Fact};
use super::super::ids::Timestamp;
use super::super::journal::LogRecord;
use super::super::outcome::EndReason;
use super::super::spent::Spent;

/// Inputs of a decision besides record and event.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    /// The time.
    pub at: Timestamp,
    /// A number uniform in 0..1, for jitter.
    pub dice: f64,
}

pub(super) struct Decision {
    pub(super) agent: Agent,
    pub(super) now: Now,
    pub(super) facts: Vec<LogRecord>,
}

impl Decision {
    pub(super) fn requeue(cause: QueueCause) -> State {
        State::Unwinding { ending: Ending::Requeue { cause } }
    }

    pub(super) fn settle(&self, status: Status, reason: EndReason, error: Option<String>) -> State {
        State::Unwinding { ending: Ending::Settle { end: End { status, reason, error, at: self.now.at } } }
    }

    pub(super) fn warn_all(&mut self, warnings: Vec<String>) {
        for warning in warnings {
            self.agent.warn(warning);
        }
    }

    /// Takes the new state and logs what changed on the outside.
    pub(super) fn enter(&mut self, state: State, before: &Agent) {
        let ran_elsewhere =
            before.started_at != self.agent.started_at && matches!(state, State::Settled { .. });
        // Its change to running was logged a moment ago. With the status before that, the log would show a
        // change which the contract does not have.
        let status = if ran_elsewhere { Status::Running } else { before.status() };
        let phase = before.phase();
        if !matches!(state, State::Working) {
            let waits = waits_for_quota(&state);
            self.agent.attention.retain(|one| waits && one.kind == AttentionKind::Quota);
            // However the run ended: it counts.
            self.agent.spent = self.agent.spent();
            self.agent.spent_in_run = Spent::default();
        }
        let is_left = |one: &&Attention| self.agent.attention.iter().all(|left| left.kind != one.kind);
        let cleared: Vec<AttentionKind> =
            before.attention.iter().filter(is_left).map(|one| one.kind).collect();
        for kind in cleared {
            self.note(Fact::AgentAttentionCleared(AttentionCleared { kind }));
        }
        self.agent.state = state;
        let (new_status, new_phase) = (self.agent.status(), self.agent.phase());
        if new_phase != phase {
            let (attempt, fix_round) = (self.agent.attempt, self.agent.fix_round);
            self.note(Fact::AgentPhase(AgentPhase { from: phase, to: new_phase, attempt, fix_round }));
        }
        if new_status != status {
            self.note(status_changed(&self.agent, status));
        }
    }

    pub(super) fn note(&mut self, fact: Fact) {
        self.facts.push(LogRecord::about(&self.agent, &fact, self.now.at));
    }
}

/// Returns the fact that an agent's status is another than before.
fn status_changed(agent: &Agent, from: Status) -> Fact {
    let (to, name) = (agent.status(), agent.name.clone());
    let Some(end) = agent.end() else { return Fact::AgentRunning(AgentRan { from, to, name }) };
    let ended = AgentEnded::of(agent, from, end);
    match end.status {
        Status::Completed => Fact::AgentCompleted(ended),
        Status::Killed => Fact::AgentKilled(ended),
        Status::Failed | Status::Spawning | Status::Running => Fact::AgentFailed(ended),
    }
}

pub(super) fn count(n: usize, thing: &str) -> String {
    if n == 1 { format!("1 {thing}") } else { format!("{n} {thing}s") }
}

/// Tells whether an agent in this state waits for a limit of the model service, or is about to.
fn waits_for_quota(state: &State) -> bool {
    match state {
        State::Queued { cause } | State::Unwinding { ending: Ending::Requeue { cause } } => {
            cause.quota().is_some()
        }
        _ => false,
    }
}
