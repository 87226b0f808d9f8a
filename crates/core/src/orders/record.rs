//! Writing standing orders down: in the state directory and the store at the same time, each for a bounded time.

use super::Recorded;
use super::standing::Orders;
use crate::domain::facts::{Fact, KillSwitchEngaged};
use crate::domain::journal::LogRecord;
use crate::domain::orders::{Barrier, Latch};
use crate::ports::store::OrderChange;

impl Orders {
    /// Writes the barrier into the state directory and the store at the same time. The store puts it after everything
    /// that it has admitted by then, which may be more than this process has acknowledged; then the barrier rises.
    /// Says whether the store answered, too.
    pub(crate) async fn record_barrier(&self, barrier: &Barrier) -> (Recorded, Result<(), String>) {
        self.write_barrier(Barrier { seq: None, ..barrier.clone() }, barrier).await
    }

    /// Writes one form of a barrier into the store and the other into the state directory.
    pub(super) async fn write_barrier(
        &self,
        asked: Barrier,
        barrier: &Barrier,
    ) -> (Recorded, Result<(), String>) {
        let store = async {
            let stored =
                self.clocks.timely(self.store.set_orders(OrderChange::Raise(asked), Vec::new())).await;
            let raised = stored.and_then(|stored| stored.map_err(|e| e.to_string()));
            raised.map(|orders| {
                if let Some(raised) = &orders.barrier {
                    self.standing().orders.raise_placed(raised.clone());
                    self.order_live();
                }
                orders.barrier
            })
        };
        let file = async {
            let written = self.clocks.timely(self.files.write_barrier(barrier)).await;
            written.and_then(|written| written.map_err(|e| e.to_string()))
        };
        let (store, mut file) = tokio::join!(store, file);
        if let Ok(Some(placed)) = &store
            && barrier.before.0 > 0
        {
            // The file said it by time; what it says from here on ends nothing that comes later.
            let written = self.clocks.timely(self.files.write_barrier(placed)).await;
            file = written.and_then(|written| written.map_err(|e| e.to_string()));
        }
        let store = store.map(drop);
        self.standing().barrier_unwritten = store.is_err() || file.is_err();
        (weigh("kill-all", &store, &file), store)
    }

    /// Writes the latch into the state directory and the store at the same time.
    pub(crate) async fn record_latch(&self, latch: &Latch) -> Recorded {
        if let Ok(_writing) = self.clocks.timely(self.writing.lock()).await {
            return self.write_latch(latch).await;
        }
        // Another write hangs. The next look writes this one.
        let mut standing = self.standing();
        (standing.latch_unwritten, standing.memory_only) = (true, true);
        Recorded::Memory
    }

    pub(super) async fn write_latch(&self, latch: &Latch) -> Recorded {
        let (by, reason) = (latch.by.clone(), latch.reason.clone());
        let engaged = Fact::KillSwitchEngaged(KillSwitchEngaged { by, reason });
        let facts = vec![LogRecord::new(&engaged, self.clocks.now())];
        let store = async {
            let stored = self.clocks.timely(self.store.set_orders(OrderChange::Engage(latch.clone()), facts));
            let stored = stored.await.and_then(|stored| stored.map_err(|e| e.to_string()));
            // Who engaged it first stands, also when that was before this server knew.
            stored.map(|orders| {
                let mut standing = self.standing();
                standing.stored_latch.clone_from(&orders.latch);
                standing.orders.take_latch(orders.latch);
            })
        };
        let file = async {
            let written = self.clocks.timely(self.files.write_latch(Some(latch))).await;
            written.and_then(|written| written.map_err(|e| e.to_string()))
        };
        let (store, file) = tokio::join!(store, file);
        let recorded = weigh("kill switch", &store, &file);
        let mut standing = self.standing();
        standing.latch_unwritten = store.is_err() || file.is_err();
        standing.memory_only = recorded == Recorded::Memory;
        recorded
    }
}

/// Either copy is enough; each that failed is logged.
fn weigh(what: &str, store: &Result<(), String>, file: &Result<(), String>) -> Recorded {
    for (place, result) in [("store", store), ("state directory", file)] {
        if let Err(why) = result {
            tracing::error!(why, place, "{what} is in force, but could not be written down");
        }
    }
    if store.is_ok() || file.is_ok() { Recorded::Durable } else { Recorded::Memory }
}
