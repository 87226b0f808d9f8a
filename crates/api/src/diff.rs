//! Changes of an agent. Names and lines are bytes: what is no UTF-8 comes in base64, and the field beside it says so.

use serde::{Deserialize, Serialize};

use crate::words::{ChangeKind, TextEncoding};

/// Some lines of a file that changed together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct DiffHunk {
    /// The line that begins with `@@`.
    pub header: String,
    /// Encoding of the header; left out for plain text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header_encoding: Option<TextEncoding>,
    /// The lines, each with its sign and its line break.
    pub lines: String,
    /// Encoding of the lines; left out for plain text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lines_encoding: Option<TextEncoding>,
}

/// A file that changed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct DiffFile {
    /// Its path.
    pub path: String,
    /// Encoding of the path; left out for plain text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path_encoding: Option<TextEncoding>,
    /// Kind of the change.
    pub status: ChangeKind,
    /// Its path before, when it was renamed or copied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub old_path: Option<String>,
    /// Encoding of the path before; left out for plain text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub old_path_encoding: Option<TextEncoding>,
    /// Its mode before, in octal digits; null for a new file.
    pub old_mode: Option<String>,
    /// Its mode, in octal digits; null for a deleted file.
    pub new_mode: Option<String>,
    /// Number of added lines; null for a binary file.
    pub added: Option<u64>,
    /// Number of deleted lines; null for a binary file.
    pub deleted: Option<u64>,
    /// It is no text.
    pub binary: bool,
    /// Its changes.
    pub hunks: Vec<DiffHunk>,
}

/// Answer of `GET /v1/agents/{id}/diff`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Diff {
    /// The agent.
    pub agent_id: String,
    /// The base commit.
    pub base: Option<String>,
    /// The commit or tree that is compared with it.
    pub head: Option<String>,
    /// Files that changed.
    pub files: Vec<DiffFile>,
    /// The patch; empty with `stat=1`.
    pub text: String,
    /// Encoding of the patch; left out for plain text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text_encoding: Option<TextEncoding>,
    /// The patch was cut.
    pub truncated: bool,
    /// The tree of an agent at work is compared.
    pub live: bool,
}
