//! The caretaker: one loop beside the dispatcher that repairs what crashes leave and deletes what is too old. Each
//! reconciler is a file of its own with one pass that reads the truth, does a bounded piece of work and can be repeated;
//! none of them keeps new work waiting.
//!
//! Leases are adopted by [`crate::recovery`], in the dispatcher's own loop: nothing may run unsupervised for long.

pub mod archive;
pub mod cgroups;
pub mod cleanup;
pub mod disk_reserve;
pub mod moved_agents;
pub mod orphans;
pub mod pushes;
pub mod repack;
pub mod report;
pub mod retention;

use std::sync::Arc;

use tokio::sync::watch;

use crate::caretaker::report::{Again, CareReport};
use crate::domain::ids::Timestamp;
use crate::limits;
use crate::orchestrator::Orchestrator;
use crate::stop::Stop;

/// State that the caretaker's passes carry from round to round.
#[derive(Debug, Default)]
pub struct Rounds {
    /// See [`cleanup`] and [`orphans`].
    pub again: Again,
    /// See [`retention`].
    pub cursor: retention::RetentionCursor,
    measured: Option<Timestamp>,
}

/// Runs rounds until told to stop.
pub async fn run(o: Arc<Orchestrator>, mut stop: watch::Receiver<Stop>) {
    let mut rounds = Rounds::default();
    let mut latch = o.orders.watch_latch();
    while *stop.borrow() == Stop::No {
        tokio::select! {
            () = round(&o, &mut rounds) => {}
            changed = stop.changed() => if changed.is_err() { return } else { continue },
        }
        tokio::select! {
            () = o.ports.clock.sleep(limits::CARE_PERIOD) => {}
            // What could not be kept under the kill switch need not wait any longer.
            () = release(&mut latch) => rounds.again = Again::default(),
            changed = stop.changed() => if changed.is_err() { return },
        }
    }
}

/// Waits for a release of the kill switch; one since the last wait counts.
async fn release(latch: &mut watch::Receiver<bool>) {
    // Errors never: the sender lives as long as the orchestrator.
    while latch.changed().await.is_ok() && *latch.borrow() {}
}

/// Does one round: every pass once, each with a deadline. A pass that is broken off goes on in the next round.
pub async fn round(o: &Orchestrator, rounds: &mut Rounds) {
    let last = o.care.report();
    let mut report = CareReport {
        transcript_bytes: last.transcript_bytes,
        orphan_refs: last.orphan_refs,
        ..CareReport::default()
    };
    in_time(o, disk_reserve::pass(o, &mut report)).await;
    in_time(o, Box::pin(cleanup::pass(o, &mut rounds.again, &mut report))).await;
    in_time(o, orphans::directories(o, &mut rounds.again, &mut report)).await;
    in_time(o, moved_agents::pass(o, &mut rounds.again, &mut report)).await;
    in_time(o, cgroups::pass(o, &mut report)).await;
    in_time(o, pushes::pass(o, &mut report)).await;
    in_time(o, Box::pin(retention::records(o, &mut rounds.cursor, &mut report))).await;
    if rounds.measured.is_none_or(|at| o.now().since(at) >= limits::RETENTION_PERIOD) {
        in_time(o, orphans::refs(o, &mut report)).await;
        in_time(o, Box::pin(retention::archive(o, &mut report))).await;
        in_time(o, retention::transcripts(o, &mut report)).await;
        in_time(o, retention::events(o, &mut report)).await;
        in_time(o, repack::pass(o, &mut report)).await;
        rounds.measured = Some(o.now());
    }
    report.at = Some(o.now());
    o.care.publish(report);
}

async fn in_time(o: &Orchestrator, pass: impl Future<Output = ()>) {
    tokio::select! {
        () = pass => {}
        () = o.ports.clock.sleep(limits::CARE_PASS) => {
            tracing::info!(seconds = limits::CARE_PASS.as_secs(), "a pass of the caretaker was broken off; the next one goes on");
        }
    }
}
