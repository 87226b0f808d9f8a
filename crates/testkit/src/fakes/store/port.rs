//! The in-memory store as the port [`Store`].

use async_trait::async_trait;
use mosaic_core::domain::agent::{Agent, State, Status};
use mosaic_core::domain::ids::{AgentId, NodeId, TaskId, Timestamp};
use mosaic_core::domain::journal::{Entry, LogRecord};
use mosaic_core::domain::orders::{Barrier, StandingOrders};
use mosaic_core::domain::placement::Conditions;
use mosaic_core::limits;
use mosaic_core::ports::store::{
    Admission, Admitted, Change, Counts, Damaged, EndedAfter, Lease, OrderChange, Pause, Query, Removal,
    Store, StoreError, Versioned,
};
use tokio::sync::watch;

use super::FakeStore;
use super::rules::{is_dead, is_queued, is_ready, matches_query, place};

#[async_trait]
impl Store for FakeStore {
    async fn admit(&self, admission: Admission) -> Result<Admitted, StoreError> {
        self.up().await?;
        let admitted = self.write(|inner| inner.admit(admission, self.queue_entries));
        self.stir();
        admitted
    }

    async fn lease_within(
        &self,
        node: &NodeId,
        now: Timestamp,
        conditions: &Conditions,
    ) -> Result<Option<(Lease, Versioned)>, StoreError> {
        self.up().await?;
        Ok(self.write(|inner| {
            if inner.pause.is_some() || inner.orders.latch.is_some() {
                return None;
            }
            let leased = |repository: &str| {
                let of = |record: &&Versioned| record.agent.spec.context.repository.as_str() == repository;
                inner.records.values().filter(|record| record.node.is_some()).filter(of).count()
            };
            let may = |agent: &Agent| {
                let most = conditions.repository_leases;
                most.is_none_or(|most| leased(agent.spec.context.repository.as_str()) < most)
            };
            let best = inner
                .records
                .values()
                .filter(|record| is_ready(record, now) && conditions.allow(&record.agent))
                .filter(|record| may(&record.agent))
                .min_by_key(|record| place(record));
            let seq = best?.seq;
            Some(inner.grant(seq, node, self.term))
        }))
    }

    async fn take_over(&self, agent: AgentId, node: &NodeId) -> Result<(Lease, Versioned), StoreError> {
        self.up().await?;
        self.write(|inner| {
            let record = inner.get(agent)?.clone();
            let is_foreign = self.term.is_some() && record.node.as_ref() != Some(node);
            if record.node.is_none() || (is_foreign && !inner.has_lapsed(agent)) {
                return Err(StoreError::Conflict(agent));
            }
            Ok(inner.grant(record.seq, node, self.term))
        })
    }

    async fn advance(&self, lease: &Lease, change: Change) -> Result<u64, StoreError> {
        self.up().await?;
        assert_eq!(lease.agent, change.agent.id, "a lease allows writing its own agent only");
        let queued = matches!(change.agent.state, State::Queued { .. });
        let written = self.write(|inner| {
            let record = inner.get(lease.agent)?;
            if record.node.as_ref() != Some(&lease.node) || record.epoch != lease.epoch {
                return Err(StoreError::Fenced(lease.agent));
            }
            // As on Valkey, a write makes a lease hold again that ran out and was given to no other node.
            if inner.has_lapsed(lease.agent) {
                inner.extend(lease, self.term);
            }
            Ok(inner.put(change))
        });
        if queued {
            self.stir();
        }
        written
    }

    async fn amend(&self, changes: Vec<(u64, Change)>) -> Result<Vec<Result<u64, StoreError>>, StoreError> {
        self.up().await?;
        Ok(self.write(|inner| {
            changes.into_iter().map(|(version, change)| inner.amend(version, change)).collect()
        }))
    }

    async fn get(&self, agent: AgentId) -> Result<Versioned, StoreError> {
        self.up().await?;
        self.inner().get(agent).cloned()
    }

    async fn list(&self, query: Query) -> Result<Vec<Versioned>, StoreError> {
        self.up().await?;
        assert!(
            (1..=limits::STORE_PAGE).contains(&query.limit),
            "a page has 1 to {} records",
            limits::STORE_PAGE
        );
        let inner = self.inner();
        let found = inner.records.values().rev().filter(|record| matches_query(record, &query));
        Ok(found.take(query.limit).cloned().collect())
    }

    async fn waiting(&self, offset: u64, limit: usize, now: Timestamp) -> Result<Vec<Versioned>, StoreError> {
        self.up().await?;
        let inner = self.inner();
        let mut queued: Vec<&Versioned> = inner.records.values().filter(|record| is_queued(record)).collect();
        queued.sort_by_key(|record| match record.agent.not_before() {
            Some(at) if at > now => (1, at.0, record.seq),
            _ => (0, place(record).0, record.seq),
        });
        let skip = usize::try_from(offset).unwrap_or(usize::MAX);
        Ok(queued.into_iter().skip(skip).take(limit.min(limits::STORE_PAGE)).cloned().collect())
    }

    async fn position(&self, agent: AgentId) -> Result<Option<u64>, StoreError> {
        self.up().await?;
        let mut inner = self.inner();
        let Ok(record) = inner.get(agent).cloned() else { return Ok(None) };
        if !is_queued(&record) {
            return Ok(None);
        }
        let delayed = record.agent.not_before().is_some();
        let ready =
            inner.records.values().filter(|other| is_queued(other) && other.agent.not_before().is_none());
        Ok(Some(ready.filter(|other| delayed || place(other) < place(&record)).count() as u64))
    }

    async fn leased(&self) -> Result<Vec<Versioned>, StoreError> {
        self.up().await?;
        Ok(self.inner().records.values().filter(|record| record.node.is_some()).cloned().collect())
    }

    async fn of_task(&self, task: &TaskId) -> Result<Vec<Versioned>, StoreError> {
        self.up().await?;
        let inner = self.inner();
        Ok(inner
            .records
            .values()
            .rev()
            .filter(|record| record.agent.spec.task_id == *task)
            .cloned()
            .collect())
    }

    async fn counts(&self, now: Timestamp) -> Result<Counts, StoreError> {
        self.up().await?;
        let mut counts = Counts::default();
        for record in self.inner().records.values() {
            let class = match record.agent.status() {
                Status::Completed => &mut counts.completed,
                Status::Failed => &mut counts.failed,
                Status::Killed => &mut counts.killed,
                _ if is_ready(record, now) => &mut counts.waiting,
                _ if is_queued(record) => &mut counts.delayed,
                _ if record.node.is_some() => &mut counts.active,
                _ => continue,
            };
            *class += 1;
            counts.dead += u64::from(is_dead(record));
        }
        Ok(counts)
    }

    async fn next_due(&self) -> Result<Option<Timestamp>, StoreError> {
        self.up().await?;
        Ok(self
            .inner()
            .records
            .values()
            .filter(|record| is_queued(record))
            .filter_map(|r| r.agent.not_before())
            .min())
    }

    async fn set_pause(&self, pause: Option<Pause>, fact: LogRecord) -> Result<(), StoreError> {
        self.up().await?;
        self.write(|inner| {
            if inner.pause.is_some() != pause.is_some() {
                inner.pause = pause;
                inner.log(vec![fact]);
            }
        });
        self.stir();
        Ok(())
    }

    async fn pause(&self) -> Result<Option<Pause>, StoreError> {
        self.up().await?;
        Ok(self.inner().pause.clone())
    }

    async fn set_orders(
        &self,
        change: OrderChange,
        facts: Vec<LogRecord>,
    ) -> Result<StandingOrders, StoreError> {
        self.up().await?;
        let orders = self.write(|inner| {
            let before = inner.orders.clone();
            let highest = inner.records.keys().next_back().copied().unwrap_or(0);
            match change {
                OrderChange::Raise(barrier) => {
                    let seq = Some(barrier.seq.unwrap_or(highest));
                    inner.orders.raise_placed(Barrier { seq, ..barrier });
                }
                OrderChange::Engage(latch) => {
                    inner.orders.latch.get_or_insert(latch);
                }
                OrderChange::Release => inner.orders.latch = None,
                OrderChange::Kill(kill) => inner.orders.order_kill(kill),
                OrderChange::Killed(agent) => inner.orders.kill_done(agent),
            }
            if inner.orders != before {
                inner.log(facts);
            }
            inner.orders.clone()
        });
        self.stir();
        Ok(orders)
    }

    async fn orders(&self) -> Result<StandingOrders, StoreError> {
        self.up().await?;
        Ok(self.inner().orders.clone())
    }

    async fn log(&self, facts: Vec<LogRecord>) -> Result<(), StoreError> {
        self.up().await?;
        self.write(|inner| inner.log(facts));
        Ok(())
    }

    async fn entries(&self, after: u64, limit: usize) -> Result<Vec<Entry>, StoreError> {
        self.up().await?;
        let inner = self.inner();
        let skip = usize::try_from(after.saturating_sub(inner.pruned)).unwrap_or(usize::MAX);
        Ok(inner.log.iter().skip(skip).take(limit).cloned().collect())
    }

    fn newest(&self) -> watch::Receiver<u64> {
        self.newest.subscribe()
    }

    async fn remove(&self, removal: Removal) -> Result<(), StoreError> {
        self.write(|inner| {
            let record = inner.get(removal.agent)?;
            if !record.agent.is_terminal() || record.node.is_some() || record.version != removal.version {
                return Err(StoreError::Conflict(removal.agent));
            }
            let seq = record.seq;
            inner.log(removal.facts);
            inner.records.remove(&seq);
            inner.by_id.remove(&removal.agent);
            inner.logged_at.remove(&removal.agent);
            inner.work.retain(|(agent, _), _| *agent != removal.agent);
            inner.removed.insert(removal.agent, (removal.at, removal.node));
            Ok(())
        })
    }

    async fn settled(
        &self,
        before: Timestamp,
        after: EndedAfter,
        limit: usize,
    ) -> Result<Vec<Versioned>, StoreError> {
        assert!((1..=limits::STORE_PAGE).contains(&limit), "a page has 1 to {} records", limits::STORE_PAGE);
        let inner = self.inner();
        let ended = |record: &&Versioned| {
            record.ended_after().is_some_and(|place| place.at < before.0 && place > after)
        };
        let mut found: Vec<Versioned> = inner.records.values().filter(ended).cloned().collect();
        found.sort_by_key(Versioned::ended_after);
        found.truncate(limit);
        Ok(found)
    }

    async fn prune_events(&self, before: Timestamp, most: usize) -> Result<u64, StoreError> {
        Ok(self.write(|inner| {
            let all_but_one = inner.log.len().saturating_sub(1);
            let old = inner.log.iter().take(all_but_one.min(most)).take_while(|e| e.fact.at < before).count();
            inner.log.drain(..old);
            inner.pruned += old as u64;
            old as u64
        }))
    }

    async fn check(&self) -> Result<(), StoreError> {
        self.up().await?;
        Ok(())
    }

    async fn damaged(&self) -> Result<Vec<Damaged>, StoreError> {
        self.up().await?;
        Ok(Vec::new())
    }
}
