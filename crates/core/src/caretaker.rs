//! The caretaker: one loop beside the dispatcher that repairs what crashes leave and deletes what is too old. Each
//! reconciler is a file of its own with one pass that reads the truth, does a bounded piece of work and can be repeated;
//! none of them keeps new work waiting. They have the ports of [`parts::Caretaker`] only, and what an agent's own end does is
//! asked of [`repairs::Repairs`].
//!
//! Leases are adopted by [`crate::recovery`], in the dispatcher's own loop: nothing may run unsupervised for long.

pub(crate) mod archive;
mod cgroups;
mod cleanup;
mod disk_reserve;
pub(crate) mod moved_agents;
mod orphans;
pub(crate) mod parts;
mod pushes;
mod repack;
pub(crate) mod repairs;
pub mod report;
pub mod retention;

use std::sync::Arc;

use tokio::sync::watch;

use crate::caretaker::parts::Caretaker;
use crate::caretaker::repairs::Repairs;
use crate::caretaker::report::{Again, CareReport};
use crate::domain::ids::Timestamp;
use crate::limits;
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
pub(crate) async fn run(
    caretaker: Arc<Caretaker>,
    repairs: Arc<dyn Repairs>,
    mut stop: watch::Receiver<Stop>,
) {
    let mut rounds = Rounds::default();
    let mut latch = caretaker.watch_latch();
    while *stop.borrow() == Stop::No {
        tokio::select! {
            () = round(&caretaker, &*repairs, &mut rounds) => {}
            changed = stop.changed() => if changed.is_err() { return } else { continue },
        }
        tokio::select! {
            () = caretaker.sleep(limits::CARE_PERIOD) => {}
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
pub(crate) async fn round(c: &Caretaker, repairs: &dyn Repairs, rounds: &mut Rounds) {
    let last = c.report();
    let mut report = CareReport {
        transcript_bytes: last.transcript_bytes,
        orphan_refs: last.orphan_refs,
        ..CareReport::default()
    };
    in_time(c, disk_reserve::pass(c, &mut report)).await;
    in_time(c, cleanup::pass(c, repairs, &mut rounds.again, &mut report)).await;
    in_time(c, orphans::directories(c, repairs, &mut rounds.again, &mut report)).await;
    in_time(c, moved_agents::pass(c, repairs, &mut rounds.again, &mut report)).await;
    in_time(c, cgroups::pass(c, repairs, &mut report)).await;
    in_time(c, pushes::pass(c, repairs, &mut report)).await;
    in_time(c, retention::records(c, repairs, &mut rounds.cursor, &mut report)).await;
    if rounds.measured.is_none_or(|at| c.now().since(at) >= limits::RETENTION_PERIOD) {
        in_time(c, orphans::refs(c, repairs, &mut report)).await;
        in_time(c, retention::archive(c, repairs, &mut report)).await;
        in_time(c, retention::transcripts(c, repairs, &mut report)).await;
        in_time(c, retention::events(c, &mut report)).await;
        in_time(c, repack::pass(c, &mut report)).await;
        rounds.measured = Some(c.now());
    }
    report.at = Some(c.now());
    c.publish(report);
}

async fn in_time(c: &Caretaker, pass: impl Future<Output = ()>) {
    tokio::select! {
        () = pass => {}
        () = c.sleep(limits::CARE_PASS) => {
            tracing::info!(seconds = limits::CARE_PASS.as_secs(), "a pass of the caretaker was broken off; the next one goes on");
        }
    }
}
