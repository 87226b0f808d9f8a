//! The embedded store: one SQLite file in the data directory, so that nothing else must be installed.
//!
//! Always true: one thread writes ([`writer`]), and answers a caller only after the transaction with its
//! write was synced to disk; what waits meanwhile shares the next transaction. Readers have connections of their
//! own and see whole transactions only. The directory is locked for one server ([`files`]). A record that cannot
//! be read is moved to the table `quarantine`, and everything else goes on.

mod archive;
mod columns;
mod failure;
mod files;
mod journal;
mod listing;
mod orders;
mod queue;
mod readers;
mod removal;
mod rows;
mod schema;
mod tally;
mod verbs;
mod writer;

use crate::data_dir::DirLock;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use mosaic_core::domain::agent::Agent;
use mosaic_core::domain::ids::{AgentId, NodeId, TaskId, Timestamp};
use mosaic_core::domain::journal::{Entry, LogRecord};
use mosaic_core::domain::orders::StandingOrders;
use mosaic_core::domain::placement::Conditions;
use mosaic_core::limits;
use mosaic_core::ports::store::{
    Admission, Admitted, Change, Counts, Damaged, EndedAfter, Lease, OrderChange, Pause, Query, Removal,
    Safety, Store, StoreError, Versioned,
};
use rusqlite::Connection;
use tokio::sync::watch;

use failure::Fault;
use readers::Readers;
use rows::Unreadable;
use writer::{Writer, Writing};

/// The embedded store of one data directory.
pub struct SqliteStore {
    readers: Arc<Readers>,
    writer: Writer,
    queue_entries: u64,
    // Last, so that the lock outlives the writer: fields are dropped in this order.
    _lock: Option<Arc<DirLock>>,
}

impl SqliteStore {
    /// Opens the store in this data directory; makes the directory (for its owner only) and the file
    /// `mosaic.db` when missing, and brings an older file up to date.
    ///
    /// Errors: `InUse` when another server holds the directory, `Damaged` when the file is, `Unusable` when it was written
    /// by a newer version or the directory cannot be used; the text names it and says what to do.
    pub fn open(dir: &Path) -> Result<Self, StoreError> {
        Self::open_limited(dir, limits::QUEUE_ENTRIES)
    }

    /// Opens the store as [`Self::open`] does, with another bound than [`limits::QUEUE_ENTRIES`] on what waits.
    pub fn open_limited(dir: &Path, queue_entries: u64) -> Result<Self, StoreError> {
        Self::open_locked(dir, Some(Arc::new(DirLock::take(dir)?)), queue_entries)
    }

    /// Opens the store as [`Self::open`] does. A damaged file is moved into the directory `quarantine`, as it is, and the
    /// store begins anew; returns where the damaged one lies then.
    pub fn open_or_set_aside(dir: &Path) -> Result<(Self, Option<PathBuf>), StoreError> {
        let lock = Some(Arc::new(DirLock::take(dir)?));
        match Self::open_locked(dir, lock.clone(), limits::QUEUE_ENTRIES) {
            Err(StoreError::Damaged(why)) => {
                let place = files::set_aside(dir)?;
                tracing::error!(why, place = %place.display(), "the store is damaged; it was set aside and begins anew");
                Ok((Self::open_locked(dir, lock, limits::QUEUE_ENTRIES)?, Some(place)))
            }
            opened => Ok((opened?, None)),
        }
    }

    /// Opens the store of a data directory whose server uses another one, and so holds the directory for as long as this is
    /// used. Errors as [`Self::open`] does.
    pub fn open_beside(dir: &Path) -> Result<Self, StoreError> {
        Self::open_locked(dir, None, limits::QUEUE_ENTRIES)
    }

    /// Counts the unfinished agents of a store that is not in use; none where there is no store. Changes nothing.
    pub fn unfinished(dir: &Path) -> Result<u64, StoreError> {
        let path = dir.join("mosaic.db");
        if !path.exists() {
            return Ok(0);
        }
        let count = || -> Result<i64, Fault> {
            let conn = files::connect_reader(&path)?;
            Ok(conn.query_row("SELECT count(*) FROM agents WHERE terminal = 0", [], |row| row.get(0))?)
        };
        count().map(|n| u64::try_from(n).unwrap_or(0)).map_err(|fault| fault.into_store_error(&path))
    }

    fn open_locked(dir: &Path, lock: Option<Arc<DirLock>>, queue_entries: u64) -> Result<Self, StoreError> {
        let path = files::database(dir)?;
        let said = |fault: Fault| failure::at_opening(fault, &path);
        let conn = files::connect_writer(&path).map_err(said)?;
        schema::migrate(&conn).map_err(said)?;
        let readers = Readers::open(&path, lock.clone()).map_err(said)?;
        let writer = Writer::start(conn, path.clone(), lock.clone()).map_err(said)?;
        Ok(Self { readers: Arc::new(readers), writer, queue_entries, _lock: lock })
    }

    async fn write<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Writing<'_>) -> Result<T, Fault> + Send + 'static,
    {
        self.writer.write(work).await
    }

    async fn read<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, Fault> + Send + 'static,
    {
        self.readers.read(work).await
    }

    /// Reads records until none of them had to be set aside: each round moves the damaged ones out of the way.
    async fn read_records<F>(&self, work: F) -> Result<Vec<Versioned>, StoreError>
    where
        F: Fn(&Connection) -> Result<(Vec<Versioned>, Vec<Unreadable>), Fault> + Clone + Send + 'static,
    {
        loop {
            let (good, bad) = self.read(work.clone()).await?;
            if bad.is_empty() {
                return Ok(good);
            }
            self.write(move |w| bad.iter().try_for_each(|one| rows::quarantine(w, one))).await?;
        }
    }
}

#[async_trait]
impl Store for SqliteStore {
    async fn admit(&self, admission: Admission) -> Result<Admitted, StoreError> {
        let limit = self.queue_entries;
        // Serialised by the caller's task: the one writer thread has enough to do.
        let body = encode(&admission.agent)?;
        self.write(move |w| verbs::admit(w, admission, &body, limit)).await
    }

    async fn lease_within(
        &self,
        node: &NodeId,
        now: Timestamp,
        conditions: &Conditions,
    ) -> Result<Option<(Lease, Versioned)>, StoreError> {
        let (node, conditions) = (node.clone(), conditions.clone());
        // A grant may be lost with the machine (ADR 7): whatever ran under it is gone with the machine, too, and the
        // entry waits as before.
        self.writer.write_safely(Safety::Process, move |w| queue::lease(w, &node, now, &conditions)).await
    }

    async fn take_over(&self, agent: AgentId, node: &NodeId) -> Result<(Lease, Versioned), StoreError> {
        let node = node.clone();
        self.write(move |w| queue::take_over(w, agent, &node)).await
    }

    async fn advance(&self, lease: &Lease, change: Change) -> Result<u64, StoreError> {
        let lease = lease.clone();
        let body = encode(&change.agent)?;
        self.writer.write_safely(change.safety, move |w| verbs::advance(w, &lease, change, &body)).await
    }

    async fn amend(&self, changes: Vec<(u64, Change)>) -> Result<Vec<Result<u64, StoreError>>, StoreError> {
        let encoded = changes
            .into_iter()
            .map(|(version, change)| encode(&change.agent).map(|body| (version, change, body)))
            .collect::<Result<Vec<_>, _>>()?;
        self.write(move |w| verbs::amend(w, encoded)).await
    }

    async fn get(&self, agent: AgentId) -> Result<Versioned, StoreError> {
        match self.read(move |conn| rows::find(conn, agent)).await? {
            Ok(versioned) => Ok(versioned),
            Err(bad) => {
                self.write(move |w| rows::quarantine(w, &bad)).await?;
                Err(StoreError::Quarantined(agent))
            }
        }
    }

    async fn list(&self, query: Query) -> Result<Vec<Versioned>, StoreError> {
        self.read_records(move |conn| listing::list(conn, &query)).await
    }

    async fn waiting(&self, offset: u64, limit: usize, now: Timestamp) -> Result<Vec<Versioned>, StoreError> {
        // A reader looks first: moving entries is a write with a sync of the disk, and lists are asked for far more
        // often than anything is due.
        if self.read(move |conn| queue::count_due(conn, now)).await? > 0 {
            self.write(move |w| queue::promote(w, now)).await?;
        }
        self.read_records(move |conn| queue::waiting(conn, offset, limit)).await
    }

    async fn position(&self, agent: AgentId) -> Result<Option<u64>, StoreError> {
        self.read(move |conn| queue::position(conn, agent)).await
    }

    async fn leased(&self) -> Result<Vec<Versioned>, StoreError> {
        self.read_records(listing::leased).await
    }

    async fn of_task(&self, task: &TaskId) -> Result<Vec<Versioned>, StoreError> {
        let task = task.clone();
        self.read_records(move |conn| listing::of_task(conn, &task)).await
    }

    async fn counts(&self, now: Timestamp) -> Result<Counts, StoreError> {
        self.read(move |conn| queue::counts(conn, now)).await
    }

    async fn next_due(&self) -> Result<Option<Timestamp>, StoreError> {
        self.read(queue::next_due).await
    }

    async fn set_pause(&self, pause: Option<Pause>, fact: LogRecord) -> Result<(), StoreError> {
        self.write(move |w| queue::set_pause(w, pause, fact)).await
    }

    async fn pause(&self) -> Result<Option<Pause>, StoreError> {
        self.read(queue::pause).await
    }

    async fn set_orders(
        &self,
        change: OrderChange,
        facts: Vec<LogRecord>,
    ) -> Result<StandingOrders, StoreError> {
        self.write(move |w| orders::set(w, change, facts)).await
    }

    async fn orders(&self) -> Result<StandingOrders, StoreError> {
        self.read(orders::read).await
    }

    async fn log(&self, facts: Vec<LogRecord>) -> Result<(), StoreError> {
        self.write(move |w| facts.into_iter().try_for_each(|fact| journal::append(w, fact))).await
    }

    async fn entries(&self, after: u64, limit: usize) -> Result<Vec<Entry>, StoreError> {
        self.read(move |conn| journal::entries(conn, after, limit)).await
    }

    fn newest(&self) -> watch::Receiver<u64> {
        self.writer.newest()
    }

    async fn remove(&self, removal: Removal) -> Result<(), StoreError> {
        self.write(move |w| removal::remove(w, removal)).await
    }

    async fn settled(
        &self,
        before: Timestamp,
        after: EndedAfter,
        limit: usize,
    ) -> Result<Vec<Versioned>, StoreError> {
        self.read_records(move |conn| removal::settled(conn, before, after, limit)).await
    }

    async fn prune_events(&self, before: Timestamp, most: usize) -> Result<u64, StoreError> {
        let pruned = move |w: &mut Writing<'_>| removal::prune_events(w, before, most);
        // Facts that come back after the loss of power are removed again.
        self.writer.write_safely(Safety::Process, pruned).await
    }

    async fn check(&self) -> Result<(), StoreError> {
        self.write(verbs::check).await
    }

    async fn damaged(&self) -> Result<Vec<Damaged>, StoreError> {
        self.read(listing::damaged).await
    }
}

fn encode(agent: &Agent) -> Result<String, StoreError> {
    serde_json::to_string(agent).map_err(|e| {
        StoreError::Unavailable(format!("record of agent {} cannot be written as JSON: {e}", agent.id))
    })
}
