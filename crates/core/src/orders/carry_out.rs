//! Carrying out what stands: queued agents that the barrier covers end, and so do single agents whose kill was left in the
//! state directory or the store.

use std::collections::BTreeSet;

use crate::domain::agent::{Agent, State, Status};
use crate::domain::ids::{AgentId, NodeId};
use crate::domain::lifecycle::{self, KillCause, Now};
use crate::domain::orders::KillOrder;
use crate::driver::Order;
use crate::limits;
use crate::orders::record::RecordError;
use crate::orders::standing::Orders;
use crate::ports::store::{Change, OrderChange, Query, Safety, StoreError, Versioned};

/// Result of a sweep of the queue.
pub(crate) struct Swept {
    /// The agents that it ended.
    pub(crate) ended: BTreeSet<AgentId>,
    /// Others that are not terminal yet: slots hold them.
    pub(crate) held: Vec<AgentId>,
}

impl Orders {
    /// Ends queued agents; returns those that were ended. The others changed meanwhile. Trees that earlier attempts left
    /// are the caretaker's, a few at a time.
    pub(crate) async fn kill_waiting(
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
        let results = self.store.amend(changes).await?;
        let mut ended = Vec::new();
        for (agent, result) in agents.into_iter().zip(results) {
            match result {
                Ok(_) => ended.push(agent.id),
                Err(StoreError::Conflict(_) | StoreError::NotFound(_)) => {}
                Err(e) => return Err(e),
            }
        }
        Ok(ended)
    }

    /// Ends the queued agents that the barrier covers, page by page.
    pub(crate) async fn sweep_barrier(&self, note: &str) -> Result<Swept, StoreError> {
        let (mut ended, mut held) = (BTreeSet::new(), Vec::new());
        let mut before = Some(self.barrier_seq() + 1);
        loop {
            let status = vec![Status::Spawning, Status::Running];
            let query = Query { status, before_seq: before, limit: limits::STORE_PAGE, ..Query::default() };
            let page = self.store.list(query).await?;
            let Some(last) = page.last() else { break };
            before = Some(last.seq);
            let (waiting, taken): (Vec<_>, Vec<_>) =
                page.into_iter().partition(|r| matches!(r.agent.state, State::Queued { .. }));
            held.extend(taken.into_iter().map(|record| record.agent.id));
            let ids: Vec<AgentId> = waiting.iter().map(|record| record.agent.id).collect();
            // Another sweep may be counting: it finds out by itself what became of these.
            ids.iter().for_each(|id| self.note_early(*id));
            ended.extend(self.kill_waiting(waiting, KillCause::KillAll, note).await?);
            held.extend(ids.into_iter().filter(|id| !ended.contains(id)));
        }
        // Only after the last page. A page that fails leaves the mark, and the engine sweeps again.
        self.swept();
        Ok(Swept { ended, held })
    }

    /// Carries out the orders about single agents that were left in the state directory: what a driver holds was
    /// ordered already, what waits ends here, and an order is forgotten once its agent's end is durable.
    pub(crate) async fn carry_out_kills(&self) {
        for (kill, stored) in self.left_kills() {
            match self.carry_out(&kill, stored).await {
                Ok(false) => {}
                Ok(true) => self.carried_out(&kill, stored).await,
                Err(e) => {
                    tracing::warn!(agent.id = %kill.agent, error = %e, "a kill order waits for the store")
                }
            }
        }
    }

    /// Takes an order away whose agent has ended.
    async fn carried_out(&self, kill: &KillOrder, stored: bool) {
        let done = if stored {
            let done = self.store.set_orders(OrderChange::Killed(kill.agent), Vec::new()).await;
            done.map(|orders| _ = self.take_kills(orders.kills)).map_err(RecordError::Store)
        } else {
            self.in_time(self.files.forget_kill(kill.agent)).await
        };
        if let Err(e) = done {
            tracing::warn!(agent.id = %kill.agent, error = %e, "a kill order that was carried out could not be removed");
        }
    }

    /// Returns whether the agent has ended.
    async fn carry_out(&self, kill: &KillOrder, stored: bool) -> Result<bool, StoreError> {
        let record = match self.store.glance(kill.agent).await {
            // There is no record that could end. An order that stayed for it would be looked at in every
            // round without end.
            Err(StoreError::NotFound(_) | StoreError::Quarantined(_) | StoreError::Pruned { .. }) => {
                return Ok(true);
            }
            record => record?,
        };
        let waits = record.node.is_none() && matches!(record.agent.state, State::Queued { .. });
        if waits {
            self.kill_waiting(vec![record], KillCause::Operator, &kill.note()).await?;
            // Not taken for done although the write may have gone through: the next look reads the end back
            // from the store, and only then the order is forgotten.
            return Ok(false);
        }
        if let Some(driver) = self.drivers.lock().get(&kill.agent) {
            driver.give(Order::Kill(KillCause::Operator, kill.note()));
        } else if !stored && record.node.as_ref().is_some_and(|node| self.is_elsewhere(node)) {
            // It was left here, but another node holds the agent.
            self.store.set_orders(OrderChange::Kill(kill.clone()), Vec::new()).await?;
        }
        Ok(record.agent.is_terminal())
    }

    fn decide_now(&self) -> Now {
        Now { at: self.clocks.now(), dice: self.chance.dice() }
    }

    /// Tells whether an agent that this node holds lies on another one.
    fn is_elsewhere(&self, node: &NodeId) -> bool {
        self.clocks.is_shared() && *node != self.node
    }
}
