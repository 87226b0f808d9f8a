//! Content of the in-memory store with the steps that change it.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use mosaic_core::domain::agent::State;
use mosaic_core::domain::ids::{AgentId, Epoch, NodeId, Timestamp};
use mosaic_core::domain::journal::{Entry, LogRecord};
use mosaic_core::domain::kept_work::WorkReport;
use mosaic_core::domain::orders::StandingOrders;
use mosaic_core::limits;
use mosaic_core::ports::external_queue::ExternalChange;
use mosaic_core::ports::fleet::{Cordon, LostNode, NodeInfo};
use mosaic_core::ports::store::{Admission, Admitted, Change, Lease, Pause, StoreError, Versioned};

use super::rules::{check_legal, is_queued};
use crate::fakes::knobs::elapsed;

#[derive(Default)]
pub(crate) struct Inner {
    /// By sequence number of admission.
    pub(super) records: BTreeMap<u64, Versioned>,
    pub(super) by_id: HashMap<AgentId, u64>,
    /// Key to fingerprint, agent and time.
    pub(super) keys: HashMap<String, (String, AgentId, Timestamp)>,
    pub(super) log: Vec<Entry>,
    /// Facts that were removed from the beginning of the log.
    pub(super) pruned: u64,
    /// Records ever admitted.
    pub(super) admitted: u64,
    /// When removed records were removed.
    pub(super) removed: HashMap<AgentId, (Timestamp, Option<NodeId>)>,
    pub(super) logged_at: HashMap<AgentId, Timestamp>,
    pub(super) pause: Option<Pause>,
    pub(super) orders: StandingOrders,
    /// When leases end, where they do.
    pub(super) ends: HashMap<AgentId, Duration>,
    pub(crate) nodes: BTreeMap<NodeId, FakeNode>,
    /// Declared lost for good.
    pub(crate) lost: BTreeMap<NodeId, LostNode>,
    /// Reports of nodes about the work that they keep, by agent and node.
    pub(crate) work: BTreeMap<(AgentId, NodeId), WorkReport>,
    /// Changes that external clients made to the queue.
    pub(super) external_changes: Vec<ExternalChange>,
    /// Refused jobs with the reasons, in order.
    pub(super) refused: Vec<(String, String)>,
}

/// Entry of a node in the store.
#[derive(Clone)]
pub(crate) struct FakeNode {
    pub(crate) info: NodeInfo,
    pub(crate) seen: Duration,
    pub(crate) seen_at: Timestamp,
    pub(crate) left: bool,
    pub(crate) cordon: Option<Cordon>,
}

impl Inner {
    pub(super) fn newest(&self) -> u64 {
        self.pruned + self.log.len() as u64
    }

    pub(crate) fn log(&mut self, facts: Vec<LogRecord>) {
        for mut fact in facts {
            if let Some(agent) = fact.agent.filter(|agent| self.by_id.contains_key(agent)) {
                let last = self.logged_at.entry(agent).or_insert(fact.at);
                *last = fact.at.max(*last);
                fact.at = *last;
            }
            let seq = self.newest() + 1;
            self.log.push(Entry { seq, fact });
        }
    }

    /// Tells whether an agent has a record.
    pub(crate) fn has(&self, id: AgentId) -> bool {
        self.by_id.contains_key(&id)
    }

    pub(super) fn get(&mut self, id: AgentId) -> Result<&mut Versioned, StoreError> {
        let seq = self.by_id.get(&id).ok_or_else(|| match self.removed.get(&id) {
            Some((at, node)) => StoreError::Pruned { agent: id, at: *at, node: node.clone() },
            None => StoreError::NotFound(id),
        })?;
        Ok(self.records.get_mut(seq).expect("every id has its record"))
    }

    pub(super) fn admit(&mut self, admission: Admission, queue_entries: u64) -> Result<Admitted, StoreError> {
        let Admission { agent, idempotency, job, job_data: _, facts } = admission;
        assert!(matches!(agent.state, State::Queued { .. }), "an admitted agent must be queued");
        if let Some(given) = &idempotency
            && let Some((fingerprint, first, at)) = self.keys.get(&given.key).cloned()
            && agent.spawned_at.since(at) < limits::IDEMPOTENCY
        {
            if fingerprint != given.fingerprint {
                return Err(StoreError::IdempotencyMismatch);
            }
            return Ok(Admitted::Replay(self.get(first)?.clone()));
        }
        let same = |other: &&Versioned| {
            let other = &other.agent;
            !other.is_terminal()
                && other.spec.task_id == agent.spec.task_id
                && other.spec.agent_type == agent.spec.agent_type
        };
        if let Some(active) = self.records.values().find(same) {
            return Err(StoreError::TaskActive { agent: active.agent.id });
        }
        let waiting = self.records.values().filter(|record| is_queued(record)).count() as u64;
        if waiting >= queue_entries {
            return Err(StoreError::QueueFull(waiting));
        }
        if self.by_id.contains_key(&agent.id) {
            return Err(StoreError::Conflict(agent.id));
        }
        if let Some(job) = &job
            && !self.take_job(job)
        {
            return Err(StoreError::Conflict(agent.id));
        }
        self.admitted += 1;
        let seq = self.admitted;
        if let Some(given) = idempotency {
            self.keys.insert(given.key, (given.fingerprint, agent.id, agent.spawned_at));
        }
        self.by_id.insert(agent.id, seq);
        let record =
            Versioned { agent, version: 1, seq, epoch: Epoch(0), node: None, home: None, short: None };
        self.records.insert(seq, record.clone());
        self.log(facts);
        Ok(Admitted::New(record))
    }

    /// Extends a lease by a term; false when it is not the newest.
    pub(crate) fn extend(&mut self, lease: &Lease, term: Option<Duration>) -> bool {
        let Ok(record) = self.get(lease.agent) else { return false };
        let holds = record.node.as_ref() == Some(&lease.node) && record.epoch == lease.epoch;
        if let (true, Some(term)) = (holds, term) {
            self.ends.insert(lease.agent, elapsed() + term);
        }
        holds
    }

    /// Lists agents whose leases are over.
    pub(crate) fn lapsed(&self) -> Vec<AgentId> {
        let held = self.records.values().filter(|record| record.node.is_some());
        held.map(|record| record.agent.id).filter(|id| self.has_lapsed(*id)).collect()
    }

    pub(super) fn has_lapsed(&self, agent: AgentId) -> bool {
        self.ends.get(&agent).is_some_and(|end| *end <= elapsed())
    }

    /// Returns when the last of a node's leases ends, as far from now as that is.
    pub(crate) fn ends_of(&self, node: &NodeId) -> Option<Duration> {
        let held = self.records.values().filter(|record| record.node.as_ref() == Some(node));
        held.filter_map(|record| self.ends.get(&record.agent.id)).max().copied()
    }

    pub(super) fn grant(&mut self, seq: u64, node: &NodeId, term: Option<Duration>) -> (Lease, Versioned) {
        if let Some(term) = term {
            let id = self.records.get(&seq).expect("the caller found it").agent.id;
            self.ends.insert(id, elapsed() + term);
        }
        let record = self.records.get_mut(&seq).expect("the caller found it");
        record.epoch = Epoch(record.epoch.0 + 1);
        (record.node, record.home) = (Some(node.clone()), Some(node.clone()));
        let lease = Lease { agent: record.agent.id, node: node.clone(), epoch: record.epoch };
        (lease, record.clone())
    }

    pub(super) fn put(&mut self, change: Change) -> u64 {
        let record = self.get(change.agent.id).expect("the caller found it");
        check_legal(&record.agent, &change.agent);
        record.version += 1;
        if matches!(change.agent.state, State::Queued { .. } | State::Settled { .. }) {
            record.node = None;
        }
        record.agent = change.agent;
        let version = record.version;
        self.log(change.facts);
        version
    }

    pub(super) fn amend(&mut self, version: u64, change: Change) -> Result<u64, StoreError> {
        let id = change.agent.id;
        let record = self.get(id)?;
        let rewrites_end = record.agent.is_terminal() && record.agent.state != change.agent.state;
        if record.node.is_some() || record.version != version || rewrites_end {
            return Err(StoreError::Conflict(id));
        }
        let stays = matches!(change.agent.state, State::Queued { .. } | State::Settled { .. });
        assert!(stays, "agent {id} is held by nobody, so its state may only become queued or settled");
        Ok(self.put(change))
    }
}
