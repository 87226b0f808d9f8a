//! In which order waiting work starts: priority 1 first, then age, with ageing so that nothing starves.
//!
//! The order is one number per entry that never changes: the time of admission plus priority × ageing step. An
//! entry of priority p is therefore overtaken only by entries of priority q < p that were admitted at most
//! (p − q) × 10 minutes after it: with ten priorities nothing waits behind work that came more than 90 minutes
//! later, and a store can keep the order in an ordinary index.

use super::ids::Timestamp;
use super::spec::Priority;
use crate::limits::AGEING_STEP;

/// Returns the rank of an entry: the lowest starts first; equal ranks go by order of admission.
pub fn rank(priority: Priority, admitted: Timestamp) -> u64 {
    admitted.plus(AGEING_STEP * u32::from(priority.get())).0
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::Duration;

    fn p(n: u64) -> Priority {
        Priority::try_from(n).unwrap()
    }

    #[test]
    fn priority_first_then_age() {
        let t = Timestamp(1_000_000);
        assert!(rank(p(1), t.plus(Duration::from_secs(60))) < rank(p(2), t));
        assert!(rank(p(5), t) < rank(p(5), t.plus(Duration::from_millis(1))));
    }

    proptest! {
        #[test]
        fn nothing_is_overtaken_by_work_that_came_ninety_minutes_later(a in 1u64..=10, b in 1u64..=10, at in 0u64..1u64<<40, gap in 0u64..1u64<<30) {
            let (old, new) = (Timestamp(at), Timestamp(at + gap));
            let overtaken = rank(p(b), new) < rank(p(a), old);
            let bound = AGEING_STEP.as_millis() as u64 * a.saturating_sub(b);
            prop_assert_eq!(overtaken, gap < bound);
            prop_assert!(!overtaken || gap < 90 * 60 * 1000);
        }
    }
}
