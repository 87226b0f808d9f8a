//! Reasons why a stored record cannot be read. Such a record is set aside with the reason.

use mosaic_core::domain::ids::{AgentId, InvalidName};
use thiserror::Error;

/// Reasons of damage.
#[derive(Debug, Error)]
pub(super) enum RecordError {
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    #[error("the record is that of agent {0}")]
    OtherAgent(AgentId),
    #[error("its status is {record} in the record and {head} in its head")]
    Status { record: &'static str, head: String },
    #[error("time {text}: {cause}")]
    Time {
        text: String,
        #[source]
        cause: InvalidName,
    },
    /// The fields that make no task.
    #[error("{}", .0.join("; "))]
    Task(Vec<String>),
    #[error("its head is damaged")]
    Head,
    #[error("it is gone")]
    Gone,
    #[error("it was not read")]
    NotRead,
}
