//! Details of facts about an agent's life.

use serde::Serialize;

use crate::domain::agent::{Agent, AttentionKind, End, Phase, Status};
use crate::domain::gates::Finding;
use crate::domain::ids::{AgentId, CommitId, NodeId, Stamp};
use crate::domain::kept_work::{KeptRef, KeptWork, WorkState};
use crate::domain::outcome::EndReason;
use crate::domain::repository::RepositoryUrl;
use crate::domain::spec::{AgentType, Priority};
use crate::domain::stall::Stage;

/// Details of an admission.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AgentSpawning {
    /// Its status.
    pub to: Status,
    /// Its name.
    pub name: String,
    /// Its purpose.
    pub agent_type: AgentType,
    /// The repository.
    pub repository: RepositoryUrl,
    /// Its priority.
    pub priority: Priority,
    /// The agent that it repeats.
    pub previous_agent_id: Option<AgentId>,
}

impl AgentSpawning {
    /// Describes the admission of this agent.
    pub fn of(agent: &Agent) -> Self {
        Self {
            to: agent.status(),
            name: agent.name.clone(),
            agent_type: agent.spec.agent_type,
            repository: agent.spec.context.repository.clone(),
            priority: agent.spec.priority,
            previous_agent_id: agent.previous,
        }
    }
}

/// Details of the first start of an agent.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AgentRan {
    /// Its status before.
    pub from: Status,
    /// Its status now.
    pub to: Status,
    /// Its name.
    pub name: String,
}

/// Details of the end of an agent.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AgentEnded {
    /// Its status before.
    pub from: Status,
    /// Its status now.
    pub to: Status,
    /// Its name.
    pub name: String,
    /// Reason for its end.
    pub end_reason: EndReason,
    /// Error of its end.
    pub error: Option<String>,
}

impl AgentEnded {
    /// Describes the end of this agent, whose status was another before.
    pub fn of(agent: &Agent, from: Status, end: &End) -> Self {
        let (name, error) = (agent.name.clone(), end.error.clone());
        Self { from, to: end.status, name, end_reason: end.reason, error }
    }
}

/// Details of a move to another phase.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AgentPhase {
    /// The phase before.
    pub from: Phase,
    /// The phase now.
    pub to: Phase,
    /// The attempt.
    pub attempt: u32,
    /// Fix rounds that were used.
    pub fix_round: u32,
}

/// Details of an adoption by another server.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AgentAdopted {
    /// Its phase.
    pub phase: Phase,
    /// The attempt.
    pub attempt: u32,
}

/// Details of the loss of an agent's node.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AgentNodeLost {
    /// The node.
    pub node: NodeId,
    /// The attempt.
    pub attempt: u32,
    /// Nodes that were lost while it ran there.
    pub losses: u32,
}

/// Details of a node's report about the work of an earlier attempt.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct WorkReported {
    /// The node.
    pub node: NodeId,
    /// State of the work.
    pub state: WorkState,
    /// Refs that hold it.
    pub refs: Vec<KeptRef>,
}

/// Details of freezing and thawing.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AgentFreeze {
    /// The agent's name.
    pub name: String,
    /// The caller and the reason.
    pub note: String,
}

/// Details of a call for a person.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AgentAttention {
    /// Kind of the decision.
    pub kind: AttentionKind,
    /// Stage of the response to a silent agent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stage: Option<Stage>,
    /// End of the limit that it waits for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<Stamp>,
    /// One line for people.
    pub summary: String,
}

/// Details of the end of a call for a person.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AttentionCleared {
    /// Kind of the decision.
    pub kind: AttentionKind,
}

/// Details of findings that are returned to the agent.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FixRequested {
    /// Reason for which it would end without another round.
    pub reason: EndReason,
    /// The round, from 1.
    pub fix_round: u32,
    /// The findings.
    pub findings: Vec<Finding>,
}

/// Details of a failure that lies on the node.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AgentMoved {
    /// The node.
    pub node: NodeId,
    /// The failure.
    pub error: String,
    /// Nodes that were tried.
    pub tries: u32,
    /// Earliest time of its next start, when no other node can run it now.
    pub until: Option<Stamp>,
}

/// Details of a removal.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AgentRemoved {
    /// The agent's name.
    pub name: String,
    /// Reason for the removal.
    pub why: String,
    /// Commits that were given up.
    pub discarded: Vec<CommitId>,
    /// Its tree held work that was given up.
    pub tree: bool,
    /// Work of earlier attempts that other nodes keep.
    pub elsewhere: Vec<KeptWork>,
}

/// Details of a retry.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RetryScheduled {
    /// Earliest time of the next attempt.
    pub until: Stamp,
    /// Error of the failed one.
    pub error: String,
    /// The failed attempt.
    pub attempt: u32,
}
