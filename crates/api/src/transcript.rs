//! Transcripts.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::words::{EndReason, Status};

/// Answer of `GET /v1/agents/{id}/transcript`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct TranscriptPage {
    /// Entries, oldest first: each with its number `n`, its time `at` and its `kind`.
    #[cfg_attr(feature = "schema", schema(value_type = Vec<Object>))]
    pub items: Vec<Value>,
    /// Value of `after` for the next page; null at the end.
    pub next_cursor: Option<String>,
}

/// Last event of a live transcript.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct TranscriptEnd {
    /// Status of the agent.
    pub status: Status,
    /// Reason for its end.
    pub end_reason: Option<EndReason>,
}
