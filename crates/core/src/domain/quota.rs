//! Limits of a model service that say when they end: an attempt that meets one is deferred until then and does not count,
//! and nothing else of the same credential starts before. Pure.

use std::collections::HashMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::ids::Timestamp;
use crate::limits;

/// When a limit ends, as the service said it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Reset {
    /// At this time.
    At(Timestamp),
    /// This many seconds after it was said.
    After(u64),
    /// The next time that it is this minute of the day in UTC.
    Minute(u16),
}

impl Reset {
    /// Returns the time. One that is past, or hardly ahead, becomes a short wait, so that a service whose clock is wrong is
    /// not asked without pause; one that is absurdly far ahead becomes [`limits::QUOTA_LONGEST`].
    pub fn at(self, now: Timestamp) -> Timestamp {
        const DAY: u64 = 24 * 60;
        let wait = match self {
            Self::At(at) => at.since(now),
            Self::After(seconds) => Duration::from_secs(seconds),
            Self::Minute(minute) => {
                let today = now.0 / 60_000 % DAY;
                let minutes = (u64::from(minute) % DAY + DAY - today) % DAY;
                Duration::from_millis(minutes * 60_000 - (now.0 % 60_000).min(minutes * 60_000))
            }
        };
        now.plus(wait.clamp(limits::QUOTA_LEAST, limits::QUOTA_LONGEST))
    }
}

/// Scope that is held until a limit ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Held {
    /// The runtime and, as a mark that tells nothing of it, its credential.
    pub credential: String,
    /// Until when.
    pub until: Timestamp,
    /// Why, in the service's words.
    pub why: String,
}

/// The limits that are known, by credential.
#[derive(Debug, Default)]
pub struct Quotas(HashMap<String, Held>);

impl Quotas {
    /// Takes a limit; of two for one credential the later end counts. Returns whether it is news.
    pub fn hold(&mut self, held: Held, now: Timestamp) -> bool {
        self.0.retain(|_, known| known.until > now);
        if self.0.len() >= limits::QUOTAS && !self.0.contains_key(&held.credential) {
            return false;
        }
        match self.0.get(&held.credential) {
            Some(known) if known.until >= held.until => false,
            _ => self.0.insert(held.credential.clone(), held).is_none(),
        }
    }

    /// Returns what holds a credential now.
    pub fn of(&self, credential: &str, now: Timestamp) -> Option<&Held> {
        self.0.get(credential).filter(|held| held.until > now)
    }

    /// Lists what is held now, the first end first.
    pub fn held(&self, now: Timestamp) -> Vec<Held> {
        let mut all: Vec<Held> = self.0.values().filter(|held| held.until > now).cloned().collect();
        all.sort_by(|a, b| (a.until, &a.credential).cmp(&(b.until, &b.credential)));
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_796_013_525_000);

    #[test]
    fn a_reset_that_is_past_or_absurd_is_clamped() {
        let hour = Timestamp(NOW.0 + 3_600_000);
        assert_eq!(Reset::At(hour).at(NOW), hour);
        assert_eq!(Reset::After(3600).at(NOW), hour);
        for past in [Reset::At(Timestamp(0)), Reset::At(NOW), Reset::After(0)] {
            assert_eq!(past.at(NOW), NOW.plus(limits::QUOTA_LEAST));
        }
        for far in [
            Reset::At(Timestamp(u64::MAX)),
            Reset::After(u64::MAX),
            Reset::At(NOW.plus(limits::QUOTA_LONGEST * 2)),
        ] {
            assert_eq!(far.at(NOW), NOW.plus(limits::QUOTA_LONGEST));
        }
    }

    #[test]
    fn a_minute_of_the_day_is_the_next_one() {
        let midnight = Timestamp(1_796_000_000_000 / 86_400_000 * 86_400_000);
        let noon = midnight.plus(Duration::from_secs(12 * 3600 + 5));
        let at = |minute| Reset::Minute(minute).at(noon).since(midnight).as_secs();
        assert_eq!((at(15 * 60), at(11 * 60)), (15 * 3600, 35 * 3600));
    }

    #[test]
    fn what_is_held_is_held_until_its_time() {
        let mut quotas = Quotas::default();
        let held = |credential: &str, n| Held {
            credential: credential.to_owned(),
            until: Timestamp(NOW.0 + n),
            why: "limit".to_owned(),
        };
        assert!(quotas.hold(held("a", 100), NOW));
        assert!(!quotas.hold(held("a", 50), NOW), "an earlier end is no news");
        assert!(!quotas.hold(held("a", 200), NOW));
        assert_eq!(quotas.of("a", NOW).map(|held| held.until.0 - NOW.0), Some(200));
        assert!(quotas.of("b", NOW).is_none() && quotas.of("a", Timestamp(NOW.0 + 200)).is_none());
        assert_eq!(quotas.held(NOW).len(), 1);
    }
}
