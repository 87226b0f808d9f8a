//! Use of the machine by an agent.

use serde::{Deserialize, Serialize};

use crate::words::{Phase, StallStage};

/// One sample.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Sample {
    /// Its time.
    pub at: String,
    /// User and system time of all processes so far, in milliseconds.
    pub cpu_ms: u64,
    /// Cores in use since the sample before.
    pub cores: f64,
    /// Resident memory, in bytes.
    pub memory_bytes: u64,
    /// Live processes.
    pub processes: u32,
    /// Bytes read from storage so far.
    pub read_bytes: u64,
    /// Bytes written to storage so far.
    pub written_bytes: u64,
    /// Bytes on disk, as last measured.
    pub disk_bytes: Option<u64>,
    /// The bytes on disk are a lower bound.
    pub disk_more: bool,
    /// Phase of the agent.
    pub phase: Phase,
    /// Milliseconds since its last output.
    pub silent_ms: Option<u64>,
    /// Stage of the response to its silence.
    pub stall: StallStage,
}

/// Answer of `GET /v1/agents/{id}/resources`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Resources {
    /// The agent.
    pub agent_id: String,
    /// The node that was asked runs it.
    pub live: bool,
    /// Its phase.
    pub phase: Phase,
    /// Milliseconds in that phase.
    pub in_phase_ms: Option<u64>,
    /// Time of its last event.
    pub last_event_at: Option<String>,
    /// Time of its last output.
    pub last_output_at: Option<String>,
    /// Stage of the response to its silence.
    pub stall: StallStage,
    /// The newest sample.
    pub now: Option<Sample>,
    /// Samples, oldest first.
    pub samples: Vec<Sample>,
    /// Milliseconds between samples.
    pub period_ms: u64,
}
