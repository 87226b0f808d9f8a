//! The audit log.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// End of the chain of records.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct AuditHead {
    /// Hash of the newest record, in hexadecimal digits.
    pub hash: String,
    /// Number of the newest record; 0 when there is none.
    pub n: u64,
}

/// One record of the audit log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct AuditEntry {
    /// The action.
    pub action: String,
    /// Its origin.
    pub actor: String,
    /// Its time.
    pub at: String,
    /// Hash of the record, in hexadecimal digits.
    pub hash: String,
    /// Its number, from 1, without gaps.
    pub n: u64,
    /// Hash of the record before it, in hexadecimal digits.
    pub previous: String,
    /// Reason, when one was given.
    pub reason: Option<String>,
    /// Id of the request.
    pub request: Option<String>,
    /// Its result.
    pub result: Option<String>,
    /// The agent, task or node that it is about.
    pub subject: Option<String>,
}

/// Answer of `GET /v1/audit`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct AuditPage {
    /// Records, oldest first, in the form of the log.
    #[cfg_attr(feature = "schema", schema(value_type = Vec<AuditEntry>))]
    pub records: Vec<Value>,
    /// Value of `after` for the next page; null at the end.
    pub next: Option<u64>,
    /// End of the chain.
    pub head: AuditHead,
}

/// First place at which the chain does not hold.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct BrokenChain {
    /// Number of the record.
    pub n: u64,
    /// The fault.
    pub why: String,
}

/// Answer of `GET /v1/audit/verify`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct AuditVerified {
    /// Name of the chain: the node's.
    pub chain: String,
    /// End of the chain.
    pub head: AuditHead,
    /// Number of the oldest record that is kept.
    pub first: u64,
    /// First place at which the chain does not hold.
    pub broken: Option<BrokenChain>,
    /// Remarks that are no fault of the chain.
    pub remarks: Vec<String>,
    /// The chain holds.
    pub ok: bool,
}
