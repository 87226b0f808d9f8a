//! The shared store: a Valkey (or Redis) server that many nodes use, with the queue in BullMQ's layout.
//!
//! Always true: each verb is one Lua script ([`scripts`]), so others see all of it or nothing; what waits at this
//! client for the same verb goes in one call. Every key is listed in [`keys`]. A record that cannot be read is set aside,
//! and everything else goes on. A write whose answer was lost is answered as unavailable; the same write again changes
//! nothing more.

mod address;
mod admission;
mod args;
mod ask;
mod batcher;
mod change_feed;
mod connection;
mod dial;
mod dial_error;
mod failure;
mod fleet;
mod inner;
mod interventions;
mod journal;
mod keys;
mod leases;
mod listing;
mod live;
mod needs;
mod options;
mod orders;
mod preflight;
mod queue;
mod quorum;
mod reconnect;
mod record_error;
mod records;
mod removal;
mod replicas;
mod rights;
mod scripts;
mod search;
mod servers;
mod set_clock;
mod short;
mod tls;
mod writes;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use async_trait::async_trait;
use mosaic_core::domain::agent::Agent;
use mosaic_core::domain::ids::{AgentId, NodeId, TaskId, Timestamp};
use mosaic_core::domain::journal::{Entry, LogRecord};
use mosaic_core::domain::orders::StandingOrders;
use mosaic_core::domain::placement::Conditions;
use mosaic_core::ports::external_queue::{ExternalChange, ExternalQueue};
use mosaic_core::ports::store::{
    Admission, Admitted, Change, Counts, Damaged, EndedAfter, Lease, Moving, OrderChange, Pause, Query,
    Removal, Safety, Store, StoreError, Versioned,
};
use redis::Value;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use batcher::Batcher;
use change_feed::{ChangeFeed, Subscriptions};
use connection::Link;
use inner::Inner;
use keys::{Key, Names};

pub use dial_error::{Cause, DialError};
pub use options::{LinkOptions, Sentinels, TimeSource, Tls, ValkeyOptions};
pub use preflight::{Risk, ServerInfo, inspect};
pub use rights::Rights;
pub use tls::TlsError;

/// The shared store.
pub struct ValkeyStore {
    inner: Arc<Inner>,
    admissions: Batcher<admission::Answer>,
    advances: Batcher<Value>,
    /// Advances that a failover may forget, as [`Safety::Process`] says.
    light_advances: Batcher<Value>,
    leases: Batcher<Value>,
    /// Where a look under conditions goes on that found nothing near the front.
    look_from: AtomicU64,
    follower: JoinHandle<()>,
    changes: ChangeFeed,
}

impl ValkeyStore {
    /// Connects to the server and begins to follow what others log.
    pub async fn connect(options: ValkeyOptions) -> Result<Self, StoreError> {
        let link = Arc::new(Link::connect(&options.link).await?);
        let names = Names::new(&options.link.prefix);
        let begin = names.both();
        let inner = Arc::new(Inner {
            link,
            names,
            begin,
            options,
            newest: watch::channel(0).0,
            set_clock: set_clock::SetClock::default(),
            moved_up_to: AtomicU64::new(0),
        });
        inner.prepare().await?;
        inner.catch_up().await?;
        let follower = tokio::spawn(journal::follow(Arc::clone(&inner)));
        let shared = Arc::clone(&inner);
        let admissions = Batcher::start(move |items| {
            let inner = Arc::clone(&shared);
            async move { inner.admit_all(items).await }
        });
        let shared = Arc::clone(&inner);
        let leases = Batcher::start(move |askers| {
            let inner = Arc::clone(&shared);
            async move { inner.lease_all(askers).await }
        });
        let advances = |safety| {
            let shared = Arc::clone(&inner);
            Batcher::start(move |items| {
                let inner = Arc::clone(&shared);
                async move { inner.write_all(&scripts::ADVANCE, items, safety).await }
            })
        };
        // A batch waits for the replicas as a whole, so steps that need no confirmation have a line of their own and do
        // not wait with those that do.
        let (advances, light_advances) = (advances(Safety::Power), advances(Safety::Process));
        let changes = ChangeFeed::listen(Subscriptions {
            link: Arc::clone(&inner.link),
            channel: inner.key(Key::Changes),
            marker: inner.key(Key::Marker),
            prefix: inner.options.link.prefix.clone(),
            node: inner.options.source.clone(),
        });
        Ok(Self {
            inner,
            admissions,
            advances,
            light_advances,
            leases,
            look_from: AtomicU64::new(0),
            follower,
            changes,
        })
    }

    /// Lists what a node may archive, see [`Store::movable`]: for the store with the archive around it.
    pub async fn movable(
        &self,
        node: &NodeId,
        before: Timestamp,
        unplaced: bool,
        limit: usize,
    ) -> Result<Vec<Moving>, StoreError> {
        self.inner.movable(node, before, unplaced, limit).await
    }

    /// Leaves short forms, see [`Store::shorten`].
    pub async fn shorten(
        &self,
        records: &[Moving],
        node: &NodeId,
    ) -> Result<Vec<Result<(), StoreError>>, StoreError> {
        self.inner.shorten(records, node).await
    }
}

impl Drop for ValkeyStore {
    fn drop(&mut self) {
        self.follower.abort();
    }
}

#[async_trait]
impl Store for ValkeyStore {
    async fn admit(&self, admission: Admission) -> Result<Admitted, StoreError> {
        self.inner.admit(&self.admissions, admission).await
    }

    async fn lease_within(
        &self,
        node: &NodeId,
        now: Timestamp,
        conditions: &Conditions,
    ) -> Result<Option<(Lease, Versioned)>, StoreError> {
        if conditions.are_plain() {
            return self.inner.lease(&self.leases, node, now).await;
        }
        self.inner.lease_within(&self.look_from, node, now, conditions).await
    }

    async fn take_over(&self, agent: AgentId, node: &NodeId) -> Result<(Lease, Versioned), StoreError> {
        self.inner.take_over(agent, node).await
    }

    async fn advance(&self, lease: &Lease, change: Change) -> Result<u64, StoreError> {
        let batcher = match change.safety {
            Safety::Power => &self.advances,
            Safety::Process => &self.light_advances,
        };
        self.inner.advance(batcher, lease, change).await
    }

    async fn amend(&self, changes: Vec<(u64, Change)>) -> Result<Vec<Result<u64, StoreError>>, StoreError> {
        self.inner.amend(changes).await
    }

    async fn get(&self, agent: AgentId) -> Result<Versioned, StoreError> {
        self.inner.get(agent).await
    }

    async fn glance(&self, agent: AgentId) -> Result<Versioned, StoreError> {
        self.inner.glance(agent).await
    }

    async fn list(&self, query: Query) -> Result<Vec<Versioned>, StoreError> {
        self.inner.list(&query).await
    }

    async fn waiting(&self, offset: u64, limit: usize, now: Timestamp) -> Result<Vec<Versioned>, StoreError> {
        self.inner.waiting(offset, limit, now).await
    }

    async fn position(&self, agent: AgentId) -> Result<Option<u64>, StoreError> {
        self.inner.position(agent).await
    }

    async fn leased(&self) -> Result<Vec<Versioned>, StoreError> {
        self.inner.leased().await
    }

    async fn leased_of(
        &self,
        repositories: &BTreeSet<String>,
    ) -> Result<BTreeMap<String, usize>, StoreError> {
        self.inner.leased_of(repositories).await
    }

    async fn of_task(&self, task: &TaskId) -> Result<Vec<Versioned>, StoreError> {
        self.inner.of_task(task).await
    }

    async fn counts(&self, now: Timestamp) -> Result<Counts, StoreError> {
        self.inner.counts(now).await
    }

    async fn next_due(&self) -> Result<Option<Timestamp>, StoreError> {
        self.inner.next_due().await
    }

    async fn set_pause(&self, pause: Option<Pause>, fact: LogRecord) -> Result<(), StoreError> {
        self.inner.set_pause(pause, fact).await
    }

    async fn pause(&self) -> Result<Option<Pause>, StoreError> {
        self.inner.pause().await
    }

    async fn set_orders(
        &self,
        change: OrderChange,
        facts: Vec<LogRecord>,
    ) -> Result<StandingOrders, StoreError> {
        self.inner.set_orders(change, &facts).await
    }

    async fn orders(&self) -> Result<StandingOrders, StoreError> {
        self.inner.orders().await
    }

    async fn log(&self, facts: Vec<LogRecord>) -> Result<(), StoreError> {
        self.inner.log(&facts).await
    }

    async fn entries(&self, after: u64, limit: usize) -> Result<Vec<Entry>, StoreError> {
        self.inner.entries(after, limit).await
    }

    fn newest(&self) -> watch::Receiver<u64> {
        self.inner.newest.subscribe()
    }

    async fn remove(&self, removal: Removal) -> Result<(), StoreError> {
        self.inner.remove(removal).await
    }

    async fn settled(
        &self,
        before: Timestamp,
        after: EndedAfter,
        limit: usize,
    ) -> Result<Vec<Versioned>, StoreError> {
        self.inner.settled(before, after, limit).await
    }

    async fn prune_events(&self, before: Timestamp, most: usize) -> Result<u64, StoreError> {
        self.inner.prune_events(before, most).await
    }

    async fn check(&self) -> Result<(), StoreError> {
        let mut cmd = redis::cmd("SET");
        cmd.arg(self.inner.key(Key::Check)).arg(1);
        self.inner.link.query_durably(cmd).await
    }

    async fn damaged(&self) -> Result<Vec<Damaged>, StoreError> {
        self.inner.damaged().await
    }
}

#[async_trait]
impl ExternalQueue for ValkeyStore {
    async fn external_changes(&self, limit: usize) -> Result<Vec<ExternalChange>, StoreError> {
        self.inner.external_changes(limit).await
    }

    async fn refuse(&self, job: &str, why: &str, at: Timestamp) -> Result<bool, StoreError> {
        self.inner.refuse(job, why, at).await
    }

    async fn restore_data(&self, agent: &Agent, job: &str, fact: LogRecord) -> Result<bool, StoreError> {
        self.inner.restore_data(agent, job, fact).await
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.changes.changes()
    }
}
