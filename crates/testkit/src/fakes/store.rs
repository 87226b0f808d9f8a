//! An in-memory store, the strictest of all: it panics on what no caller may ever do, such as changing an agent
//! after its end or what was asked for, where a real backend would only do its best. Everything else it answers
//! exactly as the port says.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use mosaic_core::domain::agent::{Agent, State, Status};
use mosaic_core::domain::ids::{AgentId, Epoch, NodeId, TaskId, Timestamp};
use mosaic_core::domain::journal::{Entry, Fact};
use mosaic_core::domain::kept_work::WorkReport;
use mosaic_core::domain::orders::{Barrier, StandingOrders};
use mosaic_core::domain::outcome::EndReason;
use mosaic_core::domain::placement::Conditions;
use mosaic_core::domain::queue::rank;
use mosaic_core::limits;
use mosaic_core::ports::fleet::{Cordon, LostNode, NodeInfo};
use mosaic_core::ports::store::{
    Admission, Admitted, Change, Counts, Damaged, EndedAfter, Intervention, Lease, OrderChange, Pause, Query,
    Removal, Store, StoreError, Versioned,
};
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::watch;

use super::knobs::elapsed;

/// A connection to an in-memory store.
pub struct FakeStore {
    inner: Arc<Mutex<Inner>>,
    newest: watch::Sender<u64>,
    stirred: watch::Sender<u64>,
    queue_entries: u64,
    /// Term of a lease; `None`, thus without an end, when there is one node only.
    term: Option<Duration>,
    mood: watch::Sender<Mood>,
    /// When this connection was made, or made again.
    connected: Mutex<Duration>,
}

/// Manner in which the store answers, for stories about bad days.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    /// At once.
    Well,
    /// Not at all: every call is refused as unavailable.
    Down,
    /// Not until its mood changes.
    Stuck,
}

#[derive(Default)]
pub(crate) struct Inner {
    /// By sequence number of admission.
    records: BTreeMap<u64, Versioned>,
    by_id: HashMap<AgentId, u64>,
    /// Key to fingerprint, agent and time.
    keys: HashMap<String, (String, AgentId, Timestamp)>,
    log: Vec<Entry>,
    /// Facts that were removed from the beginning of the log.
    pruned: u64,
    /// Records ever admitted.
    admitted: u64,
    /// When removed records were removed.
    removed: HashMap<AgentId, (Timestamp, Option<NodeId>)>,
    logged_at: HashMap<AgentId, Timestamp>,
    pause: Option<Pause>,
    orders: StandingOrders,
    /// When leases end, where they do.
    ends: HashMap<AgentId, Duration>,
    pub(crate) nodes: BTreeMap<NodeId, FakeNode>,
    /// Declared lost for good.
    pub(crate) lost: BTreeMap<NodeId, LostNode>,
    /// Reports of nodes about the work that they keep, by agent and node.
    pub(crate) work: BTreeMap<(AgentId, NodeId), WorkReport>,
    /// Changes that external clients made to the queue.
    interventions: Vec<Intervention>,
    /// Refused jobs with the reasons, in order.
    refused: Vec<(String, String)>,
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

impl Default for FakeStore {
    fn default() -> Self {
        Self::new()
    }
}

impl FakeStore {
    /// Makes an empty store.
    pub fn new() -> Self {
        Self::limited(limits::QUEUE_ENTRIES)
    }

    /// Makes an empty store with another bound than [`limits::QUEUE_ENTRIES`] on what waits.
    pub fn limited(queue_entries: u64) -> Self {
        Self {
            inner: Arc::default(),
            newest: watch::channel(0).0,
            stirred: watch::channel(0).0,
            queue_entries,
            term: None,
            mood: watch::Sender::new(Mood::Well),
            connected: Mutex::new(elapsed()),
        }
    }

    /// Makes an empty store for several nodes, whose leases hold for this long.
    pub fn shared(term: Duration) -> Self {
        Self { term: Some(term), ..Self::new() }
    }

    /// Makes another connection to the same store, whose mood is its own.
    pub fn connect(&self) -> Self {
        Self {
            inner: Arc::clone(&self.inner),
            newest: self.newest.clone(),
            stirred: self.stirred.clone(),
            queue_entries: self.queue_entries,
            term: self.term,
            mood: watch::Sender::new(Mood::Well),
            connected: Mutex::new(elapsed()),
        }
    }

    /// Changes how the store answers on this connection.
    pub fn set_mood(&self, mood: Mood) {
        let before = self.mood.send_replace(mood);
        if before != Mood::Well && mood == Mood::Well {
            *self.connected.lock() = elapsed();
        }
    }

    /// Does something to the queue as another hand would; it is listed until it is taken up.
    pub fn intervene(&self, what: Intervention) {
        self.inner().interventions.push(what);
        self.stir();
    }

    /// Returns the jobs of other producers that were refused, with why.
    pub fn refused(&self) -> Vec<(String, String)> {
        self.inner().refused.clone()
    }

    pub(crate) fn term(&self) -> Option<Duration> {
        self.term
    }

    pub(crate) fn connected(&self) -> Duration {
        *self.connected.lock()
    }

    /// Announces that there may be something to do.
    pub(crate) fn stir(&self) {
        self.stirred.send_modify(|count| *count += 1);
    }

    pub(crate) async fn up(&self) -> Result<(), StoreError> {
        let mut mood = self.mood.subscribe();
        let now = mood.wait_for(|mood| *mood != Mood::Stuck).await.map(|mood| *mood);
        match now {
            Ok(Mood::Down) => Err(StoreError::Unavailable("it is a bad day".to_owned())),
            // Errors never: the store holds the sender.
            _ => Ok(()),
        }
    }

    pub(crate) fn inner(&self) -> MutexGuard<'_, Inner> {
        // A panic of this store's own checks must not hide behind a second one.
        self.inner.lock()
    }

    /// Runs a write and announces what it logged.
    pub(crate) fn write<T>(&self, work: impl FnOnce(&mut Inner) -> T) -> T {
        let mut inner = self.inner();
        let answer = work(&mut inner);
        let newest = inner.newest();
        self.newest.send_if_modified(|seen| std::mem::replace(seen, newest) != newest);
        answer
    }
}

/// Tells whether a record waits in the queue.
fn is_queued(record: &Versioned) -> bool {
    record.node.is_none() && matches!(record.agent.state, State::Queued { .. })
}

fn is_ready(record: &Versioned, now: Timestamp) -> bool {
    is_queued(record) && record.agent.not_before().is_none_or(|at| at <= now)
}

fn place(record: &Versioned) -> (u64, u64) {
    (rank(record.agent.spec.priority, record.agent.spawned_at), record.seq)
}

fn is_dead(record: &Versioned) -> bool {
    use EndReason::{AgentError, NodeLost, RateLimited};
    let end = record.agent.end();
    end.is_some_and(|end| {
        end.status == Status::Failed && matches!(end.reason, AgentError | RateLimited | NodeLost)
    })
}

impl Inner {
    fn newest(&self) -> u64 {
        self.pruned + self.log.len() as u64
    }

    pub(crate) fn log(&mut self, facts: Vec<Fact>) {
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

    fn get(&mut self, id: AgentId) -> Result<&mut Versioned, StoreError> {
        let seq = self.by_id.get(&id).ok_or_else(|| match self.removed.get(&id) {
            Some((at, node)) => StoreError::Pruned { agent: id, at: *at, node: node.clone() },
            None => StoreError::NotFound(id),
        })?;
        Ok(self.records.get_mut(seq).expect("every id has its record"))
    }

    fn admit(&mut self, admission: Admission, queue_entries: u64) -> Result<Admitted, StoreError> {
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

    fn has_lapsed(&self, agent: AgentId) -> bool {
        self.ends.get(&agent).is_some_and(|end| *end <= elapsed())
    }

    /// Returns when the last of a node's leases ends, as far from now as that is.
    pub(crate) fn ends_of(&self, node: &NodeId) -> Option<Duration> {
        let held = self.records.values().filter(|record| record.node.as_ref() == Some(node));
        held.filter_map(|record| self.ends.get(&record.agent.id)).max().copied()
    }

    /// Takes a job off the list of what others put into the queue; false when it is not on it.
    fn take_job(&mut self, wanted: &str) -> bool {
        let before = self.interventions.len();
        self.interventions.retain(|one| match one {
            Intervention::Submitted(submission) => submission.job != wanted,
            Intervention::Retried { job, .. } => job != wanted,
            Intervention::DataChanged { .. } | Intervention::Removed(_) | Intervention::Finished { .. } => {
                true
            }
        });
        self.interventions.len() < before
    }

    /// Lists what others did and no record says yet.
    fn interventions(&mut self, limit: usize) -> Vec<Intervention> {
        let records = &self.records;
        let waits = |id: &AgentId| records.values().any(|record| record.agent.id == *id && is_queued(record));
        self.interventions.retain(|one| match one {
            Intervention::Removed(agent) | Intervention::Finished { agent, .. } => waits(agent),
            Intervention::Submitted(_) | Intervention::Retried { .. } | Intervention::DataChanged { .. } => {
                true
            }
        });
        self.interventions.iter().take(limit).cloned().collect()
    }

    fn grant(&mut self, seq: u64, node: &NodeId, term: Option<Duration>) -> (Lease, Versioned) {
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

    fn put(&mut self, change: Change) -> u64 {
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

    fn amend(&mut self, version: u64, change: Change) -> Result<u64, StoreError> {
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

/// Panics when a write changes what never changes.
fn check_legal(old: &Agent, new: &Agent) {
    let id = old.id;
    assert_eq!(old.spec, new.spec, "agent {id}: what was asked for never changes");
    assert_eq!((&old.name, &old.branch), (&new.name, &new.branch), "agent {id}: its names never change");
    assert_eq!(
        (old.spawned_at, old.previous),
        (new.spawned_at, new.previous),
        "agent {id}: its origin never changes"
    );
    assert!(old.started_at.is_none() || old.started_at == new.started_at, "agent {id}: it starts once");
    assert!(old.runs <= new.runs, "agent {id}: runs only grow");
    assert!(!old.is_terminal() || old.state == new.state, "agent {id}: nothing follows its end");
}

/// Tells whether a record meets a query.
fn matches_query(record: &Versioned, query: &Query) -> bool {
    let agent = &record.agent;
    let spec = &agent.spec;
    let same = |wanted: &Option<String>, has: &str| wanted.as_deref().is_none_or(|wanted| wanted == has);
    let text = |part: &String| {
        let part = part.to_lowercase();
        [agent.name.clone(), spec.task_id.to_string(), agent.id.to_string()]
            .iter()
            .any(|has| has.to_lowercase().contains(&part))
    };
    let label =
        |(key, value): &(String, String)| spec.labels.iter().any(|(k, v)| k.as_str() == key && v == value);
    (query.status.is_empty() || query.status.contains(&agent.status()))
        && (query.phase.is_empty() || query.phase.contains(&agent.phase()))
        && query.agent_type.is_none_or(|kind| kind == spec.agent_type)
        && same(&query.repository, &spec.context.repository.to_string())
        && same(&query.branch, spec.context.branch.as_str())
        && same(&query.task, spec.task_id.as_str())
        && query.label.as_ref().is_none_or(label)
        && query.text.as_ref().is_none_or(text)
        && query.id_prefix.as_ref().is_none_or(|prefix| agent.id.to_string().starts_with(prefix.as_str()))
        && query.since.is_none_or(|since| agent.spawned_at >= since)
        && query.until.is_none_or(|until| agent.spawned_at < until)
        && (!query.dead || is_dead(record))
        && query.before_seq.is_none_or(|before| record.seq < before)
}

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

    async fn set_pause(&self, pause: Option<Pause>, fact: Fact) -> Result<(), StoreError> {
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

    async fn set_orders(&self, change: OrderChange, facts: Vec<Fact>) -> Result<StandingOrders, StoreError> {
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

    async fn log(&self, facts: Vec<Fact>) -> Result<(), StoreError> {
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

    async fn interventions(&self, limit: usize) -> Result<Vec<Intervention>, StoreError> {
        self.up().await?;
        Ok(self.inner().interventions(limit))
    }

    async fn refuse(&self, job: &str, why: &str, _at: Timestamp) -> Result<bool, StoreError> {
        self.up().await?;
        let mut inner = self.inner();
        let known = inner.take_job(job);
        if known {
            inner.refused.push((job.to_owned(), why.to_owned()));
        }
        Ok(known)
    }

    async fn restore_data(&self, agent: &Agent, job: &str, fact: Fact) -> Result<bool, StoreError> {
        self.up().await?;
        let told = Intervention::DataChanged { agent: agent.id, job: job.to_owned() };
        let known = {
            let mut inner = self.inner();
            let before = inner.interventions.len();
            inner.interventions.retain(|one| *one != told);
            inner.interventions.len() < before
        };
        if known {
            self.log(vec![fact]).await?;
        }
        Ok(known)
    }

    fn stirred(&self) -> watch::Receiver<u64> {
        self.stirred.subscribe()
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
