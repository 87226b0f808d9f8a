//! The callers that wait for entries, by agent. Agents that no caller watches any more are forgotten.

use std::collections::HashMap;

use mosaic_core::domain::ids::AgentId;
use parking_lot::Mutex;
use tokio::sync::watch;

/// The senders of all agents that are watched.
#[derive(Default)]
pub(super) struct Watchers {
    senders: Mutex<HashMap<AgentId, watch::Sender<u64>>>,
}

impl Watchers {
    /// Returns a receiver for this agent, and forgets every agent without a receiver. Watching is rare next to
    /// appending, so the sweep is here.
    pub(super) fn watch(&self, agent: AgentId) -> watch::Receiver<u64> {
        let mut senders = self.senders.lock();
        senders.retain(|_, sender| sender.receiver_count() > 0);
        senders.entry(agent).or_insert_with(|| watch::channel(0).0).subscribe()
    }

    /// Tells whoever watches this agent the newest number.
    pub(super) fn announce(&self, agent: AgentId, newest: u64) {
        let mut senders = self.senders.lock();
        if senders.get(&agent).is_some_and(|sender| sender.send(newest).is_err()) {
            senders.remove(&agent);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    #[test]
    fn forgets_whom_nobody_watches() {
        let watchers = Watchers::default();
        let kept = AgentId(Uuid::from_u128(1));
        let mut receiver = watchers.watch(kept);
        for n in 2..1000 {
            watchers.announce(AgentId(Uuid::from_u128(n)), 1);
            drop(watchers.watch(AgentId(Uuid::from_u128(n))));
        }
        assert!(watchers.senders.lock().len() <= 2);
        watchers.announce(kept, 7);
        assert!(receiver.has_changed().unwrap());
        assert_eq!(*receiver.borrow_and_update(), 7);
        drop(receiver);
        watchers.announce(kept, 8);
        assert!(!watchers.senders.lock().contains_key(&kept));
    }
}
