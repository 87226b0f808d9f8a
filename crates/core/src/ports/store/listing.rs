//! Lists of records: filters, the cursor of ended ones, counts.

use serde::{Deserialize, Serialize};

use crate::domain::agent::{Phase, Status};
use crate::domain::ids::Timestamp;
use crate::domain::spec::AgentType;

/// Where a list of ended agents goes on: after the agent that ended at this time and has this sequence number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct EndedAfter {
    /// When it ended.
    pub at: u64,
    /// Its place in the order of admissions.
    pub seq: u64,
}

/// Which records to list, newest admission first. Empty fields do not filter.
#[derive(Debug, Clone, Default)]
pub struct Query {
    /// Any of these statuses.
    pub status: Vec<Status>,
    /// Any of these phases.
    pub phase: Vec<Phase>,
    /// This type.
    pub agent_type: Option<AgentType>,
    /// This repository, exactly.
    pub repository: Option<String>,
    /// This base branch, exactly.
    pub branch: Option<String>,
    /// This task, exactly.
    pub task: Option<String>,
    /// This label with this value.
    pub label: Option<(String, String)>,
    /// Part of the name, task id or agent id, case-insensitive.
    pub text: Option<String>,
    /// Agent ids that start so (lower-case hexadecimal and dashes).
    pub id_prefix: Option<String>,
    /// Admitted at this time or later.
    pub since: Option<Timestamp>,
    /// Admitted before this time.
    pub until: Option<Timestamp>,
    /// Failed although every attempt was used: the dead-letter list.
    pub dead: bool,
    /// Admitted before this sequence number: the cursor.
    pub before_seq: Option<u64>,
    /// At most this many records, 1–1000.
    pub limit: usize,
}

/// Numbers of waiting entries, and of agents in each status.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Counts {
    /// Queued and ready.
    pub waiting: u64,
    /// Queued, but not before a later time.
    pub delayed: u64,
    /// Leased.
    pub active: u64,
    /// Settled as completed.
    pub completed: u64,
    /// Settled as failed.
    pub failed: u64,
    /// Settled as killed.
    pub killed: u64,
    /// Failed although every attempt was used.
    pub dead: u64,
}
