//! Notices that the server's clock was set. Leases are counted by it: one that was set forward ends them all at once while
//! their agents live on. So for a whole term after that nothing counts as lapsed, as after every new connection.

use std::time::{Duration, Instant};

use mosaic_core::limits;
use parking_lot::Mutex;

/// The server's clock as it was seen last.
#[derive(Debug, Default)]
pub(super) struct SetClock(Mutex<Seen>);

#[derive(Debug, Default)]
struct Seen {
    /// When the server was asked, and the time that it told.
    last: Option<(Instant, u64)>,
    /// When it was found to have been set forward.
    set: Option<Instant>,
}

impl SetClock {
    /// Takes the time that the server told to a question of this moment.
    pub(super) fn tells(&self, asked: Instant, time: u64) {
        let mut seen = self.seen();
        if latest(&seen).is_some_and(|latest| time > latest) {
            tracing::warn!(
                "the store's clock was set forward; leases count as over no sooner than in a whole term"
            );
            seen.set = Some(Instant::now());
        }
        seen.last = Some((asked, time));
    }

    /// Returns the latest time that the server's clock may show now unless it was set; 0 when that is not known.
    pub(super) fn latest(&self) -> u64 {
        latest(&self.seen()).unwrap_or(0)
    }

    /// Tells whether it was set less than this ago.
    pub(super) fn was_set_within(&self, term: Duration) -> bool {
        self.seen().set.is_some_and(|at| at.elapsed() < term)
    }

    fn seen(&self) -> parking_lot::MutexGuard<'_, Seen> {
        self.0.lock()
    }
}

fn latest(seen: &Seen) -> Option<u64> {
    // It told its time after it was asked, so an honest clock is never ahead of this.
    let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let (asked, time) = seen.last?;
    Some(time.saturating_add(ms(asked.elapsed() + limits::STORE_CLOCK_SET)))
}
