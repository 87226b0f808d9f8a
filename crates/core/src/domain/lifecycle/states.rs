//! Transitions of the life cycle: one method per state. An event that a method does not know cannot happen there.

use super::super::agent::{AttentionKind, Ending, QueueCause, State, Status, Turn};
use super::super::ids::CommitId;
use super::super::outcome::{EndReason, FailureKind};
use super::super::publication::Publication;
use super::decision::Decision;
use super::event::Event;
use super::quota;

impl Decision {
    /// Returns the state that follows, or `None` when the event cannot happen.
    pub(super) fn decide(&mut self, event: Event) -> Option<State> {
        match event {
            Event::Kill { cause, note } => return self.kill(cause, note),
            Event::Interrupted => return self.interrupt(),
            Event::TakenOver => return self.taken_over(),
            Event::Placed { node } => return self.placed(node),
            Event::NodeLost { node } => return self.node_lost(&node),
            _ => {}
        }
        let state = self.agent.state.clone();
        let event = match (&state, event) {
            (State::Queued { .. } | State::Unwinding { .. } | State::Settled { .. }, event) => event,
            (_, Event::NodeFailed { node, failure, warnings, elsewhere, .. }) => {
                self.warn_all(warnings);
                self.stop_clock(None);
                let in_setup = is_ours(&state);
                return Some(self.node_failed(node, failure, elsewhere, in_setup));
            }
            // A failed push is decided in its own state, because some failures say that the remote has not
            // got the commit.
            (State::Publishing { .. }, event) => event,
            (_, Event::Failed(failure)) => {
                let in_setup = is_ours(&state);
                return Some(self.failed(failure, in_setup));
            }
            (_, event) => event,
        };
        match state {
            State::Queued { cause } => self.queued(cause, event),
            State::Checkout { turn } => self.checkout(turn, event),
            State::Confining { turn } => self.confining(turn, &event),
            State::Launching { .. } => self.launching(event),
            State::Working => self.working(event),
            State::Committing { .. } => self.committing(event),
            State::Gating { head } => self.gating(head, event),
            State::Publishing { head } => self.publishing(head, event),
            State::Unwinding { ending } => self.unwinding(ending, event),
            State::Settled { .. } => None,
        }
    }

    fn queued(&mut self, cause: QueueCause, event: Event) -> Option<State> {
        match event {
            Event::Leased => Some(self.leased(cause.origin())),
            Event::PutOff { until, why, credential } => {
                let before = Box::new(cause.origin().clone());
                Some(State::Queued { cause: QueueCause::Delayed { until, why, before, credential } })
            }
            Event::CredentialChanged => quota::lifted(&cause),
            Event::FinishedElsewhere { result } => Some(self.finished_elsewhere(result)),
            _ => None,
        }
    }

    fn checkout(&mut self, turn: Turn, event: Event) -> Option<State> {
        let Event::TreeReady { base, remote_tip, plan, warnings } = event else { return None };
        let work = &mut self.agent.work;
        if work.base.is_none() {
            // Recorded once: what others push to the branch afterwards is not ours to overwrite.
            work.remote_tip = remote_tip;
        }
        (work.base, work.plan) = (Some(base), Some(Box::new(plan)));
        self.warn_all(warnings);
        Some(State::Confining { turn })
    }

    fn confining(&mut self, turn: Turn, event: &Event) -> Option<State> {
        let Event::Confined = event else { return None };
        self.agent.runs += 1;
        // From here on its program may run, whether or not anybody learns that it was started.
        self.agent.work.dirty = true;
        Some(State::Launching { turn })
    }

    fn launching(&mut self, event: Event) -> Option<State> {
        let Event::Launched { session, warnings } = event else { return None };
        self.warn_all(warnings);
        Some(self.launched(session))
    }

    fn working(&mut self, event: Event) -> Option<State> {
        match event {
            Event::Stalled { stage, summary } => Some(self.stalled(stage, summary)),
            Event::WentOn => {
                self.agent.attention.retain(|one| one.kind != AttentionKind::Stalled);
                Some(State::Working)
            }
            Event::Answered(answered) => {
                self.agent.attention.retain(|one| one.kind != answered.kind);
                self.agent.answered = Some(Box::new(answered));
                Some(State::Working)
            }
            Event::Spent(spent) => {
                self.agent.spent_in_run = spent;
                Some(State::Working)
            }
            Event::TurnEnded { outcome, left, session, warnings } => {
                self.warn_all(warnings);
                Some(self.turn_ended(outcome, left, session))
            }
            _ => None,
        }
    }

    fn committing(&mut self, event: Event) -> Option<State> {
        match event {
            Event::Kept { head, warnings } => {
                self.warn_all(warnings);
                Some(self.kept(head))
            }
            Event::Unchanged { beside, warnings } => {
                self.warn_all(warnings);
                Some(self.unchanged(&beside))
            }
            Event::Diverged { branches, warnings } => {
                self.warn_all(warnings);
                Some(self.diverged(&branches))
            }
            _ => None,
        }
    }

    fn gating(&mut self, head: CommitId, event: Event) -> Option<State> {
        match event {
            Event::Filtered { paths } => Some(self.filtered(paths)),
            Event::SecretsFound { findings } => Some(self.secrets_found(findings)),
            Event::Judged { report, warnings } => {
                self.warn_all(warnings);
                Some(self.judged(head, report))
            }
            _ => None,
        }
    }

    fn publishing(&mut self, head: CommitId, event: Event) -> Option<State> {
        match event {
            Event::Conflicted { base, files } => Some(self.conflicted(&base, &files)),
            Event::Pushed { shown } => {
                self.pushed(head, shown);
                Some(self.settle(Status::Completed, EndReason::Done, None))
            }
            Event::Failed(failure) => {
                if failure.kind == FailureKind::PushRejected {
                    self.agent.work.publication = Publication::NotThere { commit: head };
                }
                Some(self.failed(failure, false))
            }
            _ => None,
        }
    }

    fn unwinding(&mut self, ending: Ending, event: Event) -> Option<State> {
        let Event::Unwound { salvage, pending, look, warnings } = event else { return None };
        self.warn_all(warnings);
        self.looked(&look);
        Some(self.unwound(ending, salvage, pending))
    }
}

/// Tells whether a failure in this state lies on what surrounds the agent and never on it: before its program runs, and while its
/// commit is judged.
fn is_ours(state: &State) -> bool {
    matches!(state, State::Checkout { .. } | State::Confining { .. } | State::Gating { .. })
}
