//! Leases of live drivers by this node's clock.

use std::time::Duration;

use crate::clocks::Clocks;
use crate::driver::AgentHandle;
use crate::limits;

impl AgentHandle {
    /// Returns when the lease is over, as far as is known now; never when `None`.
    pub(crate) fn held_until(&self) -> Option<Duration> {
        *self.held.borrow()
    }

    /// Waits until the lease is over by this node's clock.
    pub(crate) async fn lapsed(&self, clocks: &Clocks) {
        let mut held = self.held.subscribe();
        loop {
            let until = *held.borrow_and_update();
            let left = match until {
                Some(until) => until.saturating_sub(clocks.elapsed()),
                None => Duration::MAX,
            };
            if left.is_zero() {
                return;
            }
            tokio::select! {
                () = clocks.sleep(left.min(limits::LONGEST_GRACE)) => {}
                // Errors never while the driver is borrowed.
                _ = held.changed() => {}
            }
        }
    }

    /// Tells whether the lease is over by this node's clock.
    pub(crate) fn has_lapsed(&self, clocks: &Clocks) -> bool {
        self.held_until().is_some_and(|until| clocks.elapsed() >= until)
    }

    /// Waits until this much is left of the lease, at most one term; returns whether it is.
    pub(crate) async fn holds_for(&self, clocks: &Clocks, least: Duration) -> bool {
        let Some(term) = clocks.term() else { return true };
        let (mut held, mut lost) = (self.held.subscribe(), self.lost.subscribe());
        let enough = |until: &Option<Duration>| until.is_none_or(|until| until >= clocks.elapsed() + least);
        tokio::select! {
            biased;
            // Asked first: the end that was told last may lie ahead although another node holds the agent by now.
            _ = lost.wait_for(|lost| *lost) => false,
            held = held.wait_for(enough) => held.is_ok(),
            () = clocks.sleep(term) => false,
        }
    }
}
