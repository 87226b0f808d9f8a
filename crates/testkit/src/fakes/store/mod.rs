//! An in-memory store, the strictest of all: it panics on what no caller may ever do, such as changing an agent
//! after its end or what was asked for, where a real backend would only do its best. Everything else it answers
//! exactly as the port says.

mod external;
mod port;
mod rules;
mod state;

use std::sync::Arc;
use std::time::Duration;

use mosaic_core::limits;
use mosaic_core::ports::external_queue::ExternalChange;
use mosaic_core::ports::store::StoreError;
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::watch;

use crate::fakes::knobs::elapsed;
pub(crate) use state::{FakeNode, Inner};

/// A connection to an in-memory store.
pub struct FakeStore {
    inner: Arc<Mutex<Inner>>,
    newest: watch::Sender<u64>,
    changes: watch::Sender<u64>,
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
            changes: watch::channel(0).0,
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
            changes: self.changes.clone(),
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
    pub fn intervene(&self, what: ExternalChange) {
        self.inner().external_changes.push(what);
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
        self.changes.send_modify(|count| *count += 1);
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
