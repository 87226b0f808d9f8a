//! When a failed attempt is tried again: 5 s × 2ⁿ, at most 5 minutes, jitter ±50 %, unless the caller said otherwise.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::limits::{BACKOFF_ASKED_MS, BACKOFF_CAP, BACKOFF_FIRST};

/// Growth of the pauses before automatic retries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BackoffKind {
    /// Always the same.
    Fixed,
    /// Doubled each time.
    Exponential,
}

impl BackoffKind {
    /// All kinds.
    pub const ALL: [Self; 2] = [Self::Fixed, Self::Exponential];

    /// Returns the word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fixed => "fixed",
            Self::Exponential => "exponential",
        }
    }
}

/// The pauses before automatic retries as the caller wants them, in the words of BullMQ.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Backoff {
    /// Growth of the pauses.
    #[serde(rename = "type")]
    pub kind: BackoffKind,
    /// The first pause in milliseconds, at most [`BACKOFF_ASKED_MS`].
    pub delay: u64,
    /// The part of a pause that is random, 0..1: a pause lies between (1 − jitter) and 1 times its length.
    #[serde(default)]
    pub jitter: f64,
}

/// Returns the delay after the given attempt (from 1). `dice` is uniform in 0..1 and decides the jitter: the
/// delay lies between half and one and a half times the base, the base being 5 s × 2^(attempt − 1) up to 5 min.
pub fn backoff(attempt: u32, dice: f64) -> Duration {
    let doublings = attempt.saturating_sub(1).min(16);
    let base = BACKOFF_FIRST.saturating_mul(1 << doublings).min(BACKOFF_CAP);
    base.mul_f64(0.5 + dice.clamp(0.0, 1.0))
}

/// Returns the delay after the given attempt (from 1) as the caller wants it: fixed, or doubled each time up to
/// [`BACKOFF_ASKED_MS`], less a random part of it up to the jitter.
pub fn asked(backoff: Backoff, attempt: u32, dice: f64) -> Duration {
    let doublings = match backoff.kind {
        BackoffKind::Fixed => 0,
        BackoffKind::Exponential => attempt.saturating_sub(1).min(32),
    };
    let base = backoff.delay.saturating_mul(1 << doublings).min(BACKOFF_ASKED_MS);
    Duration::from_millis(base).mul_f64(1.0 - backoff.jitter.clamp(0.0, 1.0) * dice.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_caller_wants_is_done() {
        let fixed = Backoff { kind: BackoffKind::Fixed, delay: 700, jitter: 0.0 };
        assert_eq!([1, 2, 9].map(|n| asked(fixed, n, 0.7).as_millis()), [700, 700, 700]);
        let growing = Backoff { kind: BackoffKind::Exponential, delay: 1000, jitter: 0.5 };
        assert_eq!([1, 2, 3].map(|n| asked(growing, n, 0.0).as_millis()), [1000, 2000, 4000]);
        assert_eq!(asked(growing, 2, 1.0), Duration::from_millis(1000));
        assert_eq!(asked(growing, u32::MAX, 0.0), Duration::from_millis(BACKOFF_ASKED_MS));
    }

    #[test]
    fn doubles_up_to_the_cap_and_jitters_by_half() {
        let middle: Vec<u64> = (1..=8).map(|n| backoff(n, 0.5).as_secs()).collect();
        assert_eq!(middle, [5, 10, 20, 40, 80, 160, 300, 300]);
        assert_eq!(backoff(1, 0.0), Duration::from_millis(2500));
        assert_eq!(backoff(u32::MAX, 1.0), Duration::from_secs(450));
    }
}
