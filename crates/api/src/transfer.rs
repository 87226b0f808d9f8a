//! Records of agents on their way to another store or to another node. They are in the form of the store, which only programs
//! of the same fleet read.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A waiting agent on its way to another store.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct TransferEntry {
    /// Its sequence number in the store that it leaves, which orders the entries.
    pub seq: u64,
    /// Its record.
    #[cfg_attr(feature = "schema", schema(value_type = Object))]
    pub agent: Value,
}

/// Answer of `GET /v1/queue/export`: a page of the unfinished work.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct UnfinishedWork {
    /// Waiting agents, newest admission first.
    pub waiting: Vec<TransferEntry>,
    /// Agents that run, or that ran under a server that is gone: they stay.
    pub at_work: Vec<String>,
    /// Waiting agents that a standing order ends: they stay.
    pub ordered: Vec<String>,
    /// Sequence number before which the next page begins; null on the last one.
    pub next: Option<u64>,
}

/// Body of `POST /v1/queue/export`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ExportRequest {
    /// Name of the export.
    pub export: String,
    /// Waiting agents that end here and run where the export is imported.
    pub agents: Vec<String>,
}

/// Answer of `POST /v1/queue/export`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Released {
    /// Agents that ended so, now or before.
    pub released: Vec<String>,
}

/// Body of `POST /v1/queue/import`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct ImportRequest {
    /// Agents of another store.
    pub entries: Vec<TransferEntry>,
}

/// Outcome of one entry of an import.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(tag = "outcome", rename_all = "camelCase")]
pub enum Arrival {
    /// It was admitted.
    Admitted,
    /// It is there already.
    There,
    /// It was there and has ended, or was removed: it does not run again.
    Ended,
    /// Another agent works on its task.
    #[serde(rename_all = "camelCase")]
    Busy {
        /// That agent.
        agent_id: String,
    },
    /// It cannot be taken as it is: a value that the server keeps secret stands in it, it cannot be read, or it does not wait.
    Refused {
        /// Reason, which names fields and repeats no value.
        reason: String,
    },
}

/// Answer of `POST /v1/queue/import`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Imported {
    /// Outcomes, in the order of the entries.
    pub arrivals: Vec<Arrival>,
}

/// Body of `POST /v1/archive/read`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct ArchiveRequest {
    /// Agents whose records are wanted.
    pub agents: Vec<String>,
    /// Time, in milliseconds since 1970: the number of records of agents that ended before it is wanted, too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_before: Option<u64>,
}

/// Answer of `POST /v1/archive/read`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct ArchivedRecords {
    /// Records that the archive of this node has.
    #[cfg_attr(feature = "schema", schema(value_type = Vec<Object>))]
    pub records: Vec<Value>,
    /// The number that was asked for; left out by a build that does not count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_before: Option<u64>,
}
