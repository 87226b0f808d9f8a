//! Spreading: a node that has more of its slots in use than another one gives way to it for a moment, so that work goes to free
//! capacity and not to the node that asks fastest. Pure.

use std::time::Duration;

use crate::limits;

/// The slots of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Load {
    /// Agents that run there.
    pub running: usize,
    /// Agents that may run there at once.
    pub slots: usize,
}

impl Load {
    /// Tells whether nothing more can start there.
    pub fn is_full(self) -> bool {
        self.running >= self.slots
    }

    /// Returns the share of its slots, in thousandths, that are in use once one more agent runs there.
    fn share_with_one_more(self) -> u64 {
        let slots = self.slots.max(1) as u64;
        (self.running as u64 + 1).saturating_mul(1000) / slots
    }

    /// Returns for how long a node with this load gives way to one with the other load; zero where that one is full or has
    /// no smaller share of its slots in use.
    pub fn gives_way_to(self, other: Self) -> Duration {
        if other.is_full() {
            return Duration::ZERO;
        }
        let difference = self.share_with_one_more().saturating_sub(other.share_with_one_more());
        if difference == 0 {
            return Duration::ZERO;
        }
        // The whole difference is worth more than the longest moment: from a quarter on it is always that.
        let thousandths = u32::try_from(difference).unwrap_or(1000).min(1000);
        let moment = limits::SPREAD_MOMENT * 4 * thousandths / 1000;
        moment.clamp(limits::SPREAD_LEAST, limits::SPREAD_MOMENT)
    }
}

/// Moments that nobody used: a node that seems able and takes nothing does not hold up the others for long.
#[derive(Debug, Clone, Copy, Default)]
pub struct Unused {
    since: Duration,
    spent: Duration,
}

impl Unused {
    /// Tells whether another moment may be given at this time.
    pub fn allow(self, now: Duration) -> bool {
        self.spent < limits::SPREAD_UNUSED || now.saturating_sub(self.since) >= limits::SPREAD_PERIOD
    }

    /// Counts a moment after which what was left to others still waited.
    pub fn add(&mut self, moment: Duration, now: Duration) {
        if now.saturating_sub(self.since) >= limits::SPREAD_PERIOD {
            *self = Self { since: now, spent: Duration::ZERO };
        }
        self.spent += moment;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn load(running: usize, slots: usize) -> Load {
        Load { running, slots }
    }

    #[test]
    fn only_a_node_with_a_larger_share_in_use_gives_way_and_longer_the_larger_it_is() {
        assert_eq!(load(0, 10).gives_way_to(load(0, 10)), Duration::ZERO);
        assert_eq!(load(2, 10).gives_way_to(load(3, 10)), Duration::ZERO);
        assert_eq!(load(9, 10).gives_way_to(load(10, 10)), Duration::ZERO, "to one that is full");
        assert_eq!(load(3, 4).gives_way_to(load(0, 0)), Duration::ZERO, "to one without slots");
        // The share counts, and not the number.
        assert_eq!(load(4, 40).gives_way_to(load(1, 4)), Duration::ZERO);
        let (little, much) = (load(1, 40).gives_way_to(load(0, 40)), load(20, 40).gives_way_to(load(0, 40)));
        assert!(!little.is_zero() && little < much, "{little:?} {much:?}");
        assert_eq!(much, limits::SPREAD_MOMENT);
    }

    #[test]
    fn what_nobody_uses_is_given_only_so_often() {
        let (mut unused, begin) = (Unused::default(), Duration::from_secs(100));
        let mut given = Duration::ZERO;
        while unused.allow(begin) {
            unused.add(limits::SPREAD_MOMENT, begin);
            given += limits::SPREAD_MOMENT;
        }
        assert!(given < limits::SPREAD_UNUSED + limits::SPREAD_MOMENT, "{given:?}");
        assert!(unused.allow(begin + limits::SPREAD_PERIOD));
    }

    proptest! {
        #[test]
        fn a_moment_has_its_bounds_and_two_nodes_never_give_way_to_each_other(
            (a, b) in ((0usize..2000, 1usize..2000), (0usize..2000, 1usize..2000))
        ) {
            let (a, b) = (load(a.0, a.1), load(b.0, b.1));
            let (to_b, to_a) = (a.gives_way_to(b), b.gives_way_to(a));
            prop_assert!(to_b.is_zero() || to_a.is_zero());
            prop_assert!(to_b.is_zero() || (limits::SPREAD_LEAST..=limits::SPREAD_MOMENT).contains(&to_b));
        }
    }
}
