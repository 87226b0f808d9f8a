//! The store: records, queue, leases and event log behind one port, because admitting a task writes all of them
//! together or not at all.
//!
//! Every method is atomic and may be called from any number of tasks at once. What it wrote survives the loss of power
//! once it has returned, except where [`Safety::Process`] or the method says less.
//! An agent is in the queue exactly while its state is `Queued`; a lease ends when a write makes the state
//! `Queued` or `Settled`.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use tokio::sync::watch;

use crate::domain::agent::{Agent, Phase, Status};
use crate::domain::ids::{AgentId, Epoch, NodeId, TaskId, Timestamp};
use crate::domain::journal::{Entry, Fact};
use crate::domain::orders::{Barrier, KillOrder, Latch, StandingOrders};
use crate::domain::placement::Conditions;
use crate::domain::spec::AgentType;

/// Why the store did not do what was asked.
#[derive(Debug, Error)]
pub enum StoreError {
    /// No such record.
    #[error("no agent {0}")]
    NotFound(AgentId),
    /// An agent of the same task and type has not ended yet.
    #[error("task is being worked on by agent {agent}")]
    TaskActive {
        /// The active agent.
        agent: AgentId,
    },
    /// The idempotency key was used with another request.
    #[error("idempotency key was used for another request")]
    IdempotencyMismatch,
    /// The queue holds [`crate::limits::QUEUE_ENTRIES`] entries.
    #[error("queue is full ({0} entries)")]
    QueueFull(u64),
    /// A newer lease on the agent exists, or none: whoever holds this one must stop.
    #[error("lease on agent {0} was lost")]
    Fenced(AgentId),
    /// The record changed since the version that was read.
    #[error("agent {0} changed meanwhile")]
    Conflict(AgentId),
    /// The record cannot be read; it was set aside and everything else goes on.
    #[error("record of agent {0} is damaged and was quarantined")]
    Quarantined(AgentId),
    /// The record was removed; only a note of it is left.
    #[error("agent {agent} was removed at {at}")]
    Pruned {
        /// The agent.
        agent: AgentId,
        /// When it was removed.
        at: Timestamp,
        /// The node that removed it, where there are several: only what lies there was looked at before. Nothing when its work
        /// was given up on all of them.
        node: Option<NodeId>,
    },
    /// The store does not answer, or its disk is full. May pass.
    #[error("store unavailable: {0}")]
    Unavailable(String),
    /// The store takes the write, but too few replicas have it to survive a failover. Whether it stands is not known. May
    /// pass.
    #[error("store is not safe: {0}")]
    NotSafe(String),
    /// The record lies in the archive of another node, which cannot be reached. May pass.
    #[error("the record of agent {agent} lies in the archive of node {node}, which cannot be reached: {why}")]
    ArchiveAway {
        /// The agent.
        agent: AgentId,
        /// The node.
        node: NodeId,
        /// Why not.
        why: String,
    },
    /// Another server holds the store's files.
    #[error("{0}")]
    InUse(String),
    /// The store's files cannot be used: they come from a newer version, or the place does not allow it.
    #[error("{0}")]
    Unusable(String),
    /// The store's files are damaged.
    #[error("{0}")]
    Damaged(String),
}

/// The right to run one agent. Whoever holds it may write the agent's state until a newer epoch is granted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// The agent.
    pub agent: AgentId,
    /// The node it was granted to.
    pub node: NodeId,
    /// Its place in the order of all leases on this agent; newer is higher.
    pub epoch: Epoch,
}

/// A record as it was read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Versioned {
    /// The record.
    pub agent: Agent,
    /// Counts the writes of this record, from 1.
    pub version: u64,
    /// Its place in the order of admissions, from 1.
    pub seq: u64,
    /// The newest lease's epoch; 0 before the first.
    pub epoch: Epoch,
    /// The node that holds it now, when one does.
    pub node: Option<NodeId>,
    /// The node that was given the newest lease, also after the lease ended: what the agent left lies there.
    pub home: Option<NodeId>,
    /// The node whose archive has the whole record, where this is only its short form: ids, status, times, error, type,
    /// labels and context are true, everything else is as of a new agent, and no write takes it for the record.
    #[serde(default)]
    pub short: Option<NodeId>,
}

impl Versioned {
    /// Returns where a list of ended agents goes on after this one; nowhere when it has not ended.
    pub fn ended_after(&self) -> Option<EndedAfter> {
        self.agent.end().map(|end| EndedAfter { at: end.at.0, seq: self.seq })
    }
}

/// An idempotency key with what it stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Idempotency {
    /// The caller's key.
    pub key: String,
    /// Digest of method, path and canonical body.
    pub fingerprint: String,
}

/// A new agent to be written.
#[derive(Debug, Clone)]
pub struct Admission {
    /// The record; its state is `Queued`.
    pub agent: Agent,
    /// The caller's idempotency key, when given.
    pub idempotency: Option<Idempotency>,
    /// The job that another producer put into the queue for it, when it came that way: it keeps its place. Only from
    /// [`Store::interventions`].
    pub job: Option<String>,
    /// The data of that job, where the agent was made of them: refused when they were changed since.
    pub job_data: Option<String>,
    /// Facts to log.
    pub facts: Vec<Fact>,
}

/// The answer to an admission.
#[derive(Debug, Clone)]
pub enum Admitted {
    /// The agent is new.
    New(Versioned),
    /// The same key and request were admitted before (within [`crate::limits::IDEMPOTENCY`]); the agent of then.
    Replay(Versioned),
}

/// Loss that a write must survive once the method has returned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Safety {
    /// The loss of power. For everything that somebody was told, or that must be known before something is done that
    /// cannot be undone.
    Power,
    /// The death of this process. The loss of power may take it back, but only together with every later write: then
    /// nothing of the agent's runs any more, and it goes on from the state before.
    Process,
}

/// A new state of a record with what to log about it.
#[derive(Debug, Clone)]
pub struct Change {
    /// Loss that the write must survive.
    pub safety: Safety,
    /// The new record.
    pub agent: Agent,
    /// Facts to log.
    pub facts: Vec<Fact>,
}

/// A record that is to go for good.
#[derive(Debug, Clone)]
pub struct Removal {
    /// The agent; it has ended.
    pub agent: AgentId,
    /// The version that was looked at.
    pub version: u64,
    /// When it is removed.
    pub at: Timestamp,
    /// Origin and reason of the removal, in one line.
    pub why: String,
    /// The node that removes it, having looked at what lies there: others keep what is nowhere else. Nothing when the work
    /// was given up wherever it lies.
    pub node: Option<NodeId>,
    /// Facts to log.
    pub facts: Vec<Fact>,
}

/// A record on its way to an archive.
#[derive(Debug, Clone, PartialEq)]
pub struct Moving {
    /// The whole record, of an agent that has ended.
    pub record: Versioned,
    /// Lines about its life that the store has besides the record, oldest first.
    pub history: Vec<String>,
}

/// Where a list of ended agents goes on: after the agent that ended at this time and has this sequence number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct EndedAfter {
    /// When it ended.
    pub at: u64,
    /// Its place in the order of admissions.
    pub seq: u64,
}

/// Which records to list, newest admission first. Empty fields do not filter.
#[derive(Debug, Clone, Default)]
pub struct Query {
    /// Any of these statuses.
    pub status: Vec<Status>,
    /// Any of these phases.
    pub phase: Vec<Phase>,
    /// This type.
    pub agent_type: Option<AgentType>,
    /// This repository, exactly.
    pub repository: Option<String>,
    /// This base branch, exactly.
    pub branch: Option<String>,
    /// This task, exactly.
    pub task: Option<String>,
    /// This label with this value.
    pub label: Option<(String, String)>,
    /// Part of the name, task id or agent id, case-insensitive.
    pub text: Option<String>,
    /// Agent ids that start so (lower-case hexadecimal and dashes).
    pub id_prefix: Option<String>,
    /// Admitted at this time or later.
    pub since: Option<Timestamp>,
    /// Admitted before this time.
    pub until: Option<Timestamp>,
    /// Failed although every attempt was used: the dead-letter list.
    pub dead: bool,
    /// Admitted before this sequence number: the cursor.
    pub before_seq: Option<u64>,
    /// At most this many records, 1–1000.
    pub limit: usize,
}

/// Numbers of waiting entries, and of agents in each status.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Counts {
    /// Queued and ready.
    pub waiting: u64,
    /// Queued, but not before a later time.
    pub delayed: u64,
    /// Leased.
    pub active: u64,
    /// Settled as completed.
    pub completed: u64,
    /// Settled as failed.
    pub failed: u64,
    /// Settled as killed.
    pub killed: u64,
    /// Failed although every attempt was used.
    pub dead: u64,
}

/// Why and since when dispatch is paused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pause {
    /// Origin of the pause.
    pub by: String,
    /// Why, when said.
    pub reason: Option<String>,
    /// Since when.
    pub at: Timestamp,
}

/// A change of the standing orders.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OrderChange {
    /// Kill-all. A barrier without a place is put after everything that is admitted at that moment.
    Raise(Barrier),
    /// The kill switch is engaged; a latch that stands already stays.
    Engage(Latch),
    /// The kill switch is released.
    Release,
    /// One agent must end, whoever holds it; an order that stands already stays.
    Kill(KillOrder),
    /// The order to end one agent was carried out, or there is nothing left of it to end.
    Killed(AgentId),
}

/// Work that another producer put into the queue.
#[derive(Debug, Clone, PartialEq)]
pub struct Submission {
    /// The job's id in the queue.
    pub job: String,
    /// The job's name, `spawn` for a spawn.
    pub name: String,
    /// Data of the job: the body of a spawn as JSON text, as far as the producer kept to it.
    pub data: String,
    /// The job's options as JSON text: priority, attempts, backoff, delay.
    pub options: String,
    /// When it was put there, by the producer's clock.
    pub at: Timestamp,
    /// Not before this time.
    pub until: Option<Timestamp>,
}

/// Change that an external client made to the queue (another producer, another worker, an operator's tool) and that no record
/// shows yet. It is reported again until a write takes it up.
#[derive(Debug, Clone, PartialEq)]
pub enum Intervention {
    /// New work. Taken up by an [`Admission`] with its job, or by [`Store::refuse`].
    Submitted(Submission),
    /// A waiting agent's job was removed. Taken up by an amendment that ends the agent.
    Removed(AgentId),
    /// An ended agent's job waits again. Taken up by an [`Admission`] with the job, or by [`Store::refuse`].
    Retried {
        /// The agent that has ended.
        agent: AgentId,
        /// Its job.
        job: String,
        /// The job as it stands now, where its data were changed since that agent was admitted: these are what is asked for.
        changed: Option<Submission>,
    },
    /// The data of the job of an agent that has not ended were changed. Taken up by [`Store::restore_data`].
    DataChanged {
        /// The agent.
        agent: AgentId,
        /// Its job.
        job: String,
    },
    /// Another worker took a waiting agent's job and finished it. Taken up by an amendment that ends the agent.
    Finished {
        /// The agent.
        agent: AgentId,
        /// Result of that worker, or the reason of its failure.
        result: Result<String, String>,
    },
}

/// A record that could not be read and was set aside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Damaged {
    /// Its id as it stood in the store.
    pub id: String,
    /// Why it could not be read.
    pub why: String,
}

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
    async fn set_pause(&self, pause: Option<Pause>, fact: Fact) -> Result<(), StoreError>;

    /// Returns why dispatch is paused, when it is.
    async fn pause(&self) -> Result<Option<Pause>, StoreError>;

    /// Changes the standing orders durably, with facts to log, and returns them as they stand then; the barrier never
    /// sinks and has a place. Facts of a change that changes nothing are not logged.
    async fn set_orders(&self, change: OrderChange, facts: Vec<Fact>) -> Result<StandingOrders, StoreError>;

    /// Returns the standing orders. A latch that cannot be read counts as engaged.
    async fn orders(&self) -> Result<StandingOrders, StoreError>;

    /// Logs facts that belong to no state change.
    async fn log(&self, facts: Vec<Fact>) -> Result<(), StoreError>;

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

    /// Lists what other hands did to the queue and no record says yet, oldest first, at most `limit`. Nothing where nobody
    /// else can reach the queue.
    async fn interventions(&self, limit: usize) -> Result<Vec<Intervention>, StoreError> {
        let _ = limit;
        Ok(Vec::new())
    }

    /// Fails a job of another producer for good, with the reason where that producer looks for it; false when there is
    /// nothing to refuse any more: it was refused, removed, taken in or taken by another worker meanwhile.
    async fn refuse(&self, job: &str, why: &str, at: Timestamp) -> Result<bool, StoreError> {
        let _ = (why, at);
        Err(StoreError::Unusable(format!("there is no job {job}: nobody else can reach this queue")))
    }

    /// Writes the data that an agent was admitted with back into its job, with a fact to log; false when there is nothing to
    /// write back any more.
    async fn restore_data(&self, agent: &Agent, job: &str, fact: Fact) -> Result<bool, StoreError> {
        let _ = (agent, job, fact);
        Ok(false)
    }

    /// Returns a receiver that changes when others may have changed what there is to do: the queue, the standing orders,
    /// who may start something. Its number means nothing. Its sender may be gone: then there are no others.
    fn stirred(&self) -> watch::Receiver<u64> {
        watch::channel(0).1
    }

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
    ) -> Result<BTreeMap<NodeId, Result<u64, String>>, StoreError> {
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
