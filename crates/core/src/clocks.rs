//! The times that this node goes by. What is written into records and compared between machines is the store's time where
//! there is a shared store, kept up by this machine's monotonic clock ([`StoreClock`]); what lies in files of this machine is
//! compared with this machine's own wall clock. Where a node is alone its wall clock is both.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use thiserror::Error;

use crate::domain::ids::Timestamp;
use crate::domain::monotonic_clock::MonotonicClock;
use crate::domain::store_clock::{Measured, StoreClock};
use crate::limits;
use crate::ports::clock::Clock;
use crate::ports::fleet::Fleet;
use crate::ports::store::{Store, StoreError};

/// Offset of this machine's wall clock from the store's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClockOffset {
    /// Milliseconds by which it is ahead; negative when it is behind.
    pub offset_ms: i64,
    /// Milliseconds by which that may be wrong.
    pub error_ms: u64,
}

impl ClockOffset {
    /// Returns the offset in words.
    pub fn message(self) -> String {
        let span = Duration::from_millis(self.offset_ms.unsigned_abs());
        let side = if self.offset_ms < 0 { "behind" } else { "ahead of" };
        format!("{:.3} s {side} the store's (±{} ms)", span.as_secs_f64(), self.error_ms)
    }

    /// Tells whether it is certainly beyond [`limits::CLOCK_OFFSET`].
    pub fn is_too_far(self) -> bool {
        let bound = u64::try_from(limits::CLOCK_OFFSET.as_millis()).unwrap_or(u64::MAX);
        self.offset_ms.unsigned_abs() > bound.saturating_add(self.error_ms)
    }
}

/// Clocks of this node: what the time is, how it is measured against the store's, and what to do where that is not known.
pub struct Clocks {
    clock: Arc<dyn Clock>,
    fleet: Arc<dyn Fleet>,
    latest: Mutex<LatestTimes>,
}

/// A write was not done within [`limits::ORDER_RECORD`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("not written within {} s", limits::ORDER_RECORD.as_secs())]
pub struct NotInTime;

/// Newest times of both clocks.
#[derive(Debug, Default)]
struct LatestTimes {
    /// Of this machine's wall clock.
    own: Option<MonotonicClock>,
    /// Of the store's clock, once it was measured.
    store: Option<(StoreClock, MonotonicClock)>,
}

impl Clocks {
    pub(crate) fn new(clock: Arc<dyn Clock>, fleet: Arc<dyn Fleet>) -> Self {
        Self { clock, fleet, latest: Mutex::default() }
    }

    fn with_latest<T>(&self, f: impl FnOnce(&mut LatestTimes) -> T) -> T {
        f(&mut self.latest.lock())
    }

    /// Tells whether nodes share a store, whose clock then counts.
    pub(crate) fn is_shared(&self) -> bool {
        self.term().is_some()
    }

    /// Returns how long a lease of the shared store holds; `None` where leases never end.
    pub(crate) fn term(&self) -> Option<Duration> {
        self.fleet.term()
    }

    /// Returns once this much monotonic time has passed.
    pub(crate) async fn sleep(&self, time: Duration) {
        self.clock.sleep(time).await;
    }

    /// Waits for a write at most [`limits::ORDER_RECORD`].
    pub(crate) async fn timely<T>(&self, write: impl Future<Output = T>) -> Result<T, NotInTime> {
        tokio::select! {
            done = write => Ok(done),
            () = self.clock.sleep(limits::ORDER_RECORD) => Err(NotInTime),
        }
    }

    /// Says how this machine's clock stands to the store's.
    pub(crate) fn message(&self) -> Result<String, String> {
        match (self.fault(), self.offset()) {
            (Some(fault), _) => Err(fault),
            (None, Some(offset)) => Ok(offset.message()),
            (None, None) => Err("clock: the store's time is not known yet".to_owned()),
        }
    }

    /// Returns the time since some moment of this process, for timers.
    pub(crate) fn elapsed(&self) -> Duration {
        self.clock.elapsed()
    }

    /// Returns the current time for logs and records: the store's where nodes share one. Never goes back, whatever is done
    /// to the wall clock; see [`MonotonicClock`].
    pub fn now(&self) -> Timestamp {
        let elapsed = self.elapsed();
        let now = self.with_latest(|latest| {
            let (clock, monotonic) = latest.store.as_mut()?;
            Some(monotonic.now(clock.at(elapsed), elapsed))
        });
        now.unwrap_or_else(|| self.own_now())
    }

    /// Returns the time by this machine's wall clock, for what its own files say. Never goes back either.
    pub(crate) fn own_now(&self) -> Timestamp {
        let (wall, elapsed) = (self.clock.now(), self.elapsed());
        self.with_latest(|latest| {
            latest.own.get_or_insert_with(|| MonotonicClock::new(wall, elapsed)).now(wall, elapsed)
        })
    }

    /// Continues with time where the log ends, when the wall clock was set back since. A log that lies further ahead than
    /// [`limits::LOG_AHEAD`] was written under a wrong clock, which is not worth keeping. A shared store has a clock of its
    /// own, and its log may have been written by a node whose clock was wrong.
    pub(crate) async fn catch_up_with_log(&self, store: &dyn Store) {
        if self.is_shared() {
            return;
        }
        let newest = *store.newest().borrow();
        let Ok(entries) = store.entries(newest.saturating_sub(1), 1).await else { return };
        let Some(logged) = entries.first().map(|entry| entry.fact.at) else { return };
        let ahead = logged.since(self.now());
        if !ahead.is_zero() && ahead <= limits::LOG_AHEAD {
            let elapsed = self.elapsed();
            self.with_latest(|latest| latest.own = Some(MonotonicClock::new(logged, elapsed)));
        }
    }

    /// Asks the store for its time, where it is shared. Called before anything is recorded, and with every heartbeat.
    pub async fn measure(&self) -> Result<(), StoreError> {
        let asked = self.elapsed();
        let answer = tokio::select! {
            answer = self.fleet.store_time() => answer?,
            () = self.sleep(limits::CLOCK_ANSWER) => {
                return Err(StoreError::Unavailable("no answer to a question for the store's time".to_owned()));
            }
        };
        let answered = self.elapsed();
        if let Some(time) = answer {
            self.take_measured(Measured { asked, answered, time });
        }
        Ok(())
    }

    /// Returns the current time for a decision about records that cannot be undone.
    ///
    /// Errors: `Unavailable` where the store is shared and its time is not known, and cannot be had now.
    pub(crate) async fn certain_now(&self) -> Result<Timestamp, StoreError> {
        if self.is_shared() && self.offset().is_none() {
            self.measure().await?;
        }
        Ok(self.now())
    }

    fn take_measured(&self, new: Measured) {
        let elapsed = new.answered;
        self.with_latest(|latest| {
            let Some((clock, monotonic)) = &mut latest.store else {
                let clock = StoreClock::new(new);
                latest.store = Some((clock, MonotonicClock::new(clock.at(elapsed), elapsed)));
                return;
            };
            let before = clock.at(elapsed);
            if clock.measure(new) {
                let by = i128::from(clock.at(elapsed).0) - i128::from(before.0);
                tracing::warn!(milliseconds = %by, "the store's clock was set");
                if before.since(clock.at(elapsed)) > limits::CLOCK_OFFSET {
                    // What is due would wait as long as that clock went back; time in the log goes back once instead.
                    *monotonic = MonotonicClock::new(clock.at(elapsed), elapsed);
                }
            }
        });
    }

    /// Returns how far this machine's wall clock is from the store's now; `None` where no store is shared, or its time is
    /// not known yet.
    pub fn offset(&self) -> Option<ClockOffset> {
        let elapsed = self.elapsed();
        let (store, error) = self.with_latest(|latest| {
            let (clock, _) = latest.store.as_ref()?;
            Some((clock.at(elapsed), clock.error(elapsed)))
        })?;
        // Not the monotonic one: what counts is how the wall clock stands this moment.
        let own = self.clock.now();
        let offset = i128::from(own.0) - i128::from(store.0);
        Some(ClockOffset {
            offset_ms: i64::try_from(offset).unwrap_or(if offset < 0 { i64::MIN } else { i64::MAX }),
            error_ms: u64::try_from(error.as_millis()).unwrap_or(u64::MAX),
        })
    }

    /// Says why this node's clock forbids it to take work, when it does.
    pub fn fault(&self) -> Option<String> {
        let offset = self.offset().filter(|offset| offset.is_too_far())?;
        Some(format!(
            "clock: this machine's is {}, more than {} s; set it (NTP), nothing is taken until it is right",
            offset.message(),
            limits::CLOCK_OFFSET.as_secs()
        ))
    }
}
