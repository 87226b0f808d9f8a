//! The store: records, queue, leases and event log behind one port, because admitting a task writes all of them
//! together or not at all.
//!
//! Every method is atomic and may be called from any number of tasks at once. What it wrote survives the loss of power
//! once it has returned, except where [`Safety::Process`] or the method says less.
//! An agent is in the queue exactly while its state is `Queued`; a lease ends when a write makes the state
//! `Queued` or `Settled`.

mod archive;
mod error;
mod listing;
mod orders;
mod queue;
mod records;

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use tokio::sync::watch;

use crate::domain::ids::{AgentId, NodeId, TaskId, Timestamp};
use crate::domain::journal::{Entry, LogRecord};
use crate::domain::orders::StandingOrders;
use crate::domain::placement::Conditions;

pub use archive::Moving;
pub use error::{ArchiveError, StoreError};
pub use listing::{Counts, EndedAfter, Query};
pub use orders::OrderChange;
pub use queue::{Lease, Pause};
pub use records::{Admission, Admitted, Change, Damaged, Idempotency, Removal, Safety, Versioned};

/// Records, queue, leases and event log.
#[async_trait]
pub trait Store: Send + Sync {
    /// Writes agent, task, queue entry, facts and idempotency key in one step.
    ///
    /// Errors: `TaskActive` when an agent of the same (task, type) has not ended; `IdempotencyMismatch` for a
    /// known key with another fingerprint; `Pruned` for a known key whose agent was removed; `QueueFull`; `Unavailable`. A replay is no error and writes nothing.
    async fn admit(&self, admission: Admission) -> Result<Admitted, StoreError>;

    /// Takes the ready entry with the lowest [`crate::domain::queue::rank`] under a new lease of `node`, or
    /// nothing when none is ready, dispatch is paused or the kill switch is engaged. Where nodes share the store, whose
    /// clocks differ, entries of one priority go in the order in which they were admitted. An entry is never given to two
    /// callers. Survives the death of the process, as [`Safety::Process`] says.
    async fn lease(&self, node: &NodeId, now: Timestamp) -> Result<Option<(Lease, Versioned)>, StoreError> {
        self.lease_within(node, now, &Conditions::default()).await
    }

    /// The same, of the entries that these conditions allow. What they refuse stays at its place, ready for others. With
    /// [`Conditions::repository_leases`] an entry of a repository of which that many are leased, on any node, is refused, too; the
    /// count and the grant are one step, so that callers at the same time never exceed it together. Refused
    /// entries are passed over within [`crate::limits::QUEUE_SKIPPED`] from the front, and within as many further on, where
    /// the next call that finds nothing goes on: none of them keeps what waits behind them from this node for good.
    async fn lease_within(
        &self,
        node: &NodeId,
        now: Timestamp,
        conditions: &Conditions,
    ) -> Result<Option<(Lease, Versioned)>, StoreError>;

    /// Takes over an agent that is leased, under a new epoch; the old lease is fenced from then on.
    /// Errors: `NotFound`; `Conflict` when the agent is not leased, or another node holds it and its lease, where leases
    /// run out ([`crate::ports::fleet::Fleet::term`]), has not.
    async fn take_over(&self, agent: AgentId, node: &NodeId) -> Result<(Lease, Versioned), StoreError>;

    /// Writes a new state under a lease; returns the new version. Errors: `Fenced` when the lease is not the
    /// newest or has ended; then nothing was written.
    async fn advance(&self, lease: &Lease, change: Change) -> Result<u64, StoreError>;

    /// Writes new states of agents that nobody holds, each only if its version is still the given one. One
    /// result per change, in order: the new version, or `Conflict`, `NotFound`. The changes that can be written
    /// are written in one step.
    async fn amend(&self, changes: Vec<(u64, Change)>) -> Result<Vec<Result<u64, StoreError>>, StoreError>;

    /// Reads one record. Errors: `NotFound`, `Pruned`, `Quarantined`.
    async fn get(&self, agent: AgentId) -> Result<Versioned, StoreError>;

    /// Lists records, newest admission first. Damaged ones are quarantined and left out.
    async fn list(&self, query: Query) -> Result<Vec<Versioned>, StoreError>;

    /// Lists waiting entries in the order in which they will start: ready ones by rank, then delayed ones by time.
    async fn waiting(&self, offset: u64, limit: usize, now: Timestamp) -> Result<Vec<Versioned>, StoreError>;

    /// Returns how many ready entries start before this one; `None` when it does not wait.
    async fn position(&self, agent: AgentId) -> Result<Option<u64>, StoreError>;

    /// Lists what is leased, oldest admission first.
    async fn leased(&self) -> Result<Vec<Versioned>, StoreError>;

    /// Counts what is leased, on any node, of each of these repositories. Those of which nothing is leased may be left out.
    async fn leased_of(
        &self,
        repositories: &BTreeSet<String>,
    ) -> Result<BTreeMap<String, usize>, StoreError> {
        let mut counts = BTreeMap::new();
        for record in self.leased().await? {
            let repository = record.agent.spec.context.repository.as_str();
            if repositories.contains(repository) {
                *counts.entry(repository.to_owned()).or_default() += 1;
            }
        }
        Ok(counts)
    }

    /// Lists the agents of one task, newest first.
    async fn of_task(&self, task: &TaskId) -> Result<Vec<Versioned>, StoreError>;

    /// Counts entries and agents.
    async fn counts(&self, now: Timestamp) -> Result<Counts, StoreError>;

    /// Returns the time at which the next delayed entry becomes ready.
    async fn next_due(&self) -> Result<Option<Timestamp>, StoreError>;

    /// Pauses dispatch durably (`Some`) or lets it go on (`None`), with a fact to log. Idempotent.
    async fn set_pause(&self, pause: Option<Pause>, fact: LogRecord) -> Result<(), StoreError>;

    /// Returns why dispatch is paused, when it is.
    async fn pause(&self) -> Result<Option<Pause>, StoreError>;

    /// Changes the standing orders durably, with facts to log, and returns them as they stand then; the barrier never
    /// sinks and has a place. Facts of a change that changes nothing are not logged.
    async fn set_orders(
        &self,
        change: OrderChange,
        facts: Vec<LogRecord>,
    ) -> Result<StandingOrders, StoreError>;

    /// Returns the standing orders. A latch that cannot be read counts as engaged.
    async fn orders(&self) -> Result<StandingOrders, StoreError>;

    /// Logs facts that belong to no state change.
    async fn log(&self, facts: Vec<LogRecord>) -> Result<(), StoreError>;

    /// Returns logged facts after this sequence number, oldest first, at most `limit`.
    async fn entries(&self, after: u64, limit: usize) -> Result<Vec<Entry>, StoreError>;

    /// Returns a receiver of the newest sequence number; it changes after every logged fact is durable.
    fn newest(&self) -> watch::Receiver<u64>;

    /// Removes the record of an agent that has ended, with facts to log. A note of when and why stays, so that whoever
    /// asks is told `Pruned`; the newest [`crate::limits::TOMBSTONES`] notes are kept. Nobody else's record changes.
    /// Errors: `NotFound`, `Pruned`; `Conflict` when it has not ended or its version is another; then nothing changed.
    async fn remove(&self, removal: Removal) -> Result<(), StoreError>;

    /// Lists agents that ended before this time, oldest end first, at most `limit` of them. A list goes on with the
    /// last record's [`Versioned::ended_after`].
    async fn settled(
        &self,
        before: Timestamp,
        after: EndedAfter,
        limit: usize,
    ) -> Result<Vec<Versioned>, StoreError>;

    /// Removes facts from the beginning of the log, as long as the next one is older than this time, at most `most` of
    /// them; returns how many went. The newest fact always stays, so that numbers go on; those that stay keep theirs.
    async fn prune_events(&self, before: Timestamp, most: usize) -> Result<u64, StoreError>;

    /// Reads one record as [`Self::get`] does, but takes the short form where the record lies in an archive.
    async fn glance(&self, agent: AgentId) -> Result<Versioned, StoreError> {
        self.get(agent).await
    }

    /// Replaces short forms by the whole records, as far as their archives can be reached; the others stay short. Lists
    /// have short forms of what was archived. Order and number stay.
    async fn whole(&self, records: Vec<Versioned>) -> Result<Vec<Versioned>, StoreError> {
        Ok(records)
    }

    /// Returns how many bytes this node's archive takes; none where there is no archive.
    async fn archive_bytes(&self) -> Result<u64, StoreError> {
        Ok(0)
    }

    /// Reads the whole records of these agents that this node's archive has, for another node.
    async fn archived(&self, agents: &[AgentId]) -> Result<Vec<Versioned>, StoreError> {
        let _ = agents;
        Ok(Vec::new())
    }

    /// Counts the records in this node's archive of agents that ended before this time, for another node.
    async fn archived_before(&self, before: Timestamp) -> Result<u64, StoreError> {
        let _ = before;
        Ok(0)
    }

    /// Counts the same in the archives of the other nodes, by node, with the reason in place of the number where one could not
    /// be asked. [`Self::settled`] leaves these records out: their nodes decide about them.
    async fn archived_elsewhere(
        &self,
        before: Timestamp,
    ) -> Result<BTreeMap<NodeId, Result<u64, ArchiveError>>, StoreError> {
        let _ = before;
        Ok(BTreeMap::new())
    }

    /// Lists records of agents that ended before this time and that this node may move into its archive, oldest end first,
    /// at most `limit`; with `unplaced` also of agents that never ran on a node. Nothing where there is no archive: on one
    /// machine alone records stay where they are.
    async fn movable(
        &self,
        node: &NodeId,
        before: Timestamp,
        unplaced: bool,
        limit: usize,
    ) -> Result<Vec<Moving>, StoreError> {
        let _ = (node, before, unplaced, limit);
        Ok(Vec::new())
    }

    /// Writes records into this node's archive, first half of a move: they survive the loss of power once this has
    /// returned, and the store still has them whole. Idempotent.
    async fn archive(&self, records: &[Moving]) -> Result<(), StoreError> {
        let _ = records;
        Ok(())
    }

    /// Leaves of records that were written into the archive of `node` only their short forms, second half of a move; one
    /// result each: `Conflict` when the record is another version by now, then it stays whole.
    async fn shorten(
        &self,
        records: &[Moving],
        node: &NodeId,
    ) -> Result<Vec<Result<(), StoreError>>, StoreError> {
        let _ = node;
        Ok(records.iter().map(|_| Ok(())).collect())
    }

    /// Checks that a write would be possible now.
    async fn check(&self) -> Result<(), StoreError>;

    /// Lists the records that were set aside.
    async fn damaged(&self) -> Result<Vec<Damaged>, StoreError>;
}
