//! Removal of records of ended agents, facts, transcripts and logs that are too old or take too much space. Each round does a
//! bounded piece. Work that is nowhere else is never removed, however old it is.

use std::time::Duration;

use super::parts::Caretaker;
use super::repairs::Repairs;
use super::report::{CareReport, millis};
use crate::domain::audit::Action;
use crate::domain::ids::{AgentId, Timestamp};
use crate::limits;
use crate::ports::store::{EndedAfter, StoreError};
use crate::ports::transcripts::Shelved;
use crate::removal::prune::{PruneRequest, Pruned};

/// Cursor from which the next round of [`records`] continues, so that agents that stay do not stand in the way of others.
#[derive(Debug, Clone, Copy, Default)]
pub struct RetentionCursor(EndedAfter);

/// Removes records that ended longer ago than they are kept, page by page: a busy node ends some each second, and a round
/// comes once a minute.
pub(super) async fn records(
    c: &Caretaker,
    repairs: &dyn Repairs,
    cursor: &mut RetentionCursor,
    report: &mut CareReport,
) {
    let mut unmerged = 0;
    for _ in 0..limits::RETENTION_PAGES {
        let request = request(c, c.retention.records, cursor.0, "older than records are kept");
        let Some(pruned) = prune_page(repairs, &request, report).await else { return };
        unmerged += pruned.unmerged.len() as u64;
        report.unmerged_kept = unmerged;
        cursor.0 = pruned.next.unwrap_or_default();
        if pruned.next.is_none() {
            return;
        }
    }
}

/// Removes the oldest records of this node's archive until what is left of it is not too much.
pub(super) async fn archive(c: &Caretaker, repairs: &dyn Repairs, report: &mut CareReport) {
    let mut after = EndedAfter::default();
    for _ in 0..limits::RETENTION_PAGES {
        match c.store.archive_bytes().await {
            Ok(bytes) if bytes <= c.retention.archive => return,
            Ok(_) => {}
            Err(e) => return report.problem(format!("the archive's size: {e}")),
        }
        let request = request(c, c.retention.whole, after, "the archive is full");
        let Some(pruned) = prune_page(repairs, &request, report).await else { return };
        let Some(next) = pruned.next else { return };
        after = next;
    }
}

fn request(c: &Caretaker, older_than: Duration, after: EndedAfter, why: &str) -> PruneRequest {
    PruneRequest {
        older_than,
        dry_run: false,
        force: None,
        after,
        everywhere: false,
        why: why.to_owned(),
        by: c.entry(Action::Retention),
    }
}

async fn prune_page(
    repairs: &dyn Repairs,
    request: &PruneRequest,
    report: &mut CareReport,
) -> Option<Pruned> {
    match repairs.prune(request).await {
        Ok(mut pruned) => {
            if pruned.removed > 0 {
                tracing::info!(
                    agents = pruned.removed,
                    bytes = pruned.freed_bytes,
                    why = request.why,
                    "old records were removed"
                );
            }
            std::mem::take(&mut pruned.errors).into_iter().for_each(|line| report.problem(line));
            Some(pruned)
        }
        Err(e) => {
            report.problem(format!("old records: {e}"));
            None
        }
    }
}

/// Removes facts that are older than records are kept.
pub(super) async fn events(c: &Caretaker, report: &mut CareReport) {
    let now = match c.clocks.certain_now().await {
        Ok(now) => now,
        Err(e) => return report.problem(format!("old events: {e}")),
    };
    let before = Timestamp(now.0.saturating_sub(millis(c.retention.records)));
    // A backlog of a million facts is gone after five hundred writes, each of which lets others in between.
    for _ in 0..limits::CARE_BATCH {
        match c.store.prune_events(before, limits::PRUNED_EVENTS).await {
            Ok(n) if n < limits::PRUNED_EVENTS as u64 => return,
            Ok(_) => {}
            Err(e) => return report.problem(format!("old events: {e}")),
        }
    }
}

/// Removes transcripts and logs of agents that were removed, and of agents that write no more: the old ones, and then the oldest ones until what is left is
/// not too much.
pub(super) async fn transcripts(c: &Caretaker, repairs: &dyn Repairs, report: &mut CareReport) {
    let mut shelved = match c.transcripts.shelved().await {
        Ok(shelved) => shelved,
        Err(e) => return report.problem(format!("transcripts: {e}")),
    };
    let mut removed = 0;
    for one in &shelved {
        removed += usize::from(of_removed(c, one.agent).await && discard(c, repairs, one, report).await);
    }
    if removed > 0 {
        tracing::info!(agents = removed, "removed transcripts and logs of agents that were removed before");
    }
    shelved.sort_by_key(|one| one.touched);
    let retention = &c.retention;
    let mut total: u64 = shelved.iter().map(|one| one.bytes).sum();
    let (mut gone, mut looked) = (0, 0);
    let clock_is_off = c.clocks.fault().is_some();
    for one in &shelved {
        // The files' times are of this machine: while its clock is wrong they say nothing of an age.
        let old = !clock_is_off && c.clocks.own_now().since(one.touched) >= retention.transcripts;
        // They are in order of age, so nothing further on is old, and what is too much ends with the sum.
        if (!old && total <= retention.bytes) || looked >= limits::CARE_BATCH * 10 {
            break;
        }
        looked += 1;
        if discard(c, repairs, one, report).await {
            total -= one.bytes;
            gone += 1;
        }
    }
    if gone > 0 {
        tracing::info!(agents = gone, "transcripts and logs were removed");
    }
    report.transcript_bytes = total;
}

async fn discard(c: &Caretaker, repairs: &dyn Repairs, one: &Shelved, report: &mut CareReport) -> bool {
    if !is_over(c, one.agent).await {
        return false;
    }
    match c.transcripts.discard(one.agent).await {
        Ok(_) => {
            let entry = c.entry(Action::Retention).subject(one.agent);
            repairs.note(entry.result(format!("transcripts and logs removed, {} bytes", one.bytes)));
            true
        }
        Err(e) => {
            report.problem(format!("transcripts of agent {}: {e}", one.agent));
            false
        }
    }
}

/// Returns true when the agent was removed by order, which promised that nothing of it stays: a crash or a fault between
/// the record and the transcripts left them.
async fn of_removed(c: &Caretaker, id: AgentId) -> bool {
    matches!(c.store.glance(id).await, Err(StoreError::Pruned { .. }))
}

/// Tells whether nothing is written any more: the agent has ended, or its record is gone and so is its directory.
async fn is_over(c: &Caretaker, id: AgentId) -> bool {
    if c.is_driven(id) {
        return false;
    }
    match c.store.glance(id).await {
        Ok(record) => record.agent.is_terminal(),
        Err(e) => matches!(e, StoreError::NotFound(_) | StoreError::Pruned { .. }),
    }
}
