//! When a failed attempt is tried again: 5 s × 2ⁿ, at most 5 minutes, jitter ±50 %.

use std::time::Duration;

use crate::limits::{BACKOFF_CAP, BACKOFF_FIRST};

/// Returns the delay after the given attempt (from 1). `dice` is uniform in 0..1 and decides the jitter: the
/// delay lies between half and one and a half times the base, the base being 5 s × 2^(attempt − 1) up to 5 min.
pub fn backoff(attempt: u32, dice: f64) -> Duration {
    let doublings = attempt.saturating_sub(1).min(16);
    let base = BACKOFF_FIRST.saturating_mul(1 << doublings).min(BACKOFF_CAP);
    base.mul_f64(0.5 + dice.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_up_to_the_cap_and_jitters_by_half() {
        let middle: Vec<u64> = (1..=8).map(|n| backoff(n, 0.5).as_secs()).collect();
        assert_eq!(middle, [5, 10, 20, 40, 80, 160, 300, 300]);
        assert_eq!(backoff(1, 0.0), Duration::from_millis(2500));
        assert_eq!(backoff(u32::MAX, 1.0), Duration::from_secs(450));
    }
}
