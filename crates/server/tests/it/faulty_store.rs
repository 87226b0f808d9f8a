//! The in-memory store with a switch for what real ones do on bad days.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use async_trait::async_trait;
use mosaic_core::domain::ids::{AgentId, NodeId, TaskId, Timestamp};
use mosaic_core::domain::journal::{Entry, LogRecord};
use mosaic_core::domain::orders::StandingOrders;
use mosaic_core::domain::placement::Conditions;
use mosaic_core::ports::store::{
    Admission, Admitted, Change, Counts, Damaged, EndedAfter, Lease, OrderChange, Pause, Query, Removal,
    Store, StoreError, Versioned,
};
use mosaic_testkit::fakes::store::FakeStore;
use tokio::sync::watch;

/// A store that can be made unavailable, damaged and forgetful.
pub(crate) struct FaultyStore {
    inner: FakeStore,
    down: AtomicBool,
    damaged: AtomicBool,
    panics: AtomicBool,
    forgotten: AtomicU64,
}

impl FaultyStore {
    pub(crate) fn new(queue_entries: u64) -> Self {
        Self {
            inner: FakeStore::limited(queue_entries),
            down: AtomicBool::new(false),
            damaged: AtomicBool::new(false),
            panics: AtomicBool::new(false),
            forgotten: AtomicU64::new(0),
        }
    }

    pub(crate) fn set_down(&self, down: bool) {
        self.down.store(down, Ordering::SeqCst);
    }

    pub(crate) fn set_damaged(&self) {
        self.damaged.store(true, Ordering::SeqCst);
    }

    pub(crate) fn set_panics(&self) {
        self.panics.store(true, Ordering::SeqCst);
    }

    /// Loses every logged fact up to this number.
    pub(crate) fn forget(&self, up_to: u64) {
        self.forgotten.store(up_to, Ordering::SeqCst);
    }

    fn up(&self) -> Result<&FakeStore, StoreError> {
        if self.down.load(Ordering::SeqCst) {
            return Err(StoreError::Unavailable("the disk is on fire".to_owned()));
        }
        Ok(&self.inner)
    }
}

#[async_trait]
impl Store for FaultyStore {
    async fn admit(&self, admission: Admission) -> Result<Admitted, StoreError> {
        self.up()?.admit(admission).await
    }
    async fn lease_within(
        &self,
        node: &NodeId,
        now: Timestamp,
        conditions: &Conditions,
    ) -> Result<Option<(Lease, Versioned)>, StoreError> {
        self.up()?.lease_within(node, now, conditions).await
    }
    async fn take_over(&self, agent: AgentId, node: &NodeId) -> Result<(Lease, Versioned), StoreError> {
        self.up()?.take_over(agent, node).await
    }
    async fn advance(&self, lease: &Lease, change: Change) -> Result<u64, StoreError> {
        self.up()?.advance(lease, change).await
    }
    async fn amend(&self, changes: Vec<(u64, Change)>) -> Result<Vec<Result<u64, StoreError>>, StoreError> {
        self.up()?.amend(changes).await
    }
    async fn get(&self, agent: AgentId) -> Result<Versioned, StoreError> {
        assert!(!self.panics.load(Ordering::SeqCst), "a secret of the stack trace");
        if self.damaged.load(Ordering::SeqCst) {
            return Err(StoreError::Quarantined(agent));
        }
        self.up()?.get(agent).await
    }
    async fn list(&self, query: Query) -> Result<Vec<Versioned>, StoreError> {
        self.up()?.list(query).await
    }
    async fn waiting(&self, offset: u64, limit: usize, now: Timestamp) -> Result<Vec<Versioned>, StoreError> {
        self.up()?.waiting(offset, limit, now).await
    }
    async fn position(&self, agent: AgentId) -> Result<Option<u64>, StoreError> {
        self.up()?.position(agent).await
    }
    async fn leased_of(
        &self,
        repositories: &BTreeSet<String>,
    ) -> Result<BTreeMap<String, usize>, StoreError> {
        self.up()?.leased_of(repositories).await
    }
    async fn leased(&self) -> Result<Vec<Versioned>, StoreError> {
        self.up()?.leased().await
    }
    async fn of_task(&self, task: &TaskId) -> Result<Vec<Versioned>, StoreError> {
        self.up()?.of_task(task).await
    }
    async fn counts(&self, now: Timestamp) -> Result<Counts, StoreError> {
        self.up()?.counts(now).await
    }
    async fn next_due(&self) -> Result<Option<Timestamp>, StoreError> {
        self.up()?.next_due().await
    }
    async fn set_pause(&self, pause: Option<Pause>, fact: LogRecord) -> Result<(), StoreError> {
        self.up()?.set_pause(pause, fact).await
    }
    async fn pause(&self) -> Result<Option<Pause>, StoreError> {
        self.up()?.pause().await
    }
    async fn set_orders(
        &self,
        change: OrderChange,
        facts: Vec<LogRecord>,
    ) -> Result<StandingOrders, StoreError> {
        self.up()?.set_orders(change, facts).await
    }
    async fn orders(&self) -> Result<StandingOrders, StoreError> {
        self.up()?.orders().await
    }
    async fn log(&self, facts: Vec<LogRecord>) -> Result<(), StoreError> {
        self.up()?.log(facts).await
    }
    async fn entries(&self, after: u64, limit: usize) -> Result<Vec<Entry>, StoreError> {
        let forgotten = self.forgotten.load(Ordering::SeqCst);
        self.up()?.entries(after.max(forgotten), limit).await
    }
    fn newest(&self) -> watch::Receiver<u64> {
        self.inner.newest()
    }
    async fn remove(&self, removal: Removal) -> Result<(), StoreError> {
        self.up()?.remove(removal).await
    }
    async fn settled(
        &self,
        before: Timestamp,
        after: EndedAfter,
        limit: usize,
    ) -> Result<Vec<Versioned>, StoreError> {
        self.up()?.settled(before, after, limit).await
    }
    async fn prune_events(&self, before: Timestamp, most: usize) -> Result<u64, StoreError> {
        self.up()?.prune_events(before, most).await
    }
    async fn check(&self) -> Result<(), StoreError> {
        self.up()?.check().await
    }
    async fn damaged(&self) -> Result<Vec<Damaged>, StoreError> {
        self.up()?.damaged().await
    }
}
