//! Parts of a node's description that the list of nodes and the snapshot of one node share.

use mosaic_core::clocks::ClockOffset;
use mosaic_core::domain::blame::Part;
use mosaic_core::domain::breaker::BreakerState;
use mosaic_core::domain::ids::AgentId;
use mosaic_core::ports::fleet::Cordon;
use mosaic_core::ports::scanner::SecretScanner;
use serde::Serialize;
use serde_json::{Value, json};

/// A cordon as it is shown.
#[derive(Serialize)]
pub(crate) struct CordonView<'a> {
    by: &'a str,
    reason: Option<&'a str>,
    at: String,
    drain: bool,
}

impl<'a> CordonView<'a> {
    pub(crate) fn of(cordon: &'a Cordon) -> Self {
        let Cordon { by, reason, at, drain } = cordon;
        Self { by, reason: reason.as_deref(), at: at.to_rfc3339(), drain: *drain }
    }
}

/// A breaker as it is shown.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct BreakerView<'a> {
    #[serde(flatten)]
    part: &'a Part,
    state: &'a str,
    retry_in_ms: Option<u64>,
    trial_agent_id: Option<AgentId>,
    why: String,
}

impl<'a> BreakerView<'a> {
    pub(crate) fn of(breaker: &'a BreakerState, scanner: &dyn SecretScanner) -> Self {
        Self {
            part: &breaker.part,
            state: &breaker.state,
            retry_in_ms: breaker.retry_in_ms,
            trial_agent_id: breaker.trial,
            why: scanner.mask(&breaker.why),
        }
    }
}

/// Describes how far this machine's wall clock is from the store's.
pub(crate) fn clock_view(offset: ClockOffset) -> Value {
    json!({"offsetMs": offset.offset_ms, "errorMs": offset.error_ms, "ok": !offset.is_too_far()})
}
