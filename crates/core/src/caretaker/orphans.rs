//! Remains on this machine that have no record: directories with trees, private files and jobs, and refs in the
//! bare repositories.
//!
//! A record that was removed by order left a note: the remains of its agent are deleted. A record that is lost left none: the
//! tree is kept first, as commits in the server's bare repository, and is deleted only then; a tree of which nothing is known stays.
//! Refs without a record stay as long as records do, and indefinitely while they hold work that is nowhere else.

use super::parts::Caretaker;
use super::repairs::Repairs;
use super::report::{Again, CareReport};
use crate::cleanup_error::CleanupError;
use crate::domain::ids::AgentId;
use crate::domain::kept_work::WorkState;
use crate::limits;
use crate::ports::repositories::{KeptRefs, StrayTree};
use crate::ports::store::StoreError;

/// State of an agent's record in the store.
enum Record {
    There,
    /// There, and an attempt that ended here left work.
    LeftWork,
    /// Removed by order, on this node: what lies here was looked at.
    Removed,
    /// Removed by order on another node, which did not see what lies here: an attempt that ended with its lease.
    RemovedElsewhere,
    Lost,
    /// Damaged, or the store does not answer: nothing may be done.
    Unknown,
}

async fn record(c: &Caretaker, id: AgentId) -> Record {
    match c.store.glance(id).await {
        Ok(record) if record.agent.left.iter().any(|left| left.node == c.node) => Record::LeftWork,
        Ok(_) => Record::There,
        Err(StoreError::Pruned { node: Some(node), .. }) if c.membership.is_elsewhere(Some(&node)) => {
            Record::RemovedElsewhere
        }
        Err(StoreError::Pruned { .. }) => Record::Removed,
        Err(StoreError::NotFound(_)) => Record::Lost,
        Err(_) => Record::Unknown,
    }
}

/// Deals with at most [`limits::CARE_BATCH`] directories, and counts what is left.
pub(super) async fn directories(
    c: &Caretaker,
    repairs: &dyn Repairs,
    again: &mut Again,
    report: &mut CareReport,
) {
    // An error was told by the pass before.
    let Ok(present) = c.trees.present().await else { return };
    let leftovers = match c.sandbox.leftovers().await {
        Ok(leftovers) => leftovers,
        Err(e) => {
            report.problem(format!("places in the sandbox: {e}"));
            Vec::new()
        }
    };
    // A sandbox may have a place of an agent that never had a tree, or whose tree is gone.
    let elsewhere = leftovers.into_iter().filter(|id| !present.contains(id));
    let present: Vec<AgentId> = present.iter().copied().chain(elsewhere).collect();
    // Of a removed agent that is all that a crash may have left.
    let beside = c.trees.kept_beside().await.unwrap_or_default();
    let only_beside: Vec<AgentId> = beside.into_iter().filter(|id| !present.contains(id)).collect();
    let mut tried = 0;
    for id in present.iter().chain(&only_beside).copied() {
        if c.is_driven(id) {
            continue;
        }
        let lost = match record(c, id).await {
            Record::There | Record::LeftWork | Record::Unknown => continue,
            Record::Removed => false,
            Record::Lost | Record::RemovedElsewhere if only_beside.contains(&id) => continue,
            Record::Lost | Record::RemovedElsewhere => true,
        };
        if tried >= limits::CARE_BATCH || !again.is_due(id, c.now()) {
            report.orphans += 1;
            continue;
        }
        tried += 1;
        let done = match lost {
            true => keep_and_release(c, repairs, id).await,
            false => repairs.delete_leftovers(id).await.map(drop),
        };
        if let Err(why) = done {
            again.failed(id, c.now());
            report.orphans += 1;
            report.problem(format!("agents/{id}, which has no record: {why}"));
        }
    }
}

/// Releases what an agent without a record has, once its work is kept. Transcripts stay for their time.
async fn keep_and_release(c: &Caretaker, repairs: &dyn Repairs, id: AgentId) -> Result<(), CleanupError> {
    keep_tree(c, repairs, id).await?;
    release(c, id).await
}

/// Stops what runs of an agent and keeps what lies in its tree, which stays.
pub(crate) async fn keep_tree(c: &Caretaker, repairs: &dyn Repairs, id: AgentId) -> Result<(), CleanupError> {
    // The harvest below holds no lease. Its supervisor would end it when the one that was told last is over.
    c.membership.tell_supervisors(id, None).await;
    repairs.stop_jobs(id).await?;
    match c.trees.stray_tree(id).await? {
        StrayTree::None | StrayTree::Unused => {}
        StrayTree::Unknown(why) => return Err(CleanupError::UnknownTree(why)),
        StrayTree::Handed(tree) => {
            let kept = repairs.keep_stray(*tree).await?;
            tracing::warn!(agent.id = %id, kept, "a tree without a record was kept in the server's bare repository");
            // The harvest is a job of the agent's as well.
            repairs.stop_jobs(id).await?;
        }
    }
    Ok(())
}

/// Releases what an agent whose work is kept still has.
pub(crate) async fn release(c: &Caretaker, id: AgentId) -> Result<(), CleanupError> {
    let trees = c.trees.remove(id).await;
    let private = c.sandbox.release(id).await;
    trees?;
    private?;
    c.processes.forget(id).await?;
    let beside = c.trees.keep_beside(id).await?;
    if !beside.is_empty() {
        tracing::warn!(agent.id = %id, names = ?beside, "what lay beside a tree without a record is kept");
    }
    Ok(())
}

/// Deals with the refs of at most [`limits::CARE_BATCH`] agents, and counts what is left. Every agent that ever ran has some,
/// so this looks at as many records.
pub(super) async fn refs(c: &Caretaker, repairs: &dyn Repairs, report: &mut CareReport) {
    report.orphan_refs = 0;
    let kept = match c.kept_work.kept_refs().await {
        Ok(kept) => kept,
        Err(e) => return report.problem(format!("refs of agents: {}", e.message)),
    };
    let mut tried = 0;
    for one in kept {
        let gone = match record(c, one.agent).await {
            Record::There => continue,
            Record::LeftWork => {
                report_again(c, repairs, &one, report).await;
                continue;
            }
            Record::Unknown => return,
            Record::Removed => true,
            // Nobody asked for what lies here to go.
            Record::RemovedElsewhere => is_safe(c, &one).await,
            // The files' times are of this machine: while its clock is wrong they say nothing of an age.
            Record::Lost if c.clocks.fault().is_some() => false,
            Record::Lost => {
                c.clocks.own_now().since(one.since) >= c.retention.records && is_safe(c, &one).await
            }
        };
        if !gone || tried >= limits::CARE_BATCH {
            report.orphan_refs += 1;
            continue;
        }
        tried += 1;
        if let Err(e) = c.kept_work.forget(&one.cache, one.agent).await {
            report.orphan_refs += 1;
            report.problem(format!("refs of agent {}: {}", one.agent, e.message));
        }
    }
}

/// Reports again what an attempt left here, as long as it is nowhere else: somebody may have pushed it by now.
async fn report_again(c: &Caretaker, repairs: &dyn Repairs, refs: &KeptRefs, report: &mut CareReport) {
    let reports = c.fleet.work_reports(refs.agent).await.unwrap_or_default();
    let own = reports.iter().find(|known| known.node == c.node);
    if own.is_some_and(|known| known.state != WorkState::Kept) || c.is_driven(refs.agent) {
        return;
    }
    if let Err(why) = repairs.report_work(refs.agent).await {
        report.problem(format!("work of agent {} that is kept here: {why}", refs.agent));
    }
}

/// Tells whether everything that the refs keep is on a branch of the remote.
async fn is_safe(c: &Caretaker, refs: &KeptRefs) -> bool {
    let found = c.kept_work.unmerged(&refs.cache, refs.agent, &[], 1).await;
    found.is_ok_and(|commits| commits.is_empty())
}
