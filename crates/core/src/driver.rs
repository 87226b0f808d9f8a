//! The handle of a live driver, and the orders that reach its agent through it. The loop itself is in [`crate::drive`].

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::watch;

use crate::domain::ids::{AgentId, Timestamp};
use crate::domain::lifecycle::KillCause;
use crate::domain::stop::{StopCause, StopReceipt};
use crate::ports::store::{Lease, Versioned};

/// A leased entry, ready to be driven.
pub(crate) struct Taken {
    /// The right to drive it.
    pub(crate) lease: Lease,
    /// The record as it was taken.
    pub(crate) record: Versioned,
    /// When the store was asked, by this node's clock: the lease began later.
    pub(crate) asked: Duration,
}

/// Way in which a driver comes to its agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Entry {
    /// From the queue.
    Leased,
    /// From a server that is gone.
    TakenOver,
}

/// The live drivers of this node, by their agents.
#[derive(Default)]
pub(crate) struct Drivers(Mutex<HashMap<AgentId, Arc<AgentHandle>>>);

impl Drivers {
    pub(crate) fn lock(&self) -> MutexGuard<'_, HashMap<AgentId, Arc<AgentHandle>>> {
        self.0.lock()
    }

    /// Returns how many agents this node runs now.
    pub(crate) fn count(&self) -> usize {
        self.0.lock().len()
    }
}

/// An order to a driver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Order {
    /// End the agent.
    Kill(KillCause, String),
    /// Give the agent back to the queue: the server stops.
    Interrupt,
}

/// Handle of a live driver: the way in which orders reach its agent, and what others may know of it.
pub(crate) struct AgentHandle {
    /// Its agent's place in the order of admissions.
    pub(crate) seq: u64,
    /// When its agent was admitted.
    pub(crate) spawned_at: Timestamp,
    pub(crate) order: watch::Sender<Option<Order>>,
    pub(crate) done: watch::Sender<bool>,
    /// A kill has verified that nothing is alive.
    pub(crate) empty: watch::Sender<bool>,
    pub(crate) receipt: Mutex<Option<StopReceipt>>,
    /// Stop that does not stand in the record yet.
    stop: Mutex<Option<(StopCause, StopReceipt)>>,
    /// The agent is to stand still; see [`crate::freeze`].
    pub(crate) frozen: watch::Sender<bool>,
    /// Held while its program is frozen or thawed, so that the program does what was ordered last.
    pub(crate) freezing: tokio::sync::Mutex<()>,
    /// The right by which it acts; nothing for one that only stands in.
    pub(crate) lease: Option<Lease>,
    /// Until when that holds, by this node's clock; indefinitely when `None`.
    pub(crate) held: watch::Sender<Option<Duration>>,
    /// True once another holder was given the agent.
    pub(crate) lost: watch::Sender<bool>,
    /// Held while somebody looks into the agent's tree; see [`crate::steps::live`].
    pub(crate) looks: tokio::sync::Mutex<()>,
    /// The record as it was decided last, which the store may not have yet.
    seen: Mutex<Versioned>,
}

impl AgentHandle {
    /// Makes one that stands in where nobody drives: it has no lease and gets no orders.
    pub(crate) fn new(record: &Versioned) -> Arc<Self> {
        Self::made(record, None, None)
    }

    /// Makes one that acts by a lease, which holds until then.
    pub(crate) fn of(record: &Versioned, lease: &Lease, held: Option<Duration>) -> Arc<Self> {
        Self::made(record, Some(lease.clone()), held)
    }

    fn made(record: &Versioned, lease: Option<Lease>, held: Option<Duration>) -> Arc<Self> {
        Arc::new(Self {
            lease,
            held: watch::Sender::new(held),
            lost: watch::Sender::new(false),
            seq: record.seq,
            spawned_at: record.agent.spawned_at,
            order: watch::Sender::new(None),
            done: watch::Sender::new(false),
            empty: watch::Sender::new(false),
            receipt: Mutex::new(None),
            stop: Mutex::new(None),
            frozen: watch::Sender::new(false),
            freezing: tokio::sync::Mutex::new(()),
            looks: tokio::sync::Mutex::new(()),
            seen: Mutex::new(record.clone()),
        })
    }

    /// Returns what the stop of its processes found and did, once it is verified.
    pub(crate) fn receipt(&self) -> Option<StopReceipt> {
        self.receipt.lock().clone()
    }

    /// Notes a verified stop for the record. One that found nothing does not hide one that did.
    pub(crate) fn note_stop(&self, cause: StopCause, receipt: &StopReceipt) {
        let mut slot = self.stop.lock();
        match slot.as_mut() {
            Some((before, known)) if known.processes_before > 0 || receipt.processes_before == 0 => {
                known.container.clone_from(&receipt.container);
                // An order that comes during a supervisor's own stop is the cause that people look for. The
                // counts stay those of the stop that found processes.
                if cause == StopCause::Order {
                    *before = cause;
                }
            }
            _ => *slot = Some((cause, receipt.clone())),
        }
    }

    /// Takes the stop that does not stand in the record yet.
    pub(crate) fn take_stop(&self) -> Option<(StopCause, StopReceipt)> {
        self.stop.lock().take()
    }

    /// Waits until nothing of a killed agent is alive; returns whether the driver is done altogether.
    pub(crate) async fn emptied(&self) -> bool {
        let (mut done, mut empty) = (self.done.subscribe(), self.empty.subscribe());
        // An error means the driver's end was dropped, which is as done as can be.
        tokio::select! {
            biased;
            _ = done.wait_for(|done| *done) => true,
            _ = empty.wait_for(|empty| *empty) => false,
        }
    }

    /// Returns the record as it was decided last.
    pub(crate) fn seen(&self) -> MutexGuard<'_, Versioned> {
        self.seen.lock()
    }

    /// Gives an order. A kill is never replaced by an interruption.
    pub(crate) fn give(&self, order: Order) {
        self.order.send_if_modified(|slot| {
            // Each sweep orders the same kill again. Only the first one wakes the driver, since the later
            // ones change nothing.
            let replace = !matches!(slot, Some(Order::Kill(..)));
            if replace {
                *slot = Some(order);
            }
            replace
        });
    }
}
