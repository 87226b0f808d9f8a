//! The times that this node goes by. What is written into records and compared between machines is the store's time where
//! there is a shared store, kept up by this machine's monotonic clock ([`StoreClock`]); what lies in files of this machine is
//! compared with this machine's own wall clock. Where a node is alone its wall clock is both.

use std::time::Duration;

use parking_lot::Mutex;

use crate::domain::steady::Steady;
use crate::domain::store_clock::StoreClock;
use crate::limits;

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
    pub fn words(self) -> String {
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

/// The times that were told last.
#[derive(Debug, Default)]
pub(crate) struct Clocks(Mutex<Told>);

#[derive(Debug, Default)]
pub(crate) struct Told {
    /// Of this machine's wall clock.
    pub(crate) own: Option<Steady>,
    /// Of the store's clock, once it was measured.
    pub(crate) store: Option<(StoreClock, Steady)>,
}

impl Clocks {
    pub(crate) fn told<T>(&self, f: impl FnOnce(&mut Told) -> T) -> T {
        f(&mut self.0.lock())
    }
}
