//! Decisions that people are asked for: listed over all nodes, and answered. A decision is named by its agent, its kind and the
//! time since when it is open, so that an answer that comes late meets nothing, and never the next decision.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use crate::domain::agent::{
    Agent, AnsweredAttention, Attention, AttentionAnswer, AttentionKind, Ending, State, Status,
};
use crate::domain::ids::{AgentId, Timestamp};
use crate::domain::lifecycle::KillCause;
use crate::domain::outcome::EndReason;
use crate::limits;
use crate::orchestrator::Orchestrator;
use crate::ports::store::{Query, StoreError, Versioned};

/// Name of a decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AttentionId {
    /// The agent.
    pub agent: AgentId,
    /// Kind of the decision.
    pub kind: AttentionKind,
    /// Time since when it is open.
    pub since: Timestamp,
}

impl AttentionId {
    /// Returns the name of a decision about this agent.
    pub fn of(agent: &Agent, attention: &Attention) -> Self {
        Self { agent: agent.id, kind: attention.kind, since: attention.since }
    }
}

impl fmt::Display for AttentionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.agent, self.kind.as_str(), self.since.0)
    }
}

/// A text that names no decision.
#[derive(Debug, Error)]
#[error(
    "a decision is named by agent, kind and time, such as 7d0c6c1e-4a52-4d0e-9a55-0d7c9f2f3f9a.stalled.1795341849112"
)]
pub struct NoAttentionId;

impl FromStr for AttentionId {
    type Err = NoAttentionId;

    fn from_str(text: &str) -> Result<Self, NoAttentionId> {
        let mut parts = text.split('.');
        let (Some(agent), Some(kind), Some(since), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(NoAttentionId);
        };
        let agent = agent.parse().map_err(|_| NoAttentionId)?;
        let kind =
            AttentionKind::ALL.into_iter().find(|known| known.as_str() == kind).ok_or(NoAttentionId)?;
        let since = Timestamp(since.parse().map_err(|_| NoAttentionId)?);
        Ok(Self { agent, kind, since })
    }
}

/// Failure of an answer.
#[derive(Debug, Error)]
pub enum AnswerError {
    /// The decision is not open any more.
    #[error("this decision about agent {agent} is not open any more: {why}")]
    Closed {
        /// The agent.
        agent: AgentId,
        /// Reason for it.
        why: String,
    },
    /// The decision takes other answers.
    #[error("a decision of the kind {} takes the answers: {}", .0.as_str(), allowed_answers(*.0))]
    NotTaken(AttentionKind),
    /// The store refused.
    #[error(transparent)]
    Store(#[from] StoreError),
}

fn allowed_answers(kind: AttentionKind) -> String {
    kind.answers().iter().map(|answer| answer.as_str()).collect::<Vec<_>>().join(", ")
}

/// Result of an answer.
#[derive(Debug)]
pub struct Answered {
    /// The agent as it is now.
    pub record: Versioned,
    /// The answer had an effect; false when it was given before.
    pub changed: bool,
    /// False when the agent is being ended and it is not verified yet that nothing of it is alive.
    pub confirmed: bool,
}

impl Orchestrator {
    /// Lists the live agents with open decisions, newest admission first.
    pub async fn attention(&self) -> Result<Vec<Versioned>, StoreError> {
        let (mut found, mut before_seq) = (Vec::new(), None);
        loop {
            let status = vec![Status::Spawning, Status::Running];
            let query = Query { status, before_seq, limit: limits::STORE_PAGE, ..Query::default() };
            let page = self.ports.store.list(query).await?;
            let is_last = page.len() < limits::STORE_PAGE;
            before_seq = page.last().map(|record| record.seq);
            found.extend(page.into_iter().filter(|record| !record.agent.attention.is_empty()));
            if is_last {
                return Ok(found);
            }
        }
    }

    /// Answers a decision. Idempotent: the same answer again has no effect and is no error. `by` and `note` say who answers
    /// and why. An answer that lets the agent continue is given on the node that runs it.
    pub async fn answer_attention(
        &self,
        id: AttentionId,
        answer: AttentionAnswer,
        by: &str,
        note: &str,
    ) -> Result<Answered, AnswerError> {
        if !id.kind.answers().contains(&answer) {
            return Err(AnswerError::NotTaken(id.kind));
        }
        let record = self.ports.store.get(id.agent).await?;
        // Looked for before the decision itself: the same answer closed it, and a client whose first answer
        // was lost must not be told that it came too late.
        if was_given(&record.agent, id, answer) {
            return Ok(Answered { record, changed: false, confirmed: true });
        }
        if !is_open(&record.agent, id) {
            return Err(AnswerError::Closed { agent: id.agent, why: why_closed(&record.agent, id) });
        }
        match answer {
            AttentionAnswer::Kill => {
                let killed = self.kill(id.agent, KillCause::Operator, note).await?;
                if killed.already_terminal {
                    let why = why_closed(&killed.record.agent, id);
                    return Err(AnswerError::Closed { agent: id.agent, why });
                }
                Ok(Answered { record: killed.record, changed: true, confirmed: killed.confirmed })
            }
            AttentionAnswer::Wait => self.wait_for_silent(id, by).await,
        }
    }

    /// Lets the silence of an agent count from now on, and waits until its record says so. Nobody waits for an answer that is
    /// refused: it is withdrawn.
    async fn wait_for_silent(&self, id: AttentionId, by: &str) -> Result<Answered, AnswerError> {
        let closed = |why: String| Err(AnswerError::Closed { agent: id.agent, why });
        let Some(driver) = self.live().get(&id.agent).cloned() else {
            return closed("this node does not run it".to_owned());
        };
        if *driver.frozen.borrow() {
            return closed("it is frozen, and its silence does not count; thaw it first".to_owned());
        }
        let vitals = self.monitor.vitals(id.agent);
        let (kind, since, at) = (id.kind, id.since, self.now());
        let answer = AttentionAnswer::Wait;
        vitals.wait_for_it(self.elapsed(), AnsweredAttention { kind, since, answer, by: by.to_owned(), at });
        let taken = tokio::select! {
            taken = self.answer_in_record(id) => taken,
            () = self.ports.clock.sleep(limits::ATTENTION_ANSWER) => closed(format!(
                "its supervision did not take the answer within {} s; answer again",
                limits::ATTENTION_ANSWER.as_secs()
            )),
        };
        if taken.is_err() {
            vitals.withdraw_answer();
        }
        taken
    }

    /// Waits until the record of an agent has an answer, or does not need it any more.
    async fn answer_in_record(&self, id: AttentionId) -> Result<Answered, AnswerError> {
        let mut newest = self.ports.store.newest();
        loop {
            // Taken as seen before the record is read, so that a write which comes in between wakes the wait below.
            newest.borrow_and_update();
            let record = self.ports.store.get(id.agent).await?;
            if was_given(&record.agent, id, AttentionAnswer::Wait) {
                return Ok(Answered { record, changed: true, confirmed: true });
            }
            if !is_open(&record.agent, id) {
                return Err(AnswerError::Closed { agent: id.agent, why: why_closed(&record.agent, id) });
            }
            if newest.changed().await.is_err() {
                // The store's end, which ends this server too.
                std::future::pending::<()>().await;
            }
        }
    }
}

fn is_open(agent: &Agent, id: AttentionId) -> bool {
    agent.attention.iter().any(|one| AttentionId::of(agent, one) == id)
}

/// Tells whether this very answer was given before.
fn was_given(agent: &Agent, id: AttentionId, answer: AttentionAnswer) -> bool {
    match answer {
        AttentionAnswer::Wait => agent
            .answered
            .as_ref()
            .is_some_and(|one| (one.kind, one.since, one.answer) == (id.kind, id.since, answer)),
        AttentionAnswer::Kill => !is_open(agent, id) && is_killed(agent),
    }
}

/// Tells whether a person ended the agent, or ends it now.
fn is_killed(agent: &Agent) -> bool {
    let end = match &agent.state {
        State::Settled { end } | State::Unwinding { ending: Ending::Settle { end } } => end,
        _ => return false,
    };
    end.reason == EndReason::Operator
}

fn why_closed(agent: &Agent, id: AttentionId) -> String {
    if let Some(one) = agent.answered.as_ref().filter(|one| (one.kind, one.since) == (id.kind, id.since)) {
        return format!("{} answered \"{}\" at {}", one.by, one.answer.as_str(), one.at.to_rfc3339());
    }
    match agent.end() {
        Some(end) => format!("the agent has ended ({})", end.status.as_str()),
        None => "the agent continued".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::AttentionId;

    #[test]
    fn a_decision_is_named_by_agent_kind_and_time() {
        let text = "7d0c6c1e-4a52-4d0e-9a55-0d7c9f2f3f9a.gate_failed.1795341849112";
        let id: AttentionId = text.parse().unwrap();
        assert_eq!(id.to_string(), text);
        for bad in ["", "7d0c6c1e-4a52-4d0e-9a55-0d7c9f2f3f9a", "x.stalled.1", &format!("{text}.1")] {
            assert!(bad.parse::<AttentionId>().is_err(), "{bad}");
        }
    }
}
