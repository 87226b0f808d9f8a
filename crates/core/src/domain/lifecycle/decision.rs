//! A decision in the making: the record as it changes, and what is to be logged.

use serde_json::json;

use super::super::agent::{Agent, Attention, AttentionKind, End, Ending, QueueCause, State, Status};
use super::super::ids::Timestamp;
use super::super::journal::Fact;
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
    pub(super) facts: Vec<Fact>,
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
            self.note("agent.attention_cleared", json!({"kind": kind}));
        }
        self.agent.state = state;
        let (new_status, new_phase) = (self.agent.status(), self.agent.phase());
        if new_phase != phase {
            let data = json!({"from": phase, "to": new_phase, "attempt": self.agent.attempt, "fixRound": self.agent.fix_round});
            self.note("agent.phase", data);
        }
        if new_status != status {
            let mut data = json!({"from": status, "to": new_status, "name": &self.agent.name});
            if let Some(end) = self.agent.end() {
                data["endReason"] = json!(end.reason);
                data["error"] = json!(end.error);
            }
            self.note(&format!("agent.{}", new_status.as_str()), data);
        }
    }

    pub(super) fn note(&mut self, kind: &str, data: serde_json::Value) {
        self.facts.push(fact(kind, &self.agent, self.now.at, data));
    }
}

/// Makes a fact about an agent.
pub fn fact(kind: &str, agent: &Agent, at: Timestamp, data: serde_json::Value) -> Fact {
    Fact { kind: kind.to_owned(), agent: Some(agent.id), task: Some(agent.spec.task_id.clone()), at, data }
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
