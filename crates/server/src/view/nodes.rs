//! Nodes of the fleet, the snapshot of one node, and the queue's pause and counts.

use mosaic_core::Orchestrator;
use mosaic_core::clocks::ClockOffset;
use mosaic_core::domain::blame::Part;
use mosaic_core::domain::breaker::BreakerState;
use mosaic_core::ports::fleet::{Cordon, LostNode, NodeInfo, NodeState, RuntimeHealth};
use mosaic_core::ports::scanner::SecretScanner;
use mosaic_core::ports::store::{Counts, Pause};

use super::shown::Shown;

impl Shown for Cordon {
    type View = mosaic_api::Cordon;

    fn shown(&self) -> Self::View {
        let Self { by, reason, at, drain } = self;
        mosaic_api::Cordon { by: by.clone(), reason: reason.clone(), at: at.shown(), drain: *drain }
    }
}

impl Shown for Pause {
    type View = mosaic_api::Pause;

    fn shown(&self) -> Self::View {
        let Self { by, reason, at } = self;
        mosaic_api::Pause { by: by.clone(), reason: reason.clone(), since: at.shown() }
    }
}

impl Shown for Counts {
    type View = mosaic_api::Counts;

    fn shown(&self) -> Self::View {
        let Self { waiting, delayed, active, completed, failed, killed, dead } = *self;
        mosaic_api::Counts { waiting, delayed, active, completed, failed, killed, dead }
    }
}

impl Shown for ClockOffset {
    type View = mosaic_api::Clock;

    fn shown(&self) -> Self::View {
        mosaic_api::Clock { offset_ms: self.offset_ms, error_ms: self.error_ms, ok: !self.is_too_far() }
    }
}

impl Shown for RuntimeHealth {
    type View = mosaic_api::NodeRuntime;

    fn shown(&self) -> Self::View {
        let Self { name, version, error } = self;
        mosaic_api::NodeRuntime { name: name.clone(), version: version.clone(), error: error.clone() }
    }
}

impl Shown for LostNode {
    type View = mosaic_api::LostNode;

    fn shown(&self) -> Self::View {
        let Self { node, by, reason, at } = self;
        mosaic_api::LostNode {
            node: node.to_string(),
            by: by.clone(),
            reason: reason.clone(),
            at: at.shown(),
        }
    }
}

/// Returns breakers as the API shows them; what failed may hold a secret.
pub(crate) fn breakers(all: &[BreakerState], scanner: &dyn SecretScanner) -> Vec<mosaic_api::Breaker> {
    let shown = |breaker: &BreakerState| {
        let part = match breaker.part {
            Part::Fetch { .. } => "fetch",
            Part::Push { .. } => "push",
            Part::Run { .. } => "run",
            Part::Machine => "machine",
        };
        mosaic_api::Breaker {
            part: part.to_owned(),
            repository: breaker.part.repository().map(str::to_owned),
            runtime: breaker.part.runtime().map(str::to_owned),
            state: breaker.state.to_string(),
            retry_in_ms: breaker.retry_in_ms,
            trial_agent_id: breaker.trial.shown(),
            why: scanner.mask(&breaker.why),
        }
    };
    all.iter().map(shown).collect()
}

/// Returns one node as the API shows it.
pub(crate) fn node(node: &NodeState, o: &Orchestrator) -> mosaic_api::Node {
    let info = &node.info;
    let slots = mosaic_api::NodeSlots { total: info.slots, used: info.running };
    mosaic_api::Node {
        node: info.node.to_string(),
        here: info.node == o.settings().node,
        alive: node.alive,
        seen_at: node.seen_at.shown(),
        leases_end_at: node.leases_end_at.shown(),
        cordon: node.cordon.shown(),
        draining: info.draining,
        slots,
        version: info.version.clone(),
        url: info.url.clone(),
        clock: clock(info),
        labels: info.labels.clone(),
        started_at: info.started_at.shown(),
        health: health(node).to_owned(),
        held: info.health.held.clone(),
        breakers: breakers(&info.health.breakers, &*o.ports().scanner),
        runtimes: info.health.runtimes.shown(),
        sandbox: info.health.sandbox.clone(),
    }
}

/// Returns the health of a node in one word.
fn health(state: &NodeState) -> &'static str {
    match (state.alive, state.info.draining, &state.cordon) {
        (false, _, _) => "away",
        (true, true, _) => "draining",
        (true, false, Some(_)) => "cordoned",
        (true, false, None) => "taking",
    }
}

/// Returns the offset of a node's wall clock from the store's, where it is known.
fn clock(info: &NodeInfo) -> Option<mosaic_api::Clock> {
    let (offset_ms, error_ms) = (info.clock_offset_ms?, info.clock_error_ms.unwrap_or(0));
    Some(ClockOffset { offset_ms, error_ms }.shown())
}
