//! Status of an agent as people and programs read it: one projection of its record, for the status answer of the HTTP API and
//! for the fields that a record of the shared store shows.

use serde::Serialize;

use super::agent::{Agent, Attention, AttentionKind, Phase, Status};
use super::gates::Verdict;
use super::ids::{AgentId, BranchName, Stamp, TaskId};
use super::outcome::EndReason;

/// Fields of the contract's status answer, and more.
///
/// As JSON it has no status, phase and verdict: a record of the shared store begins with the first two, for its scripts.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StatusProjection<'a> {
    /// The agent.
    pub agent_id: AgentId,
    /// Its task.
    pub task_id: &'a TaskId,
    /// Its status.
    #[serde(skip)]
    pub status: Status,
    /// Its phase.
    #[serde(skip)]
    pub phase: Phase,
    /// Time of its admission.
    pub spawned_at: Stamp,
    /// Time of its first start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Stamp>,
    /// Time of its end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub completed_at: Option<Stamp>,
    /// Error of its end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<&'a str>,
    /// Reason for its end.
    pub end_reason: Option<EndReason>,
    /// Decisions that a person is asked for.
    pub attention: Vec<AttentionProjection<'a>>,
    /// The running or last attempt, from 1; 0 before the first.
    pub attempt: u32,
    /// Fix rounds that were used.
    pub fix_round: u32,
    /// Its name.
    pub name: &'a str,
    /// The branch that it is pushed to; none when another worker of the queue has done its work.
    pub branch: Option<&'a BranchName>,
    /// The agent that it repeats.
    pub previous_agent_id: Option<AgentId>,
    /// Verdict of its gates.
    #[serde(skip)]
    pub verdict: Option<Verdict>,
}

/// A decision that a person is asked for.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AttentionProjection<'a> {
    /// Kind of the decision.
    pub kind: AttentionKind,
    /// Time since when.
    pub since: Stamp,
    /// One line for people.
    pub summary: &'a str,
}

impl<'a> StatusProjection<'a> {
    /// Projects the record of this agent.
    pub fn of(agent: &'a Agent) -> Self {
        let end = agent.end();
        Self {
            agent_id: agent.id,
            task_id: &agent.spec.task_id,
            status: agent.status(),
            phase: agent.phase(),
            spawned_at: Stamp(agent.spawned_at),
            started_at: agent.started_at.map(Stamp),
            completed_at: end.map(|end| Stamp(end.at)),
            error: end.and_then(|end| end.error.as_deref()),
            end_reason: end.map(|end| end.reason),
            attention: agent.attention.iter().map(AttentionProjection::of).collect(),
            attempt: agent.attempt,
            fix_round: agent.fix_round,
            name: &agent.name,
            branch: agent.shown_branch(),
            previous_agent_id: agent.previous,
            verdict: agent.verdict(),
        }
    }
}

impl<'a> AttentionProjection<'a> {
    fn of(one: &'a Attention) -> Self {
        Self { kind: one.kind, since: Stamp(one.since), summary: &one.summary }
    }
}
