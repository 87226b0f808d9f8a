//! Transcripts.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::words::{EndReason, Status};

/// Answer of `GET /v1/agents/{id}/transcript`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct TranscriptPage {
    /// Entries, oldest first.
    #[cfg_attr(feature = "schema", schema(value_type = Vec<TranscriptEntry>))]
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

/// One entry of a transcript.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct TranscriptEntry {
    /// Its number, from 1, without gaps.
    pub n: u64,
    /// Its time.
    pub at: String,
    /// The attempt that it belongs to, from 1.
    pub attempt: u32,
    /// Its kind and the fields of that kind.
    #[serde(flatten)]
    pub event: TranscriptEvent,
}

/// An event of an agent's run; secrets are masked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(tag = "kind", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum TranscriptEvent {
    /// A session began or continued.
    Started {
        /// The session.
        session: Option<String>,
        /// The model.
        model: Option<String>,
        /// Version of the agent program.
        version: Option<String>,
    },
    /// A message of the agent.
    Text {
        /// The message.
        text: String,
    },
    /// A thought of the agent.
    Thinking {
        /// The thought.
        text: String,
    },
    /// A use of a tool.
    Tool {
        /// The call.
        id: String,
        /// The tool.
        name: String,
        /// One line for people, such as the command or the file.
        title: String,
    },
    /// The answer of a tool.
    ToolResult {
        /// The call.
        id: String,
        /// The tool worked.
        ok: bool,
        /// The answer, cut.
        text: String,
    },
    /// A refusal.
    Denied {
        /// The tool.
        tool: String,
        /// Reason for it.
        reason: String,
    },
    /// Another request to the model service after a failure.
    ApiRetry {
        /// HTTP status of the failure.
        status: Option<u16>,
        /// Number of the request, from 1.
        #[serde(rename = "try")]
        tries: u32,
    },
    /// Tokens and cost since the last such entry.
    Usage {
        /// Tokens read.
        input_tokens: u64,
        /// Tokens written.
        output_tokens: u64,
        /// US dollars as the runtime reports them; null when they are not known.
        cost_usd: Option<f64>,
    },
    /// A line of output of a program without a protocol.
    Output {
        /// The line.
        text: String,
    },
    /// A notice for people.
    Notice {
        /// The notice.
        text: String,
    },
    /// An event of a newer server.
    #[serde(other)]
    Unknown,
}

/// The kind of an entry as its word, which may be one of a newer server.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct TranscriptKind {
    /// The word.
    pub kind: String,
}
