//! Ending agents by order: one, or what waits of a task; [`crate::kill_all`] has the bulk stop orders. An order reaches an
//! agent wherever it is: in the queue, in a driver's hands, or between the two.

use std::sync::Arc;
use std::time::Duration;

use crate::domain::agent::{State, Status};
use crate::domain::ids::{AgentId, NodeId, TaskId, Timestamp};
use crate::domain::lifecycle::KillCause;
use crate::domain::orders::KillOrder;
use crate::driver::{AgentHandle, Order};
use crate::limits;
use crate::orchestrator::Orchestrator;
use crate::ports::processes::StopReceipt;
use crate::ports::store::{OrderChange, StoreError, Versioned};
use crate::receipt::KillReceipt;

/// Result of a kill.
#[derive(Debug, Clone)]
pub struct Killed {
    /// The record afterwards.
    pub record: Versioned,
    /// It had ended before the order.
    pub already_terminal: bool,
    /// It is verified that nothing of it is alive. False: asked, but not confirmed in time.
    pub confirmed: bool,
    /// Fate of everything that the agent held; `None` when it had ended before.
    pub receipt: Option<KillReceipt>,
    /// The other node that holds the agent and has not confirmed its end, if there is one.
    pub elsewhere: Option<Elsewhere>,
}

/// Another node that holds an agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Elsewhere {
    /// The node.
    pub node: NodeId,
    /// When its last heartbeat came, when that is known.
    pub seen_at: Option<Timestamp>,
    /// It misses its heartbeats.
    pub silent: bool,
    /// When its leases end unless it sends a heartbeat again: it freezes and kills what it holds before that.
    pub lease_expires_at: Option<Timestamp>,
}

/// A demand that an agent end, with its cause and with what counts as the end.
pub(crate) struct Demand<'a> {
    pub(crate) cause: KillCause,
    pub(crate) note: &'a str,
    /// When it was ordered.
    pub(crate) at: Timestamp,
    /// An agent that is in the queue stays there.
    pub(crate) keeps_queued: bool,
    /// Longest wait for the record once nothing of the agent is alive; without a bound when `None`.
    pub(crate) settle: Option<Duration>,
}

impl Orchestrator {
    /// Kills one agent and waits until it is verified, at most [`limits::KILL_ANSWER`] plus the grace. `note` says
    /// who and why, for the record. An agent that has ended stays as it is.
    pub async fn kill(&self, id: AgentId, cause: KillCause, note: &str) -> Result<Killed, StoreError> {
        let patience = limits::KILL_ANSWER + self.settings.kill_grace;
        let demand = Demand { cause, note, at: self.now(), keeps_queued: false, settle: None };
        // The driver is looked up before the store is asked for anything: a kill of what runs here must not
        // depend on a store that answers.
        let driver = self.live().get(&id).cloned();
        let killed = self.end(id, driver, &demand, patience).await?;
        Ok(killed.expect("it is only left in the queue when the order says so"))
    }

    /// Ends one agent; what runs is ordered to before anything is read. `driver` is the one that is known to have it.
    /// `None` when it is in the queue and stays there. After `patience` says what is known then.
    pub(crate) async fn end(
        &self,
        id: AgentId,
        driver: Option<Arc<AgentHandle>>,
        demand: &Demand<'_>,
        patience: Duration,
    ) -> Result<Option<Killed>, StoreError> {
        if let Some(driver) = &driver {
            driver.give(Order::Kill(demand.cause, demand.note.to_owned()));
        }
        let mut last = driver;
        tokio::select! {
            done = self.pursue(id, demand, &mut last) => match done {
                // The store is away, but what ran here was ordered to end: that is answered for.
                Err(StoreError::Unavailable(_) | StoreError::NotSafe(_)) if last.is_some() => {}
                done => return done,
            },
            () = self.ports.clock.sleep(patience) => {}
        }
        let record = match &last {
            Some(driver) if !*driver.done.borrow() => driver.seen().clone(),
            // Its driver is gone, and where the store is away that is the last that is known of it.
            Some(driver) => match self.glance(id).await {
                Err(StoreError::Unavailable(_) | StoreError::NotSafe(_)) => driver.seen().clone(),
                read => read?,
            },
            None => self.glance(id).await?,
        };
        // Its processes may be gone while its work is still being kept: that is what a kill promises.
        let gone = last.as_ref().is_some_and(|driver| *driver.empty.borrow());
        let confirmed = record.agent.is_terminal() || gone;
        let receipt = Some(KillReceipt::of(&record, last.and_then(|driver| driver.receipt())));
        let elsewhere = if confirmed { None } else { self.elsewhere(&record).await };
        Ok(Some(Killed { record, already_terminal: false, confirmed, receipt, elsewhere }))
    }

    /// Goes after an agent until it has ended. `last` is the driver that was seen last.
    async fn pursue(
        &self,
        id: AgentId,
        demand: &Demand<'_>,
        last: &mut Option<Arc<AgentHandle>>,
    ) -> Result<Option<Killed>, StoreError> {
        let mut ended_here = false;
        let mut told = false;
        let mut newest = self.ports.store.newest();
        loop {
            // Marked before the record is read, so that a write which comes between that read and the wait
            // below wakes it.
            newest.mark_unchanged();
            let driver = self.live().get(&id).cloned();
            if let Some(driver) = driver {
                // The agent may have another driver than in the round before: it was queued again, and a slot
                // took it.
                driver.give(Order::Kill(demand.cause, demand.note.to_owned()));
                *last = Some(Arc::clone(&driver));
                if !self.wait_for(&driver, demand.settle).await {
                    let record = driver.seen().clone();
                    let receipt = Some(KillReceipt::of(&record, driver.receipt()));
                    let (already_terminal, confirmed, elsewhere) = (false, true, None);
                    return Ok(Some(Killed { record, already_terminal, confirmed, receipt, elsewhere }));
                }
            }
            let record = self.glance(id).await?;
            if let Some(end) = record.agent.end() {
                let killed = end.status == Status::Killed;
                // The driver, another node or another sweep may have written the end for this order. One that
                // is older is not its work.
                let by_us = ended_here || (end.at >= demand.at && (killed || last.is_some()));
                let processes = last.as_ref().and_then(|driver| driver.receipt()).unwrap_or_else(nothing_ran);
                let receipt = by_us.then(|| KillReceipt::of(&record, Some(processes)));
                let (already_terminal, confirmed, elsewhere) = (!by_us, true, None);
                return Ok(Some(Killed { record, already_terminal, confirmed, receipt, elsewhere }));
            }
            let waits = record.node.is_none() && matches!(record.agent.state, State::Queued { .. });
            if waits && demand.keeps_queued {
                return Ok(None);
            }
            if record.node.as_ref().is_some_and(|node| self.is_elsewhere(Some(node))) {
                // The bulk stop orders stand in the store already.
                if !told && demand.cause == KillCause::Operator {
                    self.order_elsewhere(id, demand).await?;
                    told = true;
                }
                tokio::select! {
                    // Its sender lives as long as the store; else the period does.
                    Ok(()) = newest.changed() => {}
                    () = self.ports.clock.sleep(limits::ELSEWHERE_LOOK) => {}
                }
                continue;
            }
            let ran = record.agent.attempt > 0;
            if waits && !self.orders.kill_waiting(vec![record], demand.cause, demand.note).await?.is_empty() {
                ended_here = true;
                if ran && demand.cause == KillCause::Operator {
                    self.clean_up(id).await;
                }
            } else {
                // Its driver is being registered or about to write, or has just gone: look again in a moment.
                self.ports.clock.sleep(limits::LOOK_AGAIN).await;
            }
        }
    }

    /// Orders the node that holds an agent to end it, durably.
    async fn order_elsewhere(&self, id: AgentId, demand: &Demand<'_>) -> Result<(), StoreError> {
        let kill = KillOrder::noted(id, demand.note, demand.at);
        let orders = self.ports.store.set_orders(OrderChange::Kill(kill), Vec::new()).await?;
        self.orders.take_kills(orders.kills);
        // It is here by now, or in the queue of everybody: this node carries the order out like every other.
        self.wake.notify_one();
        Ok(())
    }

    /// Says who holds an agent, when that is another node.
    pub(crate) async fn elsewhere(&self, record: &Versioned) -> Option<Elsewhere> {
        let node = record.node.clone().filter(|node| self.is_elsewhere(Some(node)))?;
        let nodes = self.clocks.timely(self.ports.fleet.nodes()).await.ok()?.ok()?;
        // This node's own heartbeat tells what time it is for the store.
        let newest = nodes.iter().map(|known| known.seen_at).max();
        let known = nodes.into_iter().find(|known| known.info.node == node);
        let seen_at = known.as_ref().map(|known| known.seen_at);
        let silent =
            seen_at.zip(newest).is_none_or(|(seen, now)| now.since(seen) > limits::NODE_HEARTBEAT * 2);
        let lease_expires_at = known.and_then(|known| known.leases_end_at);
        Some(Elsewhere { node, seen_at, silent, lease_expires_at })
    }

    /// Waits until the driver is done; returns false when nothing of its agent is alive, but its record takes longer
    /// than `settle`, or cannot be written because the store is away.
    async fn wait_for(&self, driver: &AgentHandle, settle: Option<Duration>) -> bool {
        if driver.emptied().await {
            return true;
        }
        let mut done = driver.done.subscribe();
        let pause = settle.unwrap_or(limits::KILL_SETTLE);
        loop {
            tokio::select! {
                biased;
                _ = done.wait_for(|done| *done) => return true,
                () = self.ports.clock.sleep(pause) => {}
            }
            let is_away = async || !matches!(self.clocks.timely(self.ports.store.check()).await, Ok(Ok(())));
            if settle.is_some() || is_away().await {
                return false;
            }
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
        let ended = self.orders.kill_waiting(waiting, KillCause::Operator, note).await?;
        let mut running: Vec<AgentId> = active.drain(..).map(|r| r.agent.id).collect();
        running.extend(ids.into_iter().filter(|id| !ended.contains(id)));
        Ok((ended, running))
    }
}

/// The receipt of an agent of which nothing ran.
fn nothing_ran() -> StopReceipt {
    StopReceipt { rung: "none".to_owned(), ..StopReceipt::default() }
}
