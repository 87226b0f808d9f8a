//! Time that never goes back: what is written into logs and records, whatever is done to the wall clock. Forward it
//! follows at once; when the wall clock is set back it goes on a little slower until the wall clock has caught up. Only a
//! clock that was wrong by more than a day is not worth that: then the wall clock counts again at once, as it does at a
//! start. Pure.

use std::time::Duration;

use super::ids::Timestamp;
use crate::limits;

/// Speed of this clock while the wall clock is behind, in thousandths of real time: ten hours after the wall clock was set back
/// by one hour the two agree again, and nothing that waits until a certain time waits noticeably longer.
pub const CATCHING_UP_PERMILLE: u32 = 900;

/// A clock, as the newest time that it told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MonotonicClock {
    told: Timestamp,
    at: Duration,
}

impl MonotonicClock {
    /// Starts at this time; `elapsed` is monotonic.
    pub fn new(told: Timestamp, elapsed: Duration) -> Self {
        Self { told, at: elapsed }
    }

    /// Returns the time now, never less than what was told before, but for a clock that was wrong by more than
    /// [`limits::LOG_AHEAD`].
    pub fn now(&mut self, wall: Timestamp, elapsed: Duration) -> Timestamp {
        if self.told.since(wall) > limits::LOG_AHEAD {
            // It followed a jump that was taken back.
            *self = Self { told: wall, at: elapsed };
            return wall;
        }
        let passed = elapsed.saturating_sub(self.at).saturating_mul(CATCHING_UP_PERMILLE) / 1000;
        let slow = self.told.plus(passed);
        if wall >= self.told && wall >= slow {
            *self = Self { told: wall, at: elapsed };
        } else if slow > self.told {
            // Less than a millisecond stays in `at` until it is one.
            *self = Self { told: slow, at: elapsed };
        }
        self.told
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 3_600_000;

    #[test]
    fn it_never_goes_back_and_finds_the_wall_clock_again() {
        let mut clock = MonotonicClock::new(Timestamp(10 * HOUR), Duration::ZERO);
        let mut before = Timestamp(0);
        let mut agreed = None;
        // An hour back after one hour; a look per second.
        for second in 0..20 * 3600_u64 {
            let wall = Timestamp(10 * HOUR + second * 1000 - if second >= 3600 { HOUR } else { 0 });
            let told = clock.now(wall, Duration::from_secs(second));
            assert!(told >= before, "second {second}");
            assert!(told >= wall);
            before = told;
            if second > 3600 && told == wall {
                agreed = agreed.or(Some(second));
            }
        }
        let hours = agreed.map(|second| second / 3600);
        assert!(matches!(hours, Some(10..=12)), "they agree after {hours:?} hours");
    }

    #[test]
    fn a_jump_by_years_that_is_taken_back_is_forgotten() {
        let year = 365 * 24 * HOUR;
        let mut clock = MonotonicClock::new(Timestamp(HOUR), Duration::ZERO);
        assert_eq!(clock.now(Timestamp(10 * year), Duration::from_secs(1)), Timestamp(10 * year));
        let back = Timestamp(HOUR + 2000);
        assert_eq!(clock.now(back, Duration::from_secs(2)), back);
        assert_eq!(clock.now(Timestamp(back.0 + 5), Duration::from_millis(2005)), Timestamp(back.0 + 5));
    }

    #[test]
    fn it_follows_forward_at_once_and_counts_short_looks() {
        let mut clock = MonotonicClock::new(Timestamp(HOUR), Duration::ZERO);
        assert_eq!(clock.now(Timestamp(2 * HOUR), Duration::from_secs(1)), Timestamp(2 * HOUR));
        for micro in 1..=10_000 {
            clock.now(Timestamp(HOUR), Duration::from_secs(1) + Duration::from_micros(micro));
        }
        let told = clock.now(Timestamp(HOUR), Duration::from_millis(1010)).0 - 2 * HOUR;
        assert!((8..=9).contains(&told), "10 ms became {told}");
    }
}
