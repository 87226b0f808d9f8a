//! Health, readiness and the server's proof of itself.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Answer of `GET /health`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Health {
    /// `ok` or `draining`.
    pub status: String,
    /// Seconds since the start.
    pub uptime: f64,
    /// Version of the program.
    pub version: String,
    /// Time of the start.
    pub started_at: String,
}

/// Result of one check of readiness.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Check {
    /// `ok`, `warn` or `fail`.
    pub status: String,
    /// Details, for callers with a token.
    pub detail: String,
}

impl Check {
    /// Status of a check that passed.
    pub const OK: &str = "ok";
    /// Status of a check that did not pass and keeps no work away.
    pub const WARN: &str = "warn";
    /// Status of a check that failed.
    pub const FAIL: &str = "fail";
}

/// Answer of `GET /health/ready`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Readiness {
    /// `ready` or `not_ready`.
    pub status: String,
    /// Results by check.
    pub checks: BTreeMap<String, Check>,
    /// Names of the checks that fail.
    pub failing: Vec<String>,
    /// `stopped` while the kill switch is engaged, else `running`.
    pub dispatch: String,
}

/// Answer of `GET /v1/hello`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Hello {
    /// `token`; `off` where no token is wanted; `node` where another node asks.
    pub auth: String,
    /// Port that the server listens on.
    pub port: u16,
    /// One proof per token that the server accepts; with `agent` the one of that agent's token; with `node` the one of the
    /// fleet's key, where this is that node.
    pub proofs: Vec<String>,
}
