//! From the queue to a commit: an attempt begins, runs, and what it made is received.

use std::time::Duration;

use super::super::agent::{Attention, AttentionKind, QueueCause, State, Status, Turn};
use super::super::facts::{AgentAttention, Fact, GitCommit};
use super::super::ids::CommitId;
use super::super::outcome::{EndReason, Failure, FailureKind, Outcome};
use super::super::spec::AgentType;
use super::super::stall::Stage;
use super::decision::Decision;

impl Decision {
    pub(super) fn leased(&mut self, cause: &QueueCause) -> State {
        // Neither an interruption nor a limit of the model service is the attempt's own end.
        let interrupted = matches!(cause, QueueCause::Interrupted) || cause.quota().is_some();
        if !interrupted || self.agent.attempt == 0 {
            self.agent.attempt += 1;
        }
        match (&self.agent.work.kept, self.agent.work.unjudged) {
            // The work was received, and the attempt was broken off before its verdict: it is judged now and
            // not made again.
            (Some(head), true) => State::Gating { head: head.clone() },
            _ if !self.agent.work.findings.is_empty() => {
                State::Checkout { turn: Turn::Fix { findings: self.agent.work.findings.clone() } }
            }
            _ if self.agent.attempt == 1 && !interrupted => State::Checkout { turn: Turn::First },
            _ => State::Checkout { turn: Turn::Again },
        }
    }

    pub(super) fn launched(&mut self, session: Option<String>) -> State {
        let limit = self.agent.spec.timeout_seconds.saturating_mul(1000);
        let work = &mut self.agent.work;
        let left = Duration::from_millis(work.time_left_ms.unwrap_or(limit));
        work.deadline = Some(self.now.at.plus(left));
        if session.is_some() {
            work.session = session;
        }
        self.agent.started_at.get_or_insert(self.now.at);
        self.agent.stop = None;
        State::Working
    }

    /// Asks for a person while the silence lasts; the first stage says since when.
    pub(super) fn stalled(&mut self, stage: Stage, summary: String) -> State {
        self.note(Fact::AgentAttention(AgentAttention {
            kind: AttentionKind::Stalled,
            stage: Some(stage),
            until: None,
            summary: summary.clone(),
        }));
        let attention = &mut self.agent.attention;
        match attention.iter_mut().find(|one| one.kind == AttentionKind::Stalled) {
            Some(known) => known.summary = summary,
            None => {
                attention.push(Attention { kind: AttentionKind::Stalled, summary, since: self.now.at });
            }
        }
        State::Working
    }

    /// The attempt's time runs only while the agent's program does: gates have deadlines of their own.
    pub(super) fn stop_clock(&mut self, left: Option<Duration>) {
        let work = &mut self.agent.work;
        if let Some(deadline) = work.deadline.take() {
            let left = left.unwrap_or_else(|| deadline.since(self.now.at)).as_millis();
            work.time_left_ms = Some(u64::try_from(left).unwrap_or(u64::MAX));
        }
    }

    pub(super) fn kept(&mut self, head: CommitId) -> State {
        self.note(Fact::GitCommit(GitCommit { commit: head.clone() }));
        let work = &mut self.agent.work;
        work.kept = Some(head.clone());
        (work.dirty, work.unjudged) = (false, true);
        // It came to a commit, so what kept it from its work is over, and the bounds count anew.
        self.agent.quota_waits = 0;
        self.agent.node_faults.clear();
        self.agent.node_tries = 0;
        let work = &mut self.agent.work;
        work.findings.clear();
        State::Gating { head }
    }

    pub(super) fn unchanged(&mut self, beside: &[String]) -> State {
        self.agent.work.dirty = false;
        let elsewhere = (!beside.is_empty()).then(|| {
            format!(
                "nothing is on the agent's own branch {}: what it committed is on {}, which nothing was published of. \
                 It is kept; `mosaic restore {}` brings it back",
                self.agent.branch,
                beside.join(", "),
                self.agent.name
            )
        });
        if self.agent.spec.agent_type == AgentType::Worker {
            let text = "the agent ended without changing anything; its last words are in `result`. \
                        Say more clearly what is wanted, or use agentType reviewer if no change is expected.";
            let text = elsewhere.unwrap_or_else(|| text.to_owned());
            self.settle(Status::Failed, EndReason::NoChanges, Some(text))
        } else {
            self.warn_all(elsewhere.into_iter().collect());
            self.settle(Status::Completed, EndReason::NoChanges, None)
        }
    }

    pub(super) fn diverged(&mut self, branches: &[String]) -> State {
        self.agent.work.dirty = false;
        let kept = branches.join(", ");
        let text = format!(
            "HEAD does not descend from the base commit, so it cannot be judged against it; kept branches: {kept}. \
             Look at them in the server's bare repository under refs/agents/{}/branches/.",
            self.agent.id
        );
        self.failed(Failure::new(FailureKind::Diverged, text), false)
    }

    pub(super) fn turn_ended(
        &mut self,
        outcome: Outcome,
        left: Option<Duration>,
        session: Option<String>,
    ) -> State {
        if session.is_some() {
            self.agent.work.session = session;
        }
        self.stop_clock(left);
        match outcome {
            Outcome::Completed { text } => {
                self.agent.work.result = Some(text.clone()).filter(|text| !text.is_empty());
                State::Committing { text }
            }
            Outcome::Failed(failure) => self.failed(failure, false),
        }
    }
}
