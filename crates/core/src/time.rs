//! The time of this node: what it is, how it is measured against the store's, and what to do where that is not known.

use std::time::Duration;

use crate::clocks::ClockOffset;
use crate::domain::ids::Timestamp;
use crate::domain::steady::Steady;
use crate::domain::store_clock::{Measured, StoreClock};
use crate::limits;
use crate::orchestrator::Orchestrator;
use crate::ports::store::StoreError;

impl Orchestrator {
    /// Returns the time since some moment of this process, for timers.
    pub(crate) fn elapsed(&self) -> Duration {
        self.ports.clock.elapsed()
    }

    /// Returns the current time for logs and records: the store's where nodes share one. Never goes back, whatever is done
    /// to the wall clock; see [`Steady`].
    pub fn now(&self) -> Timestamp {
        let elapsed = self.elapsed();
        let told = self.clocks.told(|told| {
            let (clock, steady) = told.store.as_mut()?;
            Some(steady.tell(clock.at(elapsed), elapsed))
        });
        told.unwrap_or_else(|| self.own_now())
    }

    /// Returns the time by this machine's wall clock, for what its own files say. Never goes back either.
    pub(crate) fn own_now(&self) -> Timestamp {
        let (wall, elapsed) = (self.ports.clock.now(), self.elapsed());
        self.clocks
            .told(|told| told.own.get_or_insert_with(|| Steady::new(wall, elapsed)).tell(wall, elapsed))
    }

    /// Goes on with time where the log ends, when the wall clock was set back since. A log that lies further ahead than
    /// [`limits::LOG_AHEAD`] was written under a wrong clock, which is not worth keeping. A shared store has a clock of its
    /// own, and its log may have been written by a node whose clock was wrong.
    pub(crate) async fn catch_up_with_log(&self) {
        if self.is_fleet() {
            return;
        }
        let newest = *self.ports.store.newest().borrow();
        let Ok(entries) = self.ports.store.entries(newest.saturating_sub(1), 1).await else { return };
        let Some(logged) = entries.first().map(|entry| entry.fact.at) else { return };
        let ahead = logged.since(self.now());
        if !ahead.is_zero() && ahead <= limits::LOG_AHEAD {
            let elapsed = self.elapsed();
            self.clocks.told(|told| told.own = Some(Steady::new(logged, elapsed)));
        }
    }

    /// Asks the store for its time, where it is shared. Called before anything is recorded, and with every heartbeat.
    pub async fn measure_clock(&self) -> Result<(), StoreError> {
        let asked = self.elapsed();
        let answer = tokio::select! {
            answer = self.ports.fleet.store_time() => answer?,
            () = self.ports.clock.sleep(limits::CLOCK_ANSWER) => {
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
        if self.is_fleet() && self.clock_offset().is_none() {
            self.measure_clock().await?;
        }
        Ok(self.now())
    }

    fn take_measured(&self, new: Measured) {
        let elapsed = new.answered;
        self.clocks.told(|told| {
            let Some((clock, steady)) = &mut told.store else {
                let clock = StoreClock::new(new);
                told.store = Some((clock, Steady::new(clock.at(elapsed), elapsed)));
                return;
            };
            let before = clock.at(elapsed);
            if clock.measure(new) {
                let by = i128::from(clock.at(elapsed).0) - i128::from(before.0);
                tracing::warn!(milliseconds = %by, "the store's clock was set");
                if before.since(clock.at(elapsed)) > limits::CLOCK_OFFSET {
                    // What is due would wait as long as that clock went back; time in the log goes back once instead.
                    *steady = Steady::new(clock.at(elapsed), elapsed);
                }
            }
        });
    }

    /// Returns how far this machine's wall clock is from the store's now; `None` where no store is shared, or its time is
    /// not known yet.
    pub fn clock_offset(&self) -> Option<ClockOffset> {
        let elapsed = self.elapsed();
        let (store, error) = self.clocks.told(|told| {
            let (clock, _) = told.store.as_ref()?;
            Some((clock.at(elapsed), clock.error(elapsed)))
        })?;
        // Not the steady one: what counts is how the wall clock stands this moment.
        let own = self.ports.clock.now();
        let offset = i128::from(own.0) - i128::from(store.0);
        Some(ClockOffset {
            offset_ms: i64::try_from(offset).unwrap_or(if offset < 0 { i64::MIN } else { i64::MAX }),
            error_ms: u64::try_from(error.as_millis()).unwrap_or(u64::MAX),
        })
    }

    /// Says why this node's clock forbids it to take work, when it does.
    pub fn clock_fault(&self) -> Option<String> {
        let offset = self.clock_offset().filter(|offset| offset.is_too_far())?;
        Some(format!(
            "clock: this machine's is {}, more than {} s; set it (NTP), nothing is taken until it is right",
            offset.words(),
            limits::CLOCK_OFFSET.as_secs()
        ))
    }
}
