//! The caretaker: one loop beside the dispatcher that repairs what crashes leave and takes away what is too old. Each
//! reconciler is a file of its own with one pass that reads the truth, does a bounded piece of work and can be repeated;
//! none of them keeps new work waiting.
//!
//! Leases are taken over by [`crate::recovery`], on the dispatcher's own beat: nothing may run unwatched for long.

pub mod archive;
pub mod cleanup;
pub mod former;
pub mod groups;
pub mod orphans;
pub mod pushes;
pub mod reserve;
pub mod retention;
pub mod stores;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde::Serialize;
use tokio::sync::watch;

use crate::domain::ids::{AgentId, Timestamp};
use crate::engine::Stop;
use crate::limits;
use crate::orchestrator::Orchestrator;

/// How long what is over is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keeping {
    /// Transcripts and logs since they were last written.
    pub transcripts: Duration,
    /// Records of ended agents, and events.
    pub records: Duration,
    /// How long the record of an ended agent of a fleet stays whole in the shared store before it moves to an archive.
    pub whole: Duration,
    /// Bytes of this node's archive; the oldest records go first.
    pub archive: u64,
    /// Bytes of all transcripts and logs; the oldest go first.
    pub bytes: u64,
    /// Free bytes below which nothing new is started.
    pub disk_floor: u64,
}

impl Default for Keeping {
    fn default() -> Self {
        let days = |n: u64| Duration::from_secs(n * 24 * 3600);
        let (bytes, disk_floor) = (10 << 30, limits::DISK_FLOOR_BYTES);
        Self {
            transcripts: days(30),
            records: days(90),
            whole: limits::ARCHIVE_AFTER,
            archive: 20 << 30,
            bytes,
            disk_floor,
        }
    }
}

/// What the caretaker last saw.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CareReport {
    /// When the last round ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<Timestamp>,
    /// Ended agents of which something could not be cleaned up yet.
    pub cleanup_pending: u64,
    /// Directories without a record that could not be dealt with yet.
    pub orphans: u64,
    /// Agents without a record of which a repository store keeps work.
    pub orphan_refs: u64,
    /// Ended agents that are old enough to go and stay because of their unmerged work, as far as the last round looked.
    pub unmerged_kept: u64,
    /// Bytes of transcripts and logs when they were last measured.
    pub transcript_bytes: u64,
    /// What the last round could not do, one line each, at most [`limits::FINDINGS`].
    pub problems: Vec<String>,
}

/// What the caretaker remembers between two rounds, and shows.
#[derive(Debug, Default)]
pub struct Care {
    report: Mutex<CareReport>,
}

impl Care {
    /// Returns what was last seen.
    pub fn report(&self) -> CareReport {
        self.report.lock().clone()
    }

    fn publish(&self, report: CareReport) {
        *self.report.lock() = report;
    }
}

/// When what could not be done is tried again: later and later, per agent.
#[derive(Debug, Default)]
pub struct Again {
    next: HashMap<AgentId, (u32, Timestamp)>,
}

impl Again {
    /// Tells whether it is time to try.
    pub fn is_due(&self, agent: AgentId, now: Timestamp) -> bool {
        self.next.get(&agent).is_none_or(|(_, at)| *at <= now)
    }

    /// Notes that a try failed.
    pub fn failed(&mut self, agent: AgentId, now: Timestamp) {
        let (tries, at) = self.next.entry(agent).or_insert((0, now));
        let pause =
            limits::CARE_RETRY.saturating_mul(2u32.saturating_pow(*tries)).min(limits::CARE_RETRY_CAP);
        (*tries, *at) = (tries.saturating_add(1), now.plus(pause));
    }

    /// Forgets everybody who is not in the list any more.
    pub fn keep(&mut self, agents: &[AgentId]) {
        self.next.retain(|agent, _| agents.contains(agent));
    }
}

/// What the passes carry from round to round.
#[derive(Debug, Default)]
pub struct Rounds {
    /// See [`cleanup`] and [`orphans`].
    pub again: Again,
    /// See [`retention`].
    pub place: retention::Place,
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

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
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
    in_time(o, reserve::pass(o, &mut report)).await;
    in_time(o, Box::pin(cleanup::pass(o, &mut rounds.again, &mut report))).await;
    in_time(o, orphans::directories(o, &mut rounds.again, &mut report)).await;
    in_time(o, former::pass(o, &mut rounds.again, &mut report)).await;
    in_time(o, groups::pass(o, &mut report)).await;
    in_time(o, pushes::pass(o, &mut report)).await;
    in_time(o, Box::pin(retention::records(o, &mut rounds.place, &mut report))).await;
    if rounds.measured.is_none_or(|at| o.now().since(at) >= limits::RETENTION_PERIOD) {
        in_time(o, orphans::refs(o, &mut report)).await;
        in_time(o, Box::pin(retention::archive(o, &mut report))).await;
        in_time(o, retention::transcripts(o, &mut report)).await;
        in_time(o, retention::events(o, &mut report)).await;
        in_time(o, stores::pass(o, &mut report)).await;
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

impl CareReport {
    /// Notes what could not be done.
    fn problem(&mut self, text: impl Into<String>) {
        let text = text.into();
        tracing::warn!(why = %text, "the caretaker could not do something; it tries again");
        if self.problems.len() < limits::FINDINGS {
            self.problems.push(text);
        }
    }
}
