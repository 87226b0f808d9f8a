//! Decisions that people are asked for.

use serde::{Deserialize, Serialize};

use crate::agents::StatusView;
use crate::words::{AttentionAnswer, AttentionKind};

/// An open decision.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct OpenAttention {
    /// Its name, for the answer.
    pub id: String,
    /// The agent.
    pub agent_id: String,
    /// Name of the agent.
    pub name: String,
    /// Task of the agent.
    pub task_id: String,
    /// The node that runs the agent, or ran it last.
    pub node: Option<String>,
    /// Kind of the decision.
    pub kind: AttentionKind,
    /// Time since when it is open.
    pub since: String,
    /// One line for people.
    pub message: String,
    /// Advice for the next step.
    pub next: String,
    /// Answers that it takes.
    pub answers: Vec<AttentionAnswer>,
}

/// Answer of `GET /v1/attention`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct AttentionList {
    /// Open decisions, oldest first.
    pub items: Vec<OpenAttention>,
    /// Cursor of the next page; null at the end.
    pub next_cursor: Option<String>,
}

/// Body of `POST /v1/attention/{id}/answer`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct AnswerRequest {
    /// The answer, one of those that the decision takes.
    pub answer: AttentionAnswer,
    /// Reason, for the record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Answer of `POST /v1/attention/{id}/answer`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct AttentionAnswered {
    /// Name of the decision.
    pub id: String,
    /// The answer.
    pub answer: AttentionAnswer,
    /// The answer had an effect; false when it was given before.
    pub changed: bool,
    /// The agent as it is now.
    pub agent: StatusView,
}
