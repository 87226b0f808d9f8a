//! Bodies of requests. The server reads them field by field, so that it can name every fault at once; a test holds that reader
//! to these fields.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::agents::{Backoff, Budget, Context};
use crate::words::{AgentType, GateProfile};

/// Body of a spawn. Null means the same as a field that is left out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct SpawnRequest {
    /// Name of the work, unique among agents at work.
    pub task_id: String,
    /// Purpose of the agent.
    pub agent_type: AgentType,
    /// Profile of the gates that judge it; by default the one of its type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gate_profile: Option<GateProfile>,
    /// Gates of the profile `custom`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gates: Option<Vec<String>>,
    /// The work.
    pub context: Context,
    /// Priority, 1 (first) to 10; 5 by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<u8>,
    /// Most automatic retries, 0 to 20; 3 by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_retries: Option<u32>,
    /// Pauses before them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backoff: Option<Backoff>,
    /// Most fix rounds, 0 to 10; 2 by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_fix_rounds: Option<u32>,
    /// Longest attempt, 60 to 86,400 seconds; 3,600 by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_seconds: Option<u64>,
    /// Runtime; by default the node's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runtime: Option<String>,
    /// Model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Caps on spending.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<Budget>,
    /// Labels for filters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<BTreeMap<String, String>>,
    /// Labels that the node must have on which it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_labels: Option<BTreeMap<String, String>>,
}

impl SpawnRequest {
    /// Makes a request that leaves everything else to the server.
    pub fn new(task_id: impl Into<String>, agent_type: AgentType, context: Context) -> Self {
        Self {
            task_id: task_id.into(),
            agent_type,
            gate_profile: None,
            gates: None,
            context,
            priority: None,
            max_retries: None,
            backoff: None,
            max_fix_rounds: None,
            timeout_seconds: None,
            runtime: None,
            model: None,
            budget: None,
            labels: None,
            node_labels: None,
        }
    }
}

/// Body of an order; it may be left out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct OrderRequest {
    /// Reason, for the record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// A finding of the secret scan that the operator allows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct AllowedSecret {
    /// Fingerprint of the finding.
    pub fingerprint: String,
    /// Reason, for the record.
    pub reason: String,
}

/// Body of a retry; it may be left out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct RetryRequest {
    /// Reason, for the record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Findings that the operator allows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allowed_secrets: Option<Vec<AllowedSecret>>,
}

/// Body of a restore; it may be left out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct RestoreRequest {
    /// Reason, for the record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Attempt whose work is wanted, as `keptWork` has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u32>,
    /// Run whose work is wanted, as `keptWork` has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<u32>,
}

/// Body of a prune; it may be left out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct PruneRequest {
    /// Least age since the end, such as `30d`, which is the default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub older_than: Option<String>,
    /// Removes nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dry_run: Option<bool>,
    /// Number of agents on the page whose work would be lost, as a dry run says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub force: Option<u64>,
    /// Cursor of the page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}
