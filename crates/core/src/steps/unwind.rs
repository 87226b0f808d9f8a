//! Unwind: the only way anything is released, whether the agent finished, failed, was killed, timed out or its
//! server died. Every part is idempotent and found by the agent's id, so that it can be repeated: by the next server,
//! and by [`Orchestrator::clean_up_again`] for what could not be released when the agent ended. What it cannot do
//! stands in the record as `cleanup_pending`; it never keeps a slot.

use std::time::Duration;

use thiserror::Error;

use super::commit;
use super::context::{StepContext, StepState, is_kill};
use super::tend::Lent;
use crate::domain::agent::{Agent, Ending, Salvaged, State, Status};
use crate::domain::facts::{Fact, GitSalvaged};
use crate::domain::ids::AgentId;
use crate::domain::journal::LogRecord;
use crate::domain::lifecycle::{Event, Salvage};
use crate::domain::outcome::{Failure, FailureKind};
use crate::domain::publication::RemoteLook;
use crate::domain::stop::{StopCause, StopReceipt};
use crate::driver::AgentHandle;
use crate::limits;
use crate::orchestrator::Orchestrator;
use crate::ports::repositories::Kept;
use crate::ports::store::{Change, Safety, StoreError, Versioned};

/// Result of cleaning up after an agent that has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CleanUp {
    /// Nothing of it is left on this machine; its work, if there was any, is in the server's bare repository.
    Done,
    /// The remains, and the reason why they are left.
    Pending(String),
    /// It has not ended, or a driver holds it: nothing was done.
    Active,
}

/// Stops what runs of an agent that is killed, while the kill is still being written.
pub(super) async fn begin(context: &StepContext<'_>, step_state: &mut StepState) {
    step_state.running = None;
    stop(context, context.orchestrator.settings.kill_grace).await;
    context.driver.empty.send_replace(true);
    // Keeping what it left takes time that others, who are still alive, need for their end.
    tokio::select! {
        () = context.orchestrator.orders.no_rush() => {}
        () = context.orchestrator.ports.clock.sleep(limits::STOP_PROOF) => {}
    }
}

pub(super) async fn run(context: &StepContext<'_>, step_state: &mut StepState) -> Event {
    let mut warnings = Vec::new();
    step_state.running = None;
    if !std::mem::take(&mut step_state.stopped) {
        stop(context, grace(context)).await;
    }
    // What ran last may have ended while nobody supervised it.
    if context.agent.work.dirty
        && let Some(mut lent) = Lent::find(context, step_state, context.runtime_name().to_owned(), None).await
    {
        lent.look(context).await;
    }
    let settles = matches!(&context.agent.state, State::Unwinding { ending: Ending::Settle { .. } });
    let settled = step_state.push_over;
    let look = async {
        match settles {
            true => context.orchestrator.look_for_push(context.agent, settled).await,
            false => RemoteLook::Unknown,
        }
    };
    let keep = async {
        match (context.agent.work.dirty, settles) {
            (true, _) if !may_harvest(context).await => Err(UnwindError::LeaseOver),
            (false, true) => beside(context.orchestrator, context.agent).await,
            (false, false) => Ok(Salvage::Nothing),
            (true, true) => save(context).await,
            (true, false) => keep(context, &mut warnings).await,
        }
    };
    // The remote is asked while the work is received: each may take seconds, and a caller of a kill waits for both.
    let (kept, look) = tokio::join!(keep, look);
    let mut left = Vec::new();
    let salvage = kept.unwrap_or_else(|e| {
        left.push(e.to_string());
        Salvage::Failed
    });
    if salvage == Salvage::Failed {
        // Whatever the harvest left running must not meet the next attempt.
        stop(context, Duration::ZERO).await;
    }
    let (o, agent) = (context.orchestrator, context.agent.id);
    if settles && salvage != Salvage::Failed {
        left.extend(delete_tree(o, agent).await);
    }
    if let Err(e) = o.ports.processes.forget(agent).await {
        left.push(format!("job records could not be removed: {e}"));
    }
    if settles && left.is_empty() {
        match keep_beside(o, agent).await {
            Ok(named) => warnings.extend(named),
            Err(e) => left.push(e.to_string()),
        }
    }
    Event::Unwound { salvage, pending: pending(&left), look, warnings }
}

/// Releases what a trial of gates holds: it has neither a record nor work.
pub(crate) async fn release_trial(o: &Orchestrator, id: AgentId) -> Result<(), Failure> {
    let failed = |why: String| Failure::new(FailureKind::Internal, why);
    o.stop_jobs(id, Duration::ZERO).await.map_err(|e| failed(e.to_string()))?;
    o.ports.sandbox.release(id).await?;
    o.ports.trees.remove(id).await?;
    o.ports.processes.forget(id).await.map_err(|e| failed(e.to_string()))
}

/// A harvest is a job, and no job outlives the lease: while that is over by this node's clock, the next heartbeat is
/// waited for.
async fn may_harvest(context: &StepContext<'_>) -> bool {
    let (o, driver) = (context.orchestrator, context.driver);
    !driver.has_lapsed(&o.clocks) || driver.holds_for(&o.clocks, limits::LOOK_AGAIN).await
}

/// Whatever is left of an agent that ended by itself is not asked.
fn grace(context: &StepContext<'_>) -> Duration {
    match &context.agent.state {
        State::Unwinding { ending: Ending::Settle { end } } if end.status != Status::Killed => Duration::ZERO,
        _ => context.orchestrator.settings.kill_grace,
    }
}

/// Stops every process of the agent, again and again until it is verified that none is left. The first receipt that
/// found something stays.
async fn stop(context: &StepContext<'_>, mut grace: Duration) {
    let (o, agent) = (context.orchestrator, context.agent);
    let mut pause = limits::STORE_RETRY;
    let mut hurry = o.shutdown.hurry.subscribe();
    loop {
        let stopped = tokio::select! {
            stopped = o.ports.processes.stop(agent.id, grace) => stopped,
            // Errors never: the sender lives as long as the orchestrator. A second stop only makes the first faster.
            _ = hurry.wait_for(|now| *now), if !grace.is_zero() => {
                grace = Duration::ZERO;
                continue;
            }
        };
        match stopped {
            Ok(mut receipt) => {
                // Told before the sandbox is asked: one that hangs holds up no receipt of the processes.
                receipt.container = Some("unknown: the sandbox has not answered yet".to_owned());
                keep_receipt(context.driver, &receipt);
                receipt.container = o.stop_sandbox(agent.id).await;
                keep_receipt(context.driver, &receipt);
                if receipt.processes_before > 0 || ends_badly(&agent.state) {
                    let cause = if is_kill(&agent.state) { StopCause::Order } else { StopCause::CleanUp };
                    context.driver.note_stop(cause, &receipt);
                }
                let Some(container) = receipt.container else { return };
                tracing::error!(agent.id = %agent.id, container, "a container of the agent is still alive; stopping it again");
            }
            Err(e) => {
                tracing::error!(agent.id = %agent.id, error = %e, "processes of the agent are still alive; stopping them again");
            }
        }
        // Repeated without a bound, because the record must not say that the agent has ended while a process
        // of it may be alive.
        o.ports.clock.sleep(pause).await;
        pause = (pause * 2).min(limits::STRAYS);
    }
}

/// Keeps a receipt for the answer to a kill. One that found nothing does not hide one that did.
fn keep_receipt(driver: &AgentHandle, receipt: &StopReceipt) {
    let mut slot = driver.receipt.lock();
    match &mut *slot {
        Some(known) if receipt.processes_before == 0 => known.container.clone_from(&receipt.container),
        slot => *slot = Some(receipt.clone()),
    }
}

/// Tells whether an agent ends without being completed: it has a receipt even when nothing of it was alive any more.
fn ends_badly(state: &State) -> bool {
    matches!(state, State::Unwinding { ending: Ending::Settle { end } } if end.status != Status::Completed)
}

/// Reasons why something that an agent left is not kept yet; each text stands in its record and in front of people.
#[derive(Debug, Error)]
enum UnwindError {
    #[error("the lease was over before its work was kept")]
    LeaseOver,
    #[error("what the agent left could not be kept, so its tree stays in agents/{agent}/tree: {why}")]
    NotKept { agent: AgentId, why: String },
    #[error("what was kept of it could not be read: {0}")]
    Unread(String),
    #[error("what lies beside its tree could not be kept: {0}")]
    Beside(String),
}

/// For an agent that goes back into the queue: what is uncommitted becomes a commit from which the next attempt goes
/// on. Errors with what is left; the tree stays then.
async fn keep(context: &StepContext<'_>, warnings: &mut Vec<String>) -> Result<Salvage, UnwindError> {
    let received = commit::harvest(context).await.map_err(|e| not_kept(context, &e))?;
    warnings.extend(received.warnings);
    Ok(match received.kept {
        Kept::Commits { head } => Salvage::Kept(head),
        Kept::Nothing => Salvage::Nothing,
        Kept::Diverged { branches } => {
            let id = context.agent.id;
            warnings.push(format!(
                "kept in the server's bare repository under refs/agents/{id}/branches/: {}",
                branches.join(", ")
            ));
            Salvage::Nothing
        }
    })
}

/// For an agent that ends: the tree is kept as it is. Errors with what is left; the tree stays then.
async fn save(context: &StepContext<'_>) -> Result<Salvage, UnwindError> {
    let (o, agent) = (context.orchestrator, context.agent);
    if !o.ports.trees.has_tree(agent.id).await.map_err(|e| not_kept(context, &e))? {
        return gone(context).await.map_err(|e| not_kept(context, &e));
    }
    match commit::salvage(context).await {
        Ok(Some(saved)) => Ok(Salvage::Saved(saved)),
        Ok(None) => beside(o, agent).await,
        Err(e) => Err(not_kept(context, &e)),
    }
}

/// Returns the work that an earlier harvest kept in addition to the commits that it received.
async fn beside(o: &Orchestrator, agent: &Agent) -> Result<Salvage, UnwindError> {
    if agent.work.base.is_none() {
        return Ok(Salvage::Nothing);
    }
    let saved = o.ports.kept_work.salvaged(&agent.spec.context.repository, agent.id).await;
    let saved = saved.map_err(|e| UnwindError::Unread(e.message))?;
    Ok(saved.map_or(Salvage::Nothing, Salvage::Beside))
}

/// The tree is not there (any more): an earlier unwind deleted it after it had kept the work, or the agent itself
/// removed it.
async fn gone(context: &StepContext<'_>) -> Result<Salvage, Failure> {
    let repository = &context.agent.spec.context.repository;
    let saved = context.orchestrator.ports.kept_work.salvaged(repository, context.agent.id).await?;
    Ok(saved.map_or(Salvage::Nothing, Salvage::Saved))
}

fn not_kept(context: &StepContext<'_>, e: &Failure) -> UnwindError {
    let why = context.orchestrator.ports.scanner.mask(&e.message);
    UnwindError::NotKept { agent: context.agent.id, why }
}

/// Keeps what the agent left beside its tree, once all that is ours is gone; returns a warning that names it.
async fn keep_beside(o: &Orchestrator, agent: AgentId) -> Result<Option<String>, UnwindError> {
    let names = o.ports.trees.keep_beside(agent).await;
    let names = names.map_err(|e| UnwindError::Beside(e.message))?;
    Ok((!names.is_empty()).then(|| {
        let names = o.ports.scanner.mask(&names.join(", "));
        format!("left beside its tree, and kept in beside/{agent} of the data directory until the agent is removed: {names}")
    }))
}

/// Deletes tree and private directories; returns what could not be deleted.
async fn delete_tree(o: &Orchestrator, agent: AgentId) -> Vec<String> {
    let mut left = Vec::new();
    if let Err(e) = o.ports.trees.remove(agent).await {
        left.push(format!("the working tree could not be removed: {}", e.message));
    }
    if let Err(e) = o.ports.sandbox.release(agent).await {
        left.push(format!("the private directories could not be removed: {e}"));
    }
    left
}

fn pending(left: &[String]) -> Option<String> {
    (!left.is_empty()).then(|| left.join("; "))
}

impl Orchestrator {
    /// Deletes whatever an ended agent still has on this machine, once its work is kept. Idempotent; what cannot
    /// be deleted is logged and stands in its record.
    pub async fn clean_up(&self, id: AgentId) {
        match self.clean_up_again(id).await {
            Ok(CleanUp::Done | CleanUp::Active) => {}
            Ok(CleanUp::Pending(why)) => {
                tracing::warn!(agent.id = %id, why, "an ended agent could not be cleaned up after; it is tried again");
            }
            Err(e) => {
                tracing::warn!(agent.id = %id, error = %e, "an ended agent could not be cleaned up after");
            }
        }
    }

    /// Repeats, for an agent that has ended, what its unwind could not do: stop its processes, keep its work, remove
    /// its tree, directories and job records; and writes down what is still left. Idempotent. Of an agent without a
    /// record only the processes are stopped: what its tree holds is for the caretaker to find out.
    pub async fn clean_up_again(&self, id: AgentId) -> Result<CleanUp, StoreError> {
        let record = match self.ports.store.get(id).await {
            Ok(record) if self.live().contains_key(&id) || !record.agent.is_terminal() => {
                return Ok(CleanUp::Active);
            }
            // Another node had it last, and archived its record.
            Err(StoreError::ArchiveAway { .. }) => {
                let kept = Box::pin(self.keep_moved_now(id)).await;
                return Ok(kept.err().map_or(CleanUp::Done, |e| CleanUp::Pending(e.to_string())));
            }
            // What its record says of its work is about another node's.
            Ok(record) if self.is_elsewhere(record.agent.node.as_ref()) => {
                let kept = Box::pin(self.keep_moved_now(id)).await;
                return Ok(kept.err().map_or(CleanUp::Done, |e| CleanUp::Pending(e.to_string())));
            }
            other => other,
        };
        let stopped = self.stop_jobs(id, Duration::ZERO).await;
        // What is kept now is kept without a lease.
        self.fleet.tell_supervisors(id, None).await;
        let mut record = match record {
            Err(StoreError::NotFound(_) | StoreError::Pruned { .. }) => {
                let left = stopped.err().map(|e| format!("its processes could not be stopped: {e}"));
                return Ok(left.map_or(CleanUp::Done, CleanUp::Pending));
            }
            other => other?,
        };
        let before = record.agent.clone();
        let mut left = Vec::new();
        let mut salvage = Salvage::Nothing;
        if let Err(e) = stopped {
            left.push(format!("its processes could not be stopped: {e}"));
        } else {
            if record.agent.work.dirty {
                salvage = Box::pin(self.save_again(&record)).await.unwrap_or_else(|e| {
                    left.push(e.to_string());
                    Salvage::Failed
                });
            }
            if !record.agent.work.dirty && record.agent.work.salvage.is_none() {
                salvage = beside(self, &record.agent).await.unwrap_or(Salvage::Nothing);
            }
            if salvage != Salvage::Failed {
                left.extend(delete_tree(self, id).await);
            }
            if let Err(e) = self.ports.processes.forget(id).await {
                left.push(format!("job records could not be removed: {e}"));
            }
            if left.is_empty() {
                match keep_beside(self, id).await {
                    Ok(named) => named.into_iter().for_each(|text| record.agent.warn(text)),
                    Err(e) => left.push(e.to_string()),
                }
            }
        }
        let pending = pending(&left);
        self.write_clean_up(record.version, before, record.agent, salvage, pending.clone()).await?;
        Ok(pending.map_or(CleanUp::Done, CleanUp::Pending))
    }

    async fn save_again(&self, record: &Versioned) -> Result<Salvage, UnwindError> {
        let driver = AgentHandle::new(record);
        let context = StepContext { orchestrator: self, agent: &record.agent, driver: &driver };
        save(&context).await
    }

    /// Writes what changed; nothing when nothing did. A record that changed meanwhile is left to the next try.
    async fn write_clean_up(
        &self,
        version: u64,
        before: Agent,
        mut agent: Agent,
        salvage: Salvage,
        pending: Option<String>,
    ) -> Result<(), StoreError> {
        // Processes that could not be stopped leave the tree as it was.
        let untouched = before.work.dirty && pending.is_some() && salvage == Salvage::Nothing;
        agent.work.dirty = salvage == Salvage::Failed || untouched;
        agent.work.cleanup_pending = pending;
        let mut facts = Vec::new();
        let is_beside = matches!(salvage, Salvage::Beside(_));
        if let Salvage::Saved(saved) | Salvage::Beside(saved) = salvage {
            facts.push(salvaged(&agent, &saved, self));
            agent.work.salvage_beside = is_beside;
            agent.work.salvage = Some(saved);
        }
        if agent == before {
            return Ok(());
        }
        let change = Change { safety: Safety::Process, agent, facts };
        match self.ports.store.amend(vec![(version, change)]).await?.pop() {
            Some(Err(
                e @ (StoreError::Unavailable(_) | StoreError::NotSafe(_) | StoreError::Unusable(_)),
            )) => Err(e),
            _ => Ok(()),
        }
    }
}

fn salvaged(agent: &Agent, saved: &Salvaged, o: &Orchestrator) -> LogRecord {
    LogRecord::about(agent, &Fact::GitSalvaged(GitSalvaged::of(saved)), o.now())
}
