//! Agents.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::gates::{FilteredPath, Finding, GatePlan, GateReport};
use crate::orders::KillReceipt;
use crate::words::{
    AgentType, AttentionKind, BackoffKind, EndReason, FailureKind, GateProfile, Phase, PublicationState,
    Status, Verdict, WorkState,
};

/// A decision that a person is asked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Attention {
    /// Kind of the decision.
    pub kind: AttentionKind,
    /// One line for people.
    pub summary: String,
    /// Time since when.
    pub since: String,
}

/// Addresses of an agent's parts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Links {
    /// The agent.
    #[serde(rename = "self")]
    pub own: String,
    /// Its status, as the contract has it.
    pub status: String,
    /// Its transcript.
    pub transcript: String,
    /// Its changes.
    pub diff: String,
    /// Its gates.
    pub gates: String,
    /// Its use of the machine.
    pub resources: String,
    /// The order to kill it.
    pub kill: String,
}

/// Answer to a spawn or a retry.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Spawned {
    /// The new agent.
    pub agent_id: String,
    /// Its status.
    pub status: Status,
    /// Its phase.
    pub phase: Phase,
    /// Number of entries that start before it, when it is known.
    pub queue_position: Option<u64>,
    /// Its name.
    pub name: String,
    /// Its task.
    pub task_id: String,
    /// The branch that it is pushed to.
    pub branch: String,
    /// The agent that it repeats.
    pub previous_agent_id: Option<String>,
    /// Addresses of its parts.
    pub links: Links,
}

/// Answer of `GET /agents/{id}/status`: the fields of the contract, and more.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct StatusView {
    /// The agent.
    pub agent_id: String,
    /// Its task.
    pub task_id: String,
    /// Its status.
    pub status: Status,
    /// Time of its admission.
    pub spawned_at: String,
    /// Time of its first start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<String>,
    /// Time of its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completed_at: Option<String>,
    /// Error of its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Its phase.
    pub phase: Phase,
    /// Decisions that a person is asked for.
    pub attention: Vec<Attention>,
    /// Reason for its end.
    pub end_reason: Option<EndReason>,
    /// The running or last attempt, from 1; 0 before the first.
    pub attempt: u32,
    /// Fix rounds that were used.
    pub fix_round: u32,
    /// Verdict of its gates.
    pub verdict: Option<Verdict>,
    /// Sentences for people.
    pub warnings: Vec<String>,
    /// The branch that it is pushed to.
    pub branch: Option<String>,
    /// Its name.
    pub name: String,
    /// The agent that it repeats.
    pub previous_agent_id: Option<String>,
    /// Addresses of its parts.
    pub links: Links,
    /// It is frozen; left out when it is not.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub frozen: bool,
    /// State of the archive that has its record when that cannot be read: the fields that are then unknown are as of a new agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub archive: Option<String>,
}

/// Answer to freezing and thawing an agent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Frozen {
    /// The agent.
    #[serde(flatten)]
    pub agent: StatusView,
    /// It is frozen.
    #[serde(rename = "frozen")]
    pub is_frozen: bool,
    /// The order changed it.
    pub changed: bool,
}

/// Pauses before automatic retries.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Backoff {
    /// Their growth.
    #[serde(rename = "type")]
    pub kind: BackoffKind,
    /// The first pause, in milliseconds.
    pub delay: u64,
    /// The random part of a pause, 0 to 1.
    #[serde(default)]
    pub jitter: f64,
}

/// Caps on the spending of an agent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Budget {
    /// US dollars, above 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usd: Option<f64>,
    /// Model turns, at least 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub turns: Option<u32>,
}

/// Spending of all runs of an agent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Spent {
    /// US dollars.
    pub usd: f64,
    /// Model turns.
    pub turns: u32,
}

/// Knowledge of an agent's commit on the remote.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Publication {
    /// State of that knowledge.
    pub state: PublicationState,
    /// The commit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
}

/// Work that is kept under a ref of the server's bare repository.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Salvaged {
    /// The ref.
    pub reference: String,
    /// The commit.
    pub commit: String,
}

/// A ref of kept work.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct KeptRef {
    /// The ref.
    pub reference: String,
    /// The commit.
    pub commit: String,
}

/// Work that an attempt left.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct KeptWork {
    /// The attempt, from 1.
    pub attempt: u32,
    /// The run, from 1; a number never comes twice.
    pub run: u32,
    /// The node that it ran on.
    pub node: String,
    /// Time of its end.
    pub at: String,
    /// State of the work.
    pub state: WorkState,
    /// Refs on that node.
    pub refs: Vec<KeptRef>,
    /// The agent moved on since.
    pub earlier: bool,
}

/// A failure of a step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Failure {
    /// Its kind.
    pub kind: FailureKind,
    /// Its message.
    pub message: String,
    /// End of the limit of a model service, with the certainty of that time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schema(value_type = Option<Object>))]
    pub reset: Option<serde_json::Value>,
    /// Runtime and mark of the credential that the limit is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential: Option<String>,
}

/// The work that an agent was given.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Context {
    /// The repository.
    pub repository: String,
    /// The base branch.
    pub branch: String,
    /// Ids or texts of the work, at least one.
    pub work_items: Vec<String>,
    /// Names of skills.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub skills: Vec<String>,
    /// Free text for the agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instructions: Option<String>,
}

/// An agent without what can be large: an entry of a list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct AgentView {
    /// Its status.
    #[serde(flatten)]
    pub status: StatusView,
    /// Version of its record.
    pub version: u64,
    /// Its purpose.
    pub agent_type: AgentType,
    /// Profile of its gates.
    pub gate_profile: GateProfile,
    /// The repository.
    pub repository: String,
    /// The base branch.
    pub base_branch: String,
    /// Priority, 1 (first) to 10.
    pub priority: u8,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// The node that runs it, or ran it last.
    pub node: Option<String>,
    /// The runtime.
    pub runtime: Option<String>,
    /// The model.
    pub model: Option<String>,
    /// Most retries.
    pub max_retries: u32,
    /// Pauses before them, when the caller chose some.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backoff: Option<Backoff>,
    /// Most fix rounds.
    pub max_fix_rounds: u32,
    /// Longest run, in seconds.
    pub timeout_seconds: u64,
    /// Caps on its spending.
    pub budget: Budget,
    /// Its spending.
    pub spent: Spent,
    /// The base commit.
    pub base_commit: Option<String>,
    /// The newest commit that the server has.
    pub head_commit: Option<String>,
    /// The commit that was pushed.
    pub pushed_commit: Option<String>,
    /// Knowledge of its commit on the remote.
    pub publication: Publication,
    /// Work that was not received when it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub salvage: Option<Salvaged>,
    /// Receipt of its last run when that was stopped: by a kill, a limit, its silence or its supervisor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receipt: Option<KillReceipt>,
    /// Work of its attempts, oldest first.
    pub kept_work: Vec<KeptWork>,
    /// Time at which the running attempt times out.
    pub deadline: Option<String>,
    /// Earliest time of its next start.
    pub not_before: Option<String>,
    /// Failure of the last attempt, while it waits for the next.
    pub last_failure: Option<Failure>,
    /// Things that could not be cleaned up yet, and why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cleanup_pending: Option<String>,
    /// Number of entries that start before it.
    pub queue_position: Option<u64>,
    /// Reason why it was deferred.
    pub delayed_because: Option<String>,
    /// Time of its last event.
    pub last_event_at: Option<String>,
    /// The rest; lists leave it out.
    #[serde(flatten)]
    pub detail: Option<Detail>,
    /// The wait that was asked for ended without what was waited for.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub waited: bool,
}

/// Parts of an agent that can be large.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Detail {
    /// The work that it was given.
    pub context: Context,
    /// Gates of a custom profile.
    pub gates: Vec<String>,
    /// Gates that will judge it.
    pub gate_plan: Option<GatePlan>,
    /// The newest judgement.
    pub gate_report: Option<GateReport>,
    /// Changed paths behind a git filter.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub filtered_paths: Vec<FilteredPath>,
    /// Findings that are not repaired.
    pub findings: Vec<Finding>,
    /// The agent's last text.
    pub result: Option<String>,
    /// Session of its runtime.
    pub session: Option<String>,
}

/// Answer of `GET /v1/agents`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct AgentList {
    /// Agents, newest first.
    pub items: Vec<AgentView>,
    /// Cursor of the next page; null at the end.
    pub next_cursor: Option<String>,
}

/// Answer to a restore.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Restored {
    /// The node on whose machine it is.
    pub node: String,
    /// The new repository.
    pub path: String,
    /// Its branch.
    pub branch: String,
    /// The commit that is checked out.
    pub head: Option<String>,
    /// Work that was not committed.
    pub salvage: Option<Salvaged>,
}
