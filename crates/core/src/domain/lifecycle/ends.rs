//! The ways in which an attempt ends: failures, orders, and what is released.

use std::time::Duration;

use super::super::agent::{End, Ending, QueueCause, State, Status};
use super::super::facts::{AgentAdopted, AgentRan, Fact, GitSalvaged, RetryScheduled};
use super::super::ids::Stamp;
use super::super::job::WorkerResult;
use super::super::outcome::{EndReason, Failure, FailureKind, cut};
use super::super::retry;
use super::decision::Decision;
use super::event::{KillCause, Salvage};
use crate::limits;

impl Decision {
    pub(super) fn failed(&mut self, failure: Failure, in_setup: bool) -> State {
        // The stop file is an order, so the agent ends as killed, and no retry that it has left undoes that.
        if failure.kind == FailureKind::Stopped {
            return self.settle(Status::Killed, failure.kind.end_reason(in_setup), Some(failure.message));
        }
        if let Some(reset) = failure.reset.filter(|_| self.agent.quota_waits < limits::QUOTA_WAITS) {
            let cause = self.wait_for_quota(reset, failure);
            return State::Unwinding { ending: Ending::Requeue { cause } };
        }
        if failure.kind.is_retryable() && self.agent.attempt <= self.agent.spec.max_retries {
            let until = self.now.at.plus(self.pause());
            let (error, attempt) = (failure.message.clone(), self.agent.attempt);
            self.note(Fact::TaskRetryScheduled(RetryScheduled { until: Stamp(until), error, attempt }));
            return State::Unwinding {
                ending: Ending::Requeue { cause: QueueCause::Backoff { until, failure } },
            };
        }
        let mut text = failure.message;
        if failure.kind.is_retryable() && self.agent.attempt > 1 {
            text = format!("{text} (attempt {} of {})", self.agent.attempt, 1 + self.agent.spec.max_retries);
        }
        self.settle(Status::Failed, failure.kind.end_reason(in_setup), Some(text))
    }

    pub(super) fn pause(&self) -> Duration {
        let (attempt, dice) = (self.agent.attempt, self.now.dice);
        self.agent
            .spec
            .backoff
            .map_or_else(|| retry::backoff(attempt, dice), |asked| retry::asked(asked, attempt, dice))
    }

    /// Another worker of the same queue has done the work, or failed at it. The contract has no way from spawning to
    /// completed, so that it is said to have run first.
    pub(super) fn finished_elsewhere(&mut self, result: WorkerResult) -> State {
        self.agent.warn("finished by another worker of the queue: nothing was judged or pushed here");
        let (status, reason, error) = match result {
            WorkerResult::Completed(value) => {
                if self.agent.started_at.is_none() {
                    let (from, name) = (self.agent.status(), self.agent.name.clone());
                    self.note(Fact::AgentRunning(AgentRan { from, to: Status::Running, name }));
                    self.agent.started_at = Some(self.now.at);
                }
                self.agent.work.result =
                    Some(cut(value, limits::ERROR_BYTES)).filter(|text| !text.is_empty());
                (Status::Completed, EndReason::Done, None)
            }
            WorkerResult::Failed(why) => {
                let text = format!("another worker of the queue failed it: {why}");
                (Status::Failed, EndReason::AgentError, Some(cut(text, limits::ERROR_BYTES)))
            }
        };
        State::Settled { end: End { status, reason, error, at: self.now.at } }
    }

    pub(super) fn kill(&mut self, cause: KillCause, note: String) -> Option<State> {
        let killed =
            End { status: Status::Killed, reason: cause.reason(), error: Some(note), at: self.now.at };
        match &self.agent.state {
            State::Settled { .. } | State::Unwinding { ending: Ending::Settle { .. } } => None,
            // Nothing of a queued agent runs; its work was received when its last attempt unwound, or its tree stays.
            State::Queued { .. } => Some(State::Settled { end: killed }),
            _ => Some(State::Unwinding { ending: Ending::Settle { end: killed } }),
        }
    }

    pub(super) fn interrupt(&mut self) -> Option<State> {
        match &self.agent.state {
            State::Settled { .. } => None,
            // Leased, but nothing was done yet: writing the state as it is gives the lease back.
            same @ (State::Queued { .. } | State::Unwinding { .. }) => Some(same.clone()),
            _ => Some(State::Unwinding { ending: Ending::Requeue { cause: QueueCause::Interrupted } }),
        }
    }

    pub(super) fn taken_over(&mut self) -> Option<State> {
        let state = match self.agent.state.clone() {
            State::Settled { .. } => return None,
            // Leased, but nothing was done yet: writing the state as it is gives the lease back.
            same @ State::Queued { .. } => return Some(same),
            // The tree is known to the server that made it only.
            State::Confining { turn } | State::Launching { turn } => State::Checkout { turn },
            same => same,
        };
        let (phase, attempt) = (self.agent.phase(), self.agent.attempt);
        self.note(Fact::AgentAdopted(AgentAdopted { phase, attempt }));
        Some(state)
    }

    pub(super) fn unwound(&mut self, ending: Ending, salvage: Salvage, pending: Option<String>) -> State {
        let work = &mut self.agent.work;
        work.dirty = salvage == Salvage::Failed;
        work.cleanup_pending = pending;
        match salvage {
            Salvage::Kept(head) => work.kept = Some(head),
            Salvage::Saved(ref saved) | Salvage::Beside(ref saved) => {
                work.salvage_beside = matches!(salvage, Salvage::Beside(_));
                work.salvage = Some(saved.clone());
                self.note(Fact::GitSalvaged(GitSalvaged::of(saved)));
            }
            Salvage::Nothing | Salvage::Failed => {}
        }
        match ending {
            Ending::Requeue { cause } => {
                (self.agent.work.deadline, self.agent.work.time_left_ms) = (None, None);
                State::Queued { cause }
            }
            Ending::Settle { mut end } => {
                // The decision was earlier, but an agent has ended only once everything that it held is released.
                end.at = self.now.at;
                State::Settled { end }
            }
        }
    }
}
