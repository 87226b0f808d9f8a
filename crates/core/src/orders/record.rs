//! Writing standing orders down: in the state directory and the store at the same time, each for a bounded time.

use std::io;

use thiserror::Error;

use super::Recorded;
use super::standing::Orders;
use crate::clocks::NotInTime;
use crate::domain::facts::{Fact, KillSwitchEngaged};
use crate::domain::journal::LogRecord;
use crate::domain::orders::{Barrier, Latch};
use crate::ports::store::{OrderChange, StoreError};

/// Reasons why one copy of an order was not written.
#[derive(Debug, Error)]
pub(crate) enum RecordError {
    /// It took too long; it may be there all the same.
    #[error(transparent)]
    Late(#[from] NotInTime),
    /// The store refused it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The state directory refused it.
    #[error(transparent)]
    Files(#[from] io::Error),
}

impl Orders {
    /// Writes the barrier into the state directory and the store at the same time. The store puts it after everything
    /// that it has admitted by then, which may be more than this process has acknowledged; then the barrier rises.
    /// Says whether the store answered, too.
    pub(crate) async fn record_barrier(&self, barrier: &Barrier) -> (Recorded, Result<(), RecordError>) {
        self.write_barrier(Barrier { seq: None, ..barrier.clone() }, barrier).await
    }

    /// Writes one form of a barrier into the store and the other into the state directory.
    pub(super) async fn write_barrier(
        &self,
        asked: Barrier,
        barrier: &Barrier,
    ) -> (Recorded, Result<(), RecordError>) {
        let store = async {
            let raised = self.in_time(self.store.set_orders(OrderChange::Raise(asked), Vec::new())).await;
            raised.map(|orders| {
                // The store's barrier may reach further than this process knew, since other nodes admit
                // agents too. What runs here and is covered by that alone is ordered now.
                if let Some(raised) = &orders.barrier {
                    self.standing().orders.raise_placed(raised.clone());
                    self.order_live();
                }
                orders.barrier
            })
        };
        let file = self.in_time(self.files.write_barrier(barrier));
        // At the same time, each with a deadline: an order must not wait for a disk that hangs when the store would
        // take it, nor the other way round.
        let (store, mut file) = tokio::join!(store, file);
        if let Ok(Some(placed)) = &store
            && barrier.before.0 > 0
        {
            // The file said it by time; what it says from here on ends nothing that comes later.
            file = self.in_time(self.files.write_barrier(placed)).await;
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
            let stored = self.in_time(self.store.set_orders(OrderChange::Engage(latch.clone()), facts)).await;
            // Who engaged it first stands, also when that was before this server knew.
            stored.map(|orders| {
                let mut standing = self.standing();
                standing.stored_latch.clone_from(&orders.latch);
                standing.orders.take_latch(orders.latch);
            })
        };
        let file = self.in_time(self.files.write_latch(Some(latch)));
        // As with the barrier: one of the two places is enough for the order to outlive this process.
        let (store, file) = tokio::join!(store, file);
        let recorded = weigh("kill switch", &store, &file);
        let mut standing = self.standing();
        standing.latch_unwritten = store.is_err() || file.is_err();
        standing.memory_only = recorded == Recorded::Memory;
        recorded
    }

    /// Waits for one write of an order, at most as long as [`Clocks::timely`](crate::clocks::Clocks) does.
    pub(super) async fn in_time<T, E>(
        &self,
        write: impl Future<Output = Result<T, E>>,
    ) -> Result<T, RecordError>
    where
        RecordError: From<E>,
    {
        Ok(self.clocks.timely(write).await??)
    }
}

/// Either copy is enough; each that failed is logged.
fn weigh(what: &str, store: &Result<(), RecordError>, file: &Result<(), RecordError>) -> Recorded {
    for (place, result) in [("store", store), ("state directory", file)] {
        if let Err(e) = result {
            tracing::error!(error = %e, place, "{what} is in force, but could not be written down");
        }
    }
    if store.is_ok() || file.is_ok() { Recorded::Durable } else { Recorded::Memory }
}
