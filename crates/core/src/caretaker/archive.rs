//! Moving what has ended out of the shared store into this node's archive. Written to disk first, then the shared store's
//! record is shortened if it is still the same version: whatever happens between the two, the record is whole in both, and
//! is moved again.

use std::sync::Arc;

use tokio::sync::watch;

use super::parts::Caretaker;
use crate::domain::ids::{AgentId, NodeId, Timestamp};
use crate::limits;
use crate::ports::store::{Moving, StoreError};
use crate::stop::Stop;

/// Moves records until told to stop. Does nothing where there is no fleet.
pub(crate) async fn run(c: Arc<Caretaker>, mut stop: watch::Receiver<Stop>) {
    let mut failing = false;
    while *stop.borrow() == Stop::No && c.membership.is_fleet() {
        tokio::select! {
            moved = pass(&c) => {
                if let Err(e) = &moved && !failing {
                    tracing::warn!(error = %e, "records could not be moved to the archive; trying again");
                }
                failing = moved.is_err();
            }
            changed = stop.changed() => if changed.is_err() { return } else { continue },
        }
        tokio::select! {
            () = c.sleep(limits::ARCHIVE_PERIOD) => {}
            changed = stop.changed() => if changed.is_err() { return },
        }
    }
}

/// Moves what has been over for long enough, once every node can read it there, at most [`limits::ARCHIVE_PIECES`] pieces; returns how many records moved.
pub(crate) async fn pass(c: &Caretaker) -> Result<u64, StoreError> {
    if !c.membership.all_read_archives() {
        // A rolling upgrade is under way.
        return Ok(0);
    }
    let before = Timestamp(c.now().0.saturating_sub(super::report::millis(c.retention.whole)));
    let mut moved = 0;
    for _ in 0..limits::ARCHIVE_PIECES {
        let node = &c.node;
        let found = c.store.movable(node, before, true, limits::ARCHIVE_BATCH).await?;
        let full = found.len() >= limits::ARCHIVE_BATCH;
        let found = ours(c, found);
        moved += move_all(c, &found).await?;
        if !full {
            break;
        }
    }
    if moved > 0 {
        tracing::debug!(records = moved, "records were moved to the archive");
    }
    Ok(moved)
}

/// Leaves out what something is still to be done about here, and what never ran anywhere and is another node's to take.
fn ours(c: &Caretaker, found: Vec<Moving>) -> Vec<Moving> {
    let nodes = c.membership.alive();
    let is_ours = |one: &Moving| {
        let record = &one.record;
        let work = &record.agent.work;
        let over = work.cleanup_pending.is_none() && !work.dirty && !work.publication.is_open();
        over && !c.is_driven(record.agent.id)
            && (record.home.is_some() || takes(&nodes, record.agent.id) == Some(&c.node))
    };
    found.into_iter().filter(is_ours).collect()
}

/// Returns the node that archives an agent which never ran: of those that are alive always the same one, and each of them
/// as often as any other.
fn takes(nodes: &[NodeId], agent: AgentId) -> Option<&NodeId> {
    let weight = |name: &&NodeId| {
        // FNV-1a, which every build computes alike.
        let bytes = name.as_str().bytes().chain(agent.0.into_bytes());
        bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
        })
    };
    nodes.iter().max_by_key(weight)
}

async fn move_all(c: &Caretaker, found: &[Moving]) -> Result<u64, StoreError> {
    if found.is_empty() {
        return Ok(0);
    }
    c.store.archive(found).await?;
    let answers = c.store.shorten(found, &c.node).await?;
    // What changed meanwhile, or went, is looked at again by the next pass.
    Ok(answers.iter().filter(|answer| answer.is_ok()).count() as u64)
}
