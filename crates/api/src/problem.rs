//! The body of an error answer (RFC 9457).

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// One faulty field of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct FieldError {
    /// JSON pointer to the field (RFC 6901), or `/query/…`, `/path/…`, `/headers/…`.
    pub pointer: String,
    /// `required`, `type`, `invalid`, `unknown`, `range`, `transport` or `active`.
    pub code: String,
    /// The fault, as a lower-case fragment.
    pub message: String,
}

/// The body of an error answer, `application/problem+json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct ProblemBody {
    /// Members of single codes, such as `agentId`.
    #[serde(flatten)]
    #[cfg_attr(feature = "schema", schema(value_type = Object))]
    pub extra: Map<String, Value>,
    /// Address that names the kind of problem.
    #[serde(rename = "type")]
    pub kind: String,
    /// The kind in a few words.
    pub title: String,
    /// HTTP status.
    pub status: u16,
    /// Description of this occurrence.
    pub detail: String,
    /// `/requests/` and the request's id.
    pub instance: String,
    /// Word to switch on, one of [`crate::Code`].
    pub code: String,
    /// Another try may succeed; `Retry-After` says when.
    pub retryable: bool,
    /// Every faulty field.
    pub errors: Vec<FieldError>,
    /// HTTP status, for clients of the NestJS service.
    pub status_code: u16,
    /// The description, for clients of the NestJS service.
    pub message: String,
    /// Id of the request in the server's log.
    pub request_id: String,
    /// Advice for the next step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// A faulty field as a client reads it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct ReceivedFieldError {
    /// JSON pointer to the field.
    pub pointer: String,
    /// The fault.
    pub message: String,
}

/// An error answer as a client reads it, whatever program sent it: a server of any version, or a proxy in between.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct ReceivedProblem {
    /// Word to switch on, one of [`crate::Code`].
    pub code: Option<String>,
    /// Description of this occurrence.
    pub detail: Option<String>,
    /// The description, as some servers call it.
    pub message: Option<String>,
    /// The kind in a few words.
    pub title: Option<String>,
    /// Advice for the next step.
    pub hint: Option<String>,
    /// Faulty fields.
    pub errors: Vec<ReceivedFieldError>,
}
