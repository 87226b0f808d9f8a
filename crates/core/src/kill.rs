//! Ending agents by order: one, all, or what waits of a task. An order reaches an agent wherever it is: in the queue, in a
//! driver's hands, or between the two.

use std::sync::{Arc, Mutex};

use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::watch;

use crate::domain::agent::{Agent, State, Status};
use crate::domain::ids::{AgentId, TaskId};
use crate::domain::journal::Fact;
use crate::domain::lifecycle::{self, KillCause};
use crate::limits;
use crate::orchestrator::Orchestrator;
use crate::ports::processes::StopReceipt;
use crate::ports::store::{Change, Query, Safety, StoreError, Versioned};

/// What a kill came to.
#[derive(Debug, Clone)]
pub struct Killed {
    /// The record afterwards.
    pub record: Versioned,
    /// It had ended before the order.
    pub already_terminal: bool,
    /// It is verified that nothing of it is alive. False: asked, but not confirmed in time.
    pub confirmed: bool,
    /// What the stop found and did, when processes were involved.
    pub receipt: Option<StopReceipt>,
}

/// What a kill-all came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KillAllReport {
    /// Agents that were not terminal when it was called.
    pub total: u64,
    /// Of these, ended by it (or ending by themselves meanwhile).
    pub killed: u64,
    /// Of these, not confirmed in time.
    pub failed: u64,
    /// One line per agent that was not confirmed.
    pub errors: Vec<String>,
    /// Of the killed, how many had not started yet.
    pub queued: u64,
}

/// An order to a driver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Order {
    /// End the agent.
    Kill(KillCause, String),
    /// Give the agent back to the queue: the server stops.
    Interrupt,
}

/// What others know about a live driver.
pub(crate) struct Driver {
    pub(crate) order: watch::Sender<Option<Order>>,
    pub(crate) done: watch::Sender<bool>,
    pub(crate) receipt: Mutex<Option<StopReceipt>>,
}

impl Orchestrator {
    /// Kills one agent and waits until it is verified, at most [`limits::KILL_ANSWER`] plus the grace. `note` says
    /// who and why, for the record. An agent that has ended stays as it is.
    pub async fn kill(&self, id: AgentId, cause: KillCause, note: &str) -> Result<Killed, StoreError> {
        let patience = limits::KILL_ANSWER + self.settings.kill_grace;
        let mut first = true;
        let mut receipt = None;
        let work = async {
            loop {
                let record = self.ports.store.get(id).await?;
                if record.agent.is_terminal() {
                    let killed_by_us = !first;
                    return Ok(Killed {
                        record,
                        already_terminal: !killed_by_us,
                        confirmed: true,
                        receipt: receipt.take(),
                    });
                }
                first = false;
                if matches!(record.agent.state, State::Queued { .. }) {
                    let ended = self.kill_waiting(vec![record], cause, note).await?;
                    if ended.is_empty() {
                        // A slot has taken it and its driver is about to write: look again in a moment.
                        self.ports.clock.sleep(limits::LOOK_AGAIN).await;
                    }
                } else {
                    receipt =
                        self.order_and_wait(id, Order::Kill(cause, note.to_owned())).await.or(receipt.take());
                }
            }
        };
        tokio::select! {
            done = work => done,
            () = self.ports.clock.sleep(patience) => {
                let record = self.ports.store.get(id).await?;
                // Its processes may be gone while its work is still being kept: that is what a kill promises.
                let receipt = self.live().get(&id).and_then(|driver| driver.receipt());
                let gone = receipt.as_ref().is_some_and(|receipt| receipt.processes_after == 0);
                let confirmed = record.agent.is_terminal() || gone;
                Ok(Killed { record, already_terminal: false, confirmed, receipt })
            }
        }
    }

    /// Ends queued agents; returns those that were ended. The others changed meanwhile.
    async fn kill_waiting(
        &self,
        records: Vec<Versioned>,
        cause: KillCause,
        note: &str,
    ) -> Result<Vec<AgentId>, StoreError> {
        let mut changes = Vec::new();
        for record in records {
            let kill = lifecycle::Event::Kill { cause, note: note.to_owned() };
            if let Ok(step) = lifecycle::next(&record.agent, kill, self.decide_now()) {
                changes.push((
                    record.version,
                    Change { safety: Safety::Power, agent: step.agent, facts: step.facts },
                ));
            }
        }
        let agents: Vec<Agent> = changes.iter().map(|(_, change)| change.agent.clone()).collect();
        let results = self.ports.store.amend(changes).await?;
        let mut ended = Vec::new();
        let mut with_tree = Vec::new();
        for (agent, result) in agents.into_iter().zip(results) {
            match result {
                Ok(_) => {
                    with_tree.extend((agent.attempt > 0).then_some(agent.id));
                    ended.push(agent.id);
                }
                Err(StoreError::Conflict(_) | StoreError::NotFound(_)) => {}
                Err(e) => return Err(e),
            }
        }
        futures_util::future::join_all(with_tree.into_iter().map(|id| self.clean_up(id))).await;
        Ok(ended)
    }

    /// Gives an order to the agent's driver and waits until the driver is done. Without a driver (it is being
    /// registered, or has just gone) returns after a moment, so that the caller looks again.
    async fn order_and_wait(&self, id: AgentId, order: Order) -> Option<StopReceipt> {
        let driver = self.live().get(&id).cloned();
        let Some(driver) = driver else {
            self.ports.clock.sleep(limits::LOOK_AGAIN).await;
            return None;
        };
        driver.give(order);
        // An error means the driver's end was dropped, which is as done as can be.
        let _ = driver.done.subscribe().wait_for(|done| *done).await;
        driver.receipt()
    }

    /// Ends every agent that is not terminal now, queued ones included. What is spawned afterwards is not touched.
    pub async fn kill_all(&self, note: &str) -> Result<KillAllReport, StoreError> {
        let mut targets: Vec<AgentId> =
            self.ports.store.leased().await?.into_iter().map(|r| r.agent.id).collect();
        // What runs is ordered first and all at once, so that every agent uses the same grace at the same time.
        self.order_all(&targets, note);
        let mut report = KillAllReport { total: 0, killed: 0, failed: 0, errors: Vec::new(), queued: 0 };
        // Waiting entries are ended page by page; those that a slot takes meanwhile join the running ones.
        let mut barrier = None;
        loop {
            let unfinished = vec![Status::Spawning, Status::Running];
            let query = Query { status: unfinished, before_seq: barrier, limit: 1000, ..Query::default() };
            let page = self.ports.store.list(query).await?;
            let Some(last) = page.last() else { break };
            barrier = Some(last.seq);
            let (waiting, held): (Vec<_>, Vec<_>) =
                page.into_iter().partition(|r| matches!(r.agent.state, State::Queued { .. }));
            targets.extend(held.into_iter().map(|r| r.agent.id));
            let ids: Vec<AgentId> = waiting.iter().map(|r| r.agent.id).collect();
            let ended = self.kill_waiting(waiting, KillCause::KillAll, note).await?;
            report.queued += ended.len() as u64;
            report.killed += ended.len() as u64;
            targets.extend(ids.into_iter().filter(|id| !ended.contains(id)));
        }
        targets.sort();
        targets.dedup();
        report.total = report.queued + targets.len() as u64;
        self.order_all(&targets, note);
        let kills =
            targets.iter().map(|id| async move { (*id, self.kill(*id, KillCause::KillAll, note).await) });
        for (id, result) in futures_util::future::join_all(kills).await {
            match result {
                Ok(killed) if killed.confirmed => report.killed += 1,
                Ok(_) => report.fail(format!("{id}: not confirmed in time; it is still being stopped")),
                Err(e) => report.fail(format!("{id}: {e}")),
            }
        }
        let data =
            json!({"total": report.total, "killed": report.killed, "failed": report.failed, "note": note});
        let fact =
            Fact { kind: "orchestrator.kill_all".to_owned(), agent: None, task: None, at: self.now(), data };
        self.ports.store.log(vec![fact]).await?;
        Ok(report)
    }

    fn order_all(&self, targets: &[AgentId], note: &str) {
        let live = self.live();
        for driver in targets.iter().filter_map(|id| live.get(id)) {
            driver.give(Order::Kill(KillCause::KillAll, note.to_owned()));
        }
    }

    /// Removes waiting work of a task: its queued agents end as killed by the operator. Returns the agents that
    /// were ended and those that already run.
    pub async fn remove_waiting(
        &self,
        task: &TaskId,
        note: &str,
    ) -> Result<(Vec<AgentId>, Vec<AgentId>), StoreError> {
        let records = self.ports.store.of_task(task).await?;
        let unfinished: Vec<_> = records.into_iter().filter(|r| !r.agent.is_terminal()).collect();
        let (waiting, mut active): (Vec<_>, Vec<_>) =
            unfinished.into_iter().partition(|r| matches!(r.agent.state, State::Queued { .. }));
        let ids: Vec<AgentId> = waiting.iter().map(|r| r.agent.id).collect();
        let ended = self.kill_waiting(waiting, KillCause::Operator, note).await?;
        let mut running: Vec<AgentId> = active.drain(..).map(|r| r.agent.id).collect();
        running.extend(ids.into_iter().filter(|id| !ended.contains(id)));
        Ok((ended, running))
    }
}

impl KillAllReport {
    fn fail(&mut self, text: String) {
        self.failed += 1;
        self.errors.push(text);
    }
}

impl Driver {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            order: watch::Sender::new(None),
            done: watch::Sender::new(false),
            receipt: Mutex::new(None),
        })
    }

    /// Returns what the stop of its processes found and did, once it is verified.
    pub(crate) fn receipt(&self) -> Option<StopReceipt> {
        self.receipt.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    /// Gives an order. A kill is never replaced by an interruption.
    pub(crate) fn give(&self, order: Order) {
        self.order.send_if_modified(|slot| {
            let replace = !matches!(slot, Some(Order::Kill(..)));
            if replace {
                *slot = Some(order);
            }
            replace
        });
    }
}
