//! The bulk stop orders: kill-all, which ends everything that was admitted before it, and the kill switch, which stops
//! dispatch, ends what runs and keeps what waits. Both act in memory first; what is written, counted and answered
//! comes after, and nothing of it can hold up a kill.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures_util::future::join_all;
use serde::Serialize;

use crate::domain::facts::{Fact, KillAllDone};
use crate::domain::ids::{AgentId, NodeId, Timestamp};
use crate::domain::journal::LogRecord;
use crate::domain::lifecycle::KillCause;
use crate::domain::orders::Latch;
use crate::driver::AgentHandle;
use crate::kill::{Demand, Killed};
use crate::limits;
use crate::orchestrator::Orchestrator;
use crate::orders::Recorded;
use crate::orders::carry_out::Swept;
use crate::orders::standing::{Ordered, Rush};
use crate::ports::external_queue::ExternalChange;
use crate::ports::store::StoreError;
use crate::receipt::AgentReceipt;

/// Result of a kill-all or of an engaged kill switch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct KillAllReport {
    /// Agents that it was about: for kill-all what was not terminal when it was called, for the switch what ran.
    pub total: u64,
    /// Of these, ended by it (or ending by themselves meanwhile).
    pub killed: u64,
    /// Of these, not confirmed in time.
    pub failed: u64,
    /// One line per agent that was not confirmed, and what could not be looked at.
    pub errors: Vec<String>,
    /// Kill-all: of the killed, how many had not started yet. The switch: how many wait until it is released.
    pub queued: u64,
    /// Nothing of any of them is alive.
    pub verified: bool,
    /// Where the order is written down.
    pub recorded: Recorded,
    /// The last place in the order of admissions that the newest kill-all covers.
    pub barrier: u64,
    /// Receipts of those agents that ran: the fate of everything that they held; at most [`limits::RECEIPTS`].
    pub receipts: Vec<AgentReceipt>,
    /// Agents that other nodes hold and have not confirmed to be dead, with when their leases end.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unconfirmed: Vec<Unconfirmed>,
}

/// An agent of which another node has not said that it is dead.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Unconfirmed {
    /// The agent.
    pub agent_id: AgentId,
    /// Its name.
    pub name: String,
    /// The node that holds it.
    pub node: NodeId,
    /// When its last heartbeat came.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seen_at: Option<String>,
    /// When its leases end: it stops itself before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lease_expires_at: Option<String>,
}

/// Says of an agent why it is not known to be dead.
fn unconfirmed(killed: &Killed) -> String {
    let agent = &killed.record.agent;
    let Some(elsewhere) = &killed.elsewhere else {
        return format!("{}: not confirmed in time; it is still being stopped", agent.id);
    };
    let seen = match elsewhere.seen_at {
        None => "is not known".to_owned(),
        Some(at) if elsewhere.silent => format!("unreachable since {at}"),
        Some(_) => "has not confirmed it in time".to_owned(),
    };
    let ends = elsewhere.lease_expires_at.map_or_else(
        || "it stops itself when its lease ends".to_owned(),
        |at| format!("its lease expires {at}, then it stops itself"),
    );
    format!("{} ({}): node {} {seen}; {ends}", agent.id, agent.name, elsewhere.node)
}

/// Result for one agent; `None` when it waits again.
type Reported = (AgentId, Result<Option<Killed>, StoreError>);

impl Orchestrator {
    /// Ends every agent that is not terminal now, queued ones included; none of them starts, is tried again or taken
    /// over afterwards. What is spawned later is not touched. Needs no store to end what runs.
    pub async fn kill_all(&self, by: &str, reason: Option<String>) -> KillAllReport {
        let (at, patience) = (self.now(), limits::KILL_ANSWER + self.settings.kill_grace);
        // Both begin before the barrier stands: an agent that a slot takes in the next moment ends at its
        // first decision and must be counted, and no harvest of a killed agent may compete with the stops.
        let (_counting, rush) = (self.orders.count_early(), self.orders.rush());
        let barrier = self.orders.raise(by, reason, at, self.is_fleet());
        // Ordered after the barrier was raised, never before: a driver that registers in between asks the
        // barrier itself, so none is missed.
        let live = self.orders.order_live();
        let note = barrier.note();
        let demand = Demand {
            cause: KillCause::KillAll,
            note: &note,
            at,
            keeps_queued: false,
            settle: Some(limits::KILL_SETTLE),
        };
        let running = self.end_live(&live, &demand, rush);
        let rest = async {
            let (recorded, store) = self.orders.record_barrier(&barrier).await;
            if let Err(e) = store {
                return (recorded, Err(e.to_string()));
            }
            // A job of another producer has neither record nor sequence number, so barrier and sweep do not
            // reach it, and the dispatcher would admit it behind the barrier.
            self.refuse_submitted(&note).await;
            tokio::select! {
                swept = self.orders.sweep_barrier(&note) => (recorded, swept.map_err(|e| e.to_string())),
                () = self.ports.clock.sleep(patience) => (recorded, Err("the store does not answer".to_owned())),
            }
        };
        let (held_elsewhere, mut ends, (recorded, swept)) =
            tokio::join!(self.held_elsewhere(), running, rest);
        let mut report = KillAllReport::new(recorded, self.orders.barrier_seq());
        match swept {
            Ok(Swept { ended, held }) => {
                let waited = ended.len() as u64;
                (report.total, report.killed, report.queued) = (waited, waited, waited);
                let early = self.orders.ended_early();
                let known = |id: &AgentId| live.contains_key(id) || ended.contains(id);
                // An agent may be in several of these lists, for example held by another node at first and
                // noted by its end here. A set counts it once.
                let rest = held.into_iter().chain(early).chain(held_elsewhere);
                let rest: BTreeSet<AgentId> = rest.filter(|id| !known(id)).collect();
                ends.extend(join_all(rest.iter().map(|id| self.reported(*id, None, &demand))).await);
            }
            Err(why) => {
                self.orders.not_swept();
                let text = "queued agents could not be ended yet, but none of them starts any more";
                report.fault(format!("{text}: {why}"));
            }
        }
        for (id, mut end) in ends {
            if let Ok(Some(killed)) = &mut end
                && !killed.already_terminal
                && killed.record.agent.attempt == 0
            {
                report.queued += 1;
                // Nothing of it ran, so once it has ended there is nothing to prove, whichever sweep ended it.
                killed.receipt = killed.receipt.take().filter(|_| !killed.confirmed);
            }
            report.count(id, end);
        }
        self.log_kill_all(&report, &note).await;
        report
    }

    /// Waits until nothing of what was ordered is alive, and only then for what became of it.
    async fn end_live(&self, live: &Ordered, demand: &Demand<'_>, rush: Rush<'_>) -> Vec<Reported> {
        tokio::select! {
            _ = join_all(live.values().map(|driver| driver.emptied())) => {}
            () = self.ports.clock.sleep(limits::KILL_ANSWER + self.settings.kill_grace) => {}
        }
        // Only from here on what the dead left may be harvested: before, that would take processor and disk
        // from stops that are still under way.
        drop(rush);
        join_all(live.iter().map(|(id, driver)| self.reported(*id, Some(driver), demand))).await
    }

    async fn reported(
        &self,
        id: AgentId,
        driver: Option<&Arc<AgentHandle>>,
        demand: &Demand<'_>,
    ) -> Reported {
        let patience = limits::KILL_ANSWER + self.settings.kill_grace;
        (id, self.end(id, driver.cloned(), demand, patience).await)
    }

    /// Refuses what other producers put into the queue and nobody took in yet: it was there before the order.
    async fn refuse_submitted(&self, note: &str) {
        let why = format!("killed by kill-all before it was taken in: {note}");
        let refuse = async {
            // Producers may submit while this goes on, so pages are read until one has no new job. The
            // deadline below ends a race that the producers win.
            loop {
                let page = self.ports.external_queue.external_changes(limits::EXTERNAL_CHANGES).await?;
                let jobs = page.into_iter().filter_map(|change| match change {
                    ExternalChange::Submitted(submission) => Some(submission.job),
                    ExternalChange::Retried { job, .. } => Some(job),
                    ExternalChange::DataChanged { .. }
                    | ExternalChange::Removed(_)
                    | ExternalChange::Finished { .. } => None,
                });
                let jobs: Vec<String> = jobs.collect();
                for job in &jobs {
                    self.ports.external_queue.refuse(job, &why, self.now()).await?;
                }
                if jobs.is_empty() {
                    return Ok::<(), StoreError>(());
                }
            }
        };
        tokio::select! {
            refused = refuse => if let Err(e) = refused {
                tracing::warn!(error = %e, "what other producers submitted could not be refused");
            },
            () = self.ports.clock.sleep(limits::KILL_ANSWER) => {
                tracing::warn!("what other producers submit could not be refused as fast as it comes");
            }
        }
    }

    /// Logs that kill-all is done; the barrier stands whether that works or not.
    async fn log_kill_all(&self, report: &KillAllReport, note: &str) {
        let (total, killed, failed) = (report.total, report.killed, report.failed);
        let done = Fact::KillAllDone(KillAllDone { total, killed, failed, note: note.to_owned() });
        let fact = LogRecord::new(&done, self.now());
        tokio::select! {
            logged = self.ports.store.log(vec![fact]) => if let Err(e) = logged {
                tracing::warn!(error = %e, "kill-all could not be logged");
            },
            () = self.ports.clock.sleep(limits::ORDER_RECORD) => tracing::warn!("kill-all could not be logged in time"),
        }
    }

    /// Engages the kill switch: nothing starts until [`Orchestrator::release`], what runs is ended, what waits keeps its
    /// place. Engaging it again only ends what runs. Returns the latch that stands and what it came to.
    pub async fn engage(&self, by: &str, reason: Option<String>) -> (Latch, KillAllReport) {
        let at = self.now();
        let (_counting, rush) = (self.orders.count_early(), self.orders.rush());
        let (latch, live) = self.orders.latch_now(by, reason);
        let note = latch.note();
        let demand = Demand {
            cause: KillCause::KillAll,
            note: &note,
            at,
            keeps_queued: true,
            settle: Some(limits::KILL_SETTLE),
        };
        let running = self.end_live(&live, &demand, rush);
        let (held_elsewhere, mut ends, recorded) =
            tokio::join!(self.held_elsewhere(), running, self.orders.record_latch(&latch));
        let mut report = KillAllReport::new(recorded, self.orders.barrier_seq());
        match self.clocks.timely(self.held_and_waiting()).await {
            Ok(Ok((held, waiting))) => {
                report.queued = waiting;
                let held = held.into_iter().chain(self.orders.ended_early()).chain(held_elsewhere);
                let rest: BTreeSet<AgentId> = held.filter(|id| !live.contains_key(id)).collect();
                ends.extend(join_all(rest.iter().map(|id| self.reported(*id, None, &demand))).await);
            }
            Ok(Err(e)) => report.fault(format!("what else is held could not be read: {e}")),
            Err(why) => report.fault(format!("what else is held could not be read: {why}")),
        }
        ends.into_iter().for_each(|(id, end)| report.count(id, end));
        // The write may have found an earlier latch in the store, which stands. After a release meanwhile the
        // caller is shown the latch that it engaged.
        (self.orders.latch().unwrap_or(latch), report)
    }

    /// Lists what other nodes hold at this moment: they may have ended it before anybody counts.
    async fn held_elsewhere(&self) -> Vec<AgentId> {
        if !self.is_fleet() {
            return Vec::new();
        }
        let Ok(Ok(leased)) = self.clocks.timely(self.ports.store.leased()).await else { return Vec::new() };
        let elsewhere = leased.into_iter().filter(|record| self.is_elsewhere(record.node.as_ref()));
        elsewhere.map(|record| record.agent.id).collect()
    }

    async fn held_and_waiting(&self) -> Result<(Vec<AgentId>, u64), StoreError> {
        let held = self.ports.store.leased().await?;
        let counts = self.ports.store.counts(self.now()).await?;
        Ok((held.into_iter().map(|record| record.agent.id).collect(), counts.waiting + counts.delayed))
    }
}

impl KillAllReport {
    fn new(recorded: Recorded, barrier: u64) -> Self {
        let (total, killed, failed, queued) = (0, 0, 0, 0);
        let (errors, receipts, unconfirmed) = (Vec::new(), Vec::new(), Vec::new());
        Self {
            total,
            killed,
            failed,
            errors,
            queued,
            verified: true,
            recorded,
            barrier,
            receipts,
            unconfirmed,
        }
    }

    /// Notes something that is no agent's.
    fn fault(&mut self, text: String) {
        self.verified = false;
        self.errors.push(text);
    }

    /// Counts what became of one agent. One that had ended before the order, or waits again, is none of it.
    fn count(&mut self, id: AgentId, end: Result<Option<Killed>, StoreError>) {
        let killed = match end {
            Ok(None) => return,
            Ok(Some(killed)) if killed.already_terminal => return,
            Ok(Some(killed)) => killed,
            Err(e) => {
                self.total += 1;
                self.failed += 1;
                return self.fault(format!("{id}: {e}"));
            }
        };
        self.total += 1;
        if killed.confirmed {
            self.killed += 1;
        } else {
            self.failed += 1;
            self.fault(unconfirmed(&killed));
            if let Some(elsewhere) = &killed.elsewhere {
                let agent = &killed.record.agent;
                self.unconfirmed.push(Unconfirmed {
                    agent_id: agent.id,
                    name: agent.name.clone(),
                    node: elsewhere.node.clone(),
                    seen_at: elsewhere.seen_at.map(Timestamp::to_rfc3339),
                    lease_expires_at: elsewhere.lease_expires_at.map(Timestamp::to_rfc3339),
                });
            }
        }
        if let (Some(receipt), true) = (killed.receipt, self.receipts.len() < limits::RECEIPTS) {
            let agent = &killed.record.agent;
            let (name, status) = (agent.name.clone(), agent.status());
            let verified = killed.confirmed;
            self.receipts.push(AgentReceipt { agent_id: id, name, status, verified, receipt });
        }
    }
}
