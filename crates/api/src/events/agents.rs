//! Details of events about an agent's life.

use serde::{Deserialize, Serialize};

use crate::agents::{KeptRef, KeptWork};
use crate::gates::Finding;
use crate::words::{AgentType, AttentionKind, EndReason, Phase, StallStage, Status, StopCause, WorkState};

/// Details of an admission.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct AgentSpawning {
    /// Its status.
    pub to: Status,
    /// Its name.
    pub name: String,
    /// Its purpose.
    pub agent_type: AgentType,
    /// The repository.
    pub repository: String,
    /// Its priority.
    pub priority: u8,
    /// The agent that it repeats.
    pub previous_agent_id: Option<String>,
}

/// Details of the first start of an agent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct AgentRan {
    /// Its status before.
    pub from: Status,
    /// Its status now.
    pub to: Status,
    /// Its name.
    pub name: String,
}

/// Details of the end of an agent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
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

/// Details of a move to another phase.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
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
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct AgentAdopted {
    /// Its phase.
    pub phase: Phase,
    /// The attempt.
    pub attempt: u32,
}

/// Details of the loss of an agent's node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct AgentNodeLost {
    /// The node.
    pub node: String,
    /// The attempt.
    pub attempt: u32,
    /// Nodes that were lost while it ran there.
    pub losses: u32,
}

/// Details of a node's report about the work of an earlier attempt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct WorkReported {
    /// The node.
    pub node: String,
    /// State of the work.
    pub state: WorkState,
    /// Refs that hold it.
    pub refs: Vec<KeptRef>,
}

/// Details of freezing and thawing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct AgentFreeze {
    /// The agent's name.
    pub name: String,
    /// The caller and the reason.
    pub note: String,
}

/// Details of the end of a run by force.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct AgentStopped {
    /// The run, from 1.
    pub run: u32,
    /// Its cause.
    pub cause: StopCause,
    /// Live processes before.
    pub processes_before: u32,
    /// Live processes after; 0 is the promise.
    pub processes_after: u32,
    /// The last measure that was needed: `none`, `interrupt`, `term`, `kill`, `sweep`.
    pub rung: String,
    /// Milliseconds until no process was left, verified.
    pub took_ms: u64,
    /// Confinement of the processes: `cgroup`, `pid namespace` or `subreaper`; empty when there were none.
    #[serde(default)]
    pub confinement: String,
    /// Milliseconds of these after the grace was over.
    #[serde(default)]
    pub past_grace_ms: u64,
}

/// Details of a call for a person.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct AgentAttention {
    /// Kind of the decision.
    pub kind: AttentionKind,
    /// Stage of the response to a silent agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage: Option<StallStage>,
    /// End of the limit that it waits for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    /// One line for people.
    pub summary: String,
}

/// Details of the end of a call for a person.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct AttentionCleared {
    /// Kind of the decision.
    pub kind: AttentionKind,
}

/// Details of findings that are returned to the agent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
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
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct AgentMoved {
    /// The node.
    pub node: String,
    /// The failure.
    pub error: String,
    /// Nodes that were tried.
    pub tries: u32,
    /// Earliest time of its next start, when no other node can run it now.
    pub until: Option<String>,
}

/// Details of a removal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct AgentRemoved {
    /// The agent's name.
    pub name: String,
    /// Reason for the removal.
    pub why: String,
    /// Commits that were given up.
    pub discarded: Vec<String>,
    /// Its tree held work that was given up.
    pub tree: bool,
    /// Work of earlier attempts that other nodes keep.
    pub elsewhere: Vec<KeptWork>,
}

/// Details of a retry.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct RetryScheduled {
    /// Earliest time of the next attempt.
    pub until: String,
    /// Error of the failed one.
    pub error: String,
    /// The failed attempt.
    pub attempt: u32,
}
