//! The number of replicas that must confirm a write, remembered over every connection of this process.
//!
//! A primary that loses its replicas may be the one that a failover is just replacing: what it takes then is lost. So a
//! store that once had replicas acknowledges nothing with fewer of them, until a grace has passed in which a failover
//! would have come to its end; and nothing at all without any, unless the operator accepted that.

use std::time::Duration;

use mosaic_core::limits;
use parking_lot::Mutex;
use tokio::time::Instant;

/// See the module.
#[derive(Debug)]
pub(super) struct Quorum {
    /// The operator accepted that acknowledged work may be lost.
    accept_risk: bool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Replicas that must confirm.
    needed: u64,
    /// Since when there have been fewer.
    fewer_since: Option<Instant>,
}

/// Reason why nothing is acknowledged: fewer replicas than there were.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Short {
    /// Replicas that are connected.
    pub(super) connected: u64,
    /// Replicas that must confirm.
    pub(super) needed: u64,
    /// Time after which the connected ones are enough; none when they never are.
    pub(super) left: Option<Duration>,
}

impl std::error::Error for Short {}

impl std::fmt::Display for Short {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { connected, needed, left } = self;
        write!(
            f,
            "it has {connected} of its {needed} replicas, so a failover could take back what it is given; "
        )?;
        match left {
            Some(left) => write!(f, "if it stays so, the rest are enough in {} s", left.as_secs() + 1),
            None => f.write_str(
                "it takes more once a replica is back (MOSAIC_VALKEY_ACCEPT_RISK=true goes on without one)",
            ),
        }
    }
}

impl Quorum {
    /// Begins without having seen a replica.
    pub(super) fn new(accept_risk: bool) -> Self {
        Self { accept_risk, state: Mutex::default() }
    }

    /// Takes note of how many replicas are connected now, and returns how many must confirm.
    pub(super) fn required(&self, connected: u64, now: Instant) -> Result<u64, Short> {
        let mut state = self.state.lock();
        if connected >= state.needed {
            (state.needed, state.fewer_since) = (connected, None);
            return Ok(connected);
        }
        // The requirement rises at once and falls late. A replica that has just gone may be the one with the
        // newest writes, and it may come back as the primary.
        let since = *state.fewer_since.get_or_insert(now);
        let left = limits::REPLICA_GRACE.saturating_sub(now.saturating_duration_since(since));
        let may_be_enough = connected > 0 || self.accept_risk;
        if may_be_enough && left.is_zero() {
            tracing::warn!(
                store.replicas = connected,
                store.replicas_before = state.needed,
                "the store has had fewer replicas for {} s; the rest must be enough",
                limits::REPLICA_GRACE.as_secs()
            );
            (state.needed, state.fewer_since) = (connected, None);
            return Ok(connected);
        }
        Err(Short { connected, needed: state.needed, left: may_be_enough.then_some(left) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fewer_replicas_are_enough_only_after_the_grace() {
        let (quorum, now, half) = (Quorum::new(false), Instant::now(), limits::REPLICA_GRACE / 2);
        assert_eq!(quorum.required(0, now), Ok(0), "a server that never had one needs none");
        assert_eq!(quorum.required(2, now), Ok(2));
        let short = quorum.required(1, now).unwrap_err();
        assert_eq!((short.connected, short.needed, short.left), (1, 2, Some(limits::REPLICA_GRACE)));
        assert!(quorum.required(1, now + half).is_err());
        assert_eq!(quorum.required(2, now + half), Ok(2), "the second is back");
        assert!(quorum.required(1, now + half * 2).is_err(), "the grace begins anew");
        assert!(quorum.required(1, now + half * 3).is_err());
        assert_eq!(quorum.required(1, now + half * 4), Ok(1));
    }

    #[test]
    fn without_any_replica_nothing_is_safe_unless_the_risk_was_accepted() {
        for (accept_risk, after) in [(false, None), (true, Some(0))] {
            let (quorum, now) = (Quorum::new(accept_risk), Instant::now());
            assert_eq!(quorum.required(1, now), Ok(1));
            assert!(quorum.required(0, now).is_err());
            assert_eq!(quorum.required(0, now + limits::REPLICA_GRACE * 10).ok(), after);
        }
    }
}
