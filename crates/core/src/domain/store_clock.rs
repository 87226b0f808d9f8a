//! The shared store's clock as one machine knows it: its monotonic clock plus an offset that is measured again and again.
//! The wall clock of the machine has no part in it, so neither a wrong one nor a jump changes what the nodes of a fleet
//! compare. Pure.

use std::time::Duration;

use super::ids::Timestamp;
use crate::limits;

/// One question for the store's time: between these two moments of the monotonic clock it had this time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Measured {
    /// When the store was asked.
    pub asked: Duration,
    /// When its answer was there.
    pub answered: Duration,
    /// Time that the store answered.
    pub time: Timestamp,
}

impl Measured {
    fn middle(self) -> Duration {
        self.asked + self.error()
    }

    /// Returns by how much the middle may be wrong: half of the round trip.
    fn error(self) -> Duration {
        self.answered.saturating_sub(self.asked) / 2
    }
}

/// The store's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoreClock(Measured);

impl StoreClock {
    /// Starts with a first measurement.
    pub fn new(first: Measured) -> Self {
        Self(first)
    }

    /// Returns the store's time at a moment of the monotonic clock.
    pub fn at(&self, elapsed: Duration) -> Timestamp {
        let Self(last) = self;
        match elapsed.checked_sub(last.middle()) {
            Some(later) => last.time.plus(later),
            None => Timestamp(last.time.0.saturating_sub(millis(last.middle().saturating_sub(elapsed)))),
        }
    }

    /// Returns by how much that may be wrong: half the round trip of the measurement, the millisecond in which the
    /// store's time is told, and what two clocks drift apart since.
    pub fn error(&self, elapsed: Duration) -> Duration {
        let Self(last) = self;
        let age = elapsed.saturating_sub(last.middle());
        last.error() + Duration::from_millis(1) + age * limits::CLOCK_DRIFT_PPM / 1_000_000
    }

    /// Takes another measurement. One that is less certain than what is known is not taken, unless the two contradict each
    /// other: then the store's clock was set, and `true` is returned.
    pub fn measure(&mut self, new: Measured) -> bool {
        let (middle, told) = (new.middle(), self.at(new.middle()));
        let apart = Duration::from_millis(told.0.abs_diff(new.time.0));
        let known = self.error(middle);
        let was_set = apart > known + new.error() + Duration::from_millis(1);
        if was_set || new.error() <= known {
            self.0 = new;
        }
        was_set
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    fn measured(asked: u64, answered: u64, time: u64) -> Measured {
        Measured { asked: ms(asked), answered: ms(answered), time: Timestamp(time) }
    }

    #[test]
    fn it_goes_on_with_the_monotonic_clock_and_knows_how_wrong_it_may_be() {
        let clock = StoreClock::new(measured(1000, 1010, 500_000));
        assert_eq!(clock.at(ms(1005)), Timestamp(500_000));
        assert_eq!((clock.at(ms(2005)), clock.at(ms(905))), (Timestamp(501_000), Timestamp(499_900)));
        assert_eq!(clock.error(ms(1005)), ms(6));
        assert!(clock.error(ms(10_001_005)) > ms(1000), "clocks drift apart");
    }

    #[test]
    fn a_slow_answer_does_not_spoil_what_is_known_better() {
        let mut clock = StoreClock::new(measured(1000, 1002, 500_000));
        // The answer lay around for nine seconds.
        assert!(!clock.measure(measured(2000, 11_000, 501_000)));
        assert_eq!(clock.at(ms(2001)), Timestamp(501_000));
        assert!(!clock.measure(measured(20_000, 20_002, 519_010)), "ten milliseconds are drift");
        assert_eq!(clock.at(ms(20_001)), Timestamp(519_010));
    }

    #[test]
    fn a_clock_that_was_set_is_followed_at_once_and_told() {
        let mut clock = StoreClock::new(measured(1000, 1002, 500_000));
        assert!(clock.measure(measured(2000, 2400, 3_600_000)));
        assert_eq!(clock.at(ms(2200)), Timestamp(3_600_000));
        assert!(clock.measure(measured(3000, 3002, 502_000)), "back again");
    }
}
