//! Orders to stop, and their receipts.

use mosaic_core::Orchestrator;
use mosaic_core::domain::ids::AgentId;
use mosaic_core::domain::orders::Barrier;
use mosaic_core::kill_all::{KillAllReport, Unconfirmed};
use mosaic_core::receipt::{AgentReceipt, KillReceipt, SalvageFate};

use super::shown::Shown;

impl Shown for AgentId {
    type View = String;

    fn shown(&self) -> String {
        self.to_string()
    }
}

impl Shown for SalvageFate {
    type View = mosaic_api::SalvageFate;

    fn shown(&self) -> Self::View {
        let commit = self.commit.as_ref().map(ToString::to_string);
        mosaic_api::SalvageFate { state: self.state.shown(), reference: self.reference.clone(), commit }
    }
}

impl Shown for KillReceipt {
    type View = mosaic_api::KillReceipt;

    fn shown(&self) -> Self::View {
        let Self { processes, container, lease, worktree, salvage, publication } = self;
        let processes = processes.as_ref();
        mosaic_api::KillReceipt {
            processes_before: processes.map(|stop| stop.processes_before),
            processes_after: processes.map(|stop| stop.processes_after),
            rung: processes.map(|stop| stop.rung.clone()),
            took_ms: processes.map(|stop| stop.took_ms),
            confinement: processes.map(|stop| stop.confinement.clone()),
            past_grace_ms: processes.map(|stop| stop.past_grace_ms),
            container: container.clone(),
            lease: lease.shown(),
            worktree: worktree.shown(),
            salvage: salvage.shown(),
            publication: publication.shown(),
        }
    }
}

impl Shown for AgentReceipt {
    type View = mosaic_api::AgentReceipt;

    fn shown(&self) -> Self::View {
        let Self { agent_id, name, status, verified, receipt } = self;
        mosaic_api::AgentReceipt {
            agent_id: agent_id.shown(),
            name: name.clone(),
            status: status.shown(),
            verified: *verified,
            receipt: receipt.shown(),
        }
    }
}

impl Shown for Unconfirmed {
    type View = mosaic_api::Unconfirmed;

    fn shown(&self) -> Self::View {
        let Self { agent_id, name, node, seen_at, lease_expires_at } = self;
        mosaic_api::Unconfirmed {
            agent_id: agent_id.shown(),
            name: name.clone(),
            node: node.to_string(),
            seen_at: seen_at.clone(),
            lease_expires_at: lease_expires_at.clone(),
        }
    }
}

impl Shown for KillAllReport {
    type View = mosaic_api::KillAll;

    fn shown(&self) -> Self::View {
        let Self {
            total,
            killed,
            failed,
            errors,
            queued,
            verified,
            recorded,
            barrier,
            receipts,
            unconfirmed,
        } = self;
        mosaic_api::KillAll {
            total: *total,
            killed: *killed,
            failed: *failed,
            errors: errors.clone(),
            queued: *queued,
            verified: *verified,
            recorded: recorded.shown(),
            barrier: *barrier,
            receipts: receipts.shown(),
            unconfirmed: unconfirmed.shown(),
            message: None,
        }
    }
}

impl Shown for Barrier {
    type View = mosaic_api::LastKillAll;

    fn shown(&self) -> Self::View {
        let (seq, by, reason) = (self.seq, self.by.clone(), self.reason.clone());
        mosaic_api::LastKillAll { seq, by, reason, at: self.at.shown() }
    }
}

/// The kill switch as it is now; reads nothing but memory.
impl Shown for Orchestrator {
    type View = mosaic_api::KillSwitch;

    fn shown(&self) -> Self::View {
        let state = self.switch_state();
        let latch = state.latch.as_ref();
        mosaic_api::KillSwitch {
            engaged: latch.is_some(),
            by: latch.map(|latch| latch.by.clone()),
            reason: latch.and_then(|latch| latch.reason.clone()),
            since: latch.map(|latch| latch.at.shown()),
            recorded: state.recorded.shown(),
            stop_file: state.stop_file,
            running: self.running(),
            last_kill_all: state.barrier.shown(),
        }
    }
}
