//! Standing orders in force: barrier and latch act in this process's memory the moment they are given, and reach every
//! live driver at once. Writing them down comes after, in the state directory and the store at the same time; neither
//! can hold up a kill. What an earlier server or the command line left is read before anything is dispatched, and the
//! files again before every round.

pub(crate) mod carry_out;
mod look;
mod record;
pub(crate) mod standing;

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::clocks::NotInTime;
use crate::domain::agent::Agent;
use crate::domain::facts::{Fact, KillSwitchReleased};
use crate::domain::journal::LogRecord;
use crate::domain::lifecycle::{Event, KillCause};
use crate::domain::orders::{Barrier, Latch, OrderVerdict};
use crate::driver::Order;
use crate::orders::standing::{Ordered, Orders};
use crate::ports::orders::StopFile;
use crate::ports::store::{OrderChange, StoreError};

/// Where an order is written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Recorded {
    /// In the state directory or the store: it outlives this process.
    Durable,
    /// In this process only: every write failed or took too long. Writing it is tried again.
    Memory,
}

/// The kill switch as people see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SwitchState {
    /// Author, reason and time of the engagement, while it is engaged.
    pub latch: Option<Latch>,
    /// The file `STOP` that must be removed before a release, when it is there.
    pub stop_file: Option<String>,
    /// Where that is written down.
    pub recorded: Recorded,
    /// The newest kill-all.
    pub barrier: Option<Barrier>,
}

/// Why the kill switch stays engaged.
#[derive(Debug, Error)]
pub enum ReleaseError {
    /// The last resort is still in place.
    #[error("the file {0} is still there; remove it, then release again")]
    StopFile(String),
    /// The release could not be written into the store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The release could not be written into the state directory.
    #[error("the state directory still says that dispatch is stopped: {0}")]
    Files(#[from] std::io::Error),
    /// A part of it did not come to its end in time.
    #[error("the kill switch stays engaged, because {part} did not answer: {why}; release again")]
    Late {
        /// The state directory or the store.
        part: &'static str,
        /// For how long it was waited for.
        #[source]
        why: NotInTime,
    },
    /// It is not known whether the last resort is in place.
    #[error("the kill switch stays engaged: {0}; mend that, then release again")]
    Unread(String),
}

impl Orders {
    /// Returns the kill switch as it is.
    pub(crate) fn switch_state(&self) -> SwitchState {
        let standing = self.standing();
        SwitchState {
            latch: standing.orders.latch.clone(),
            stop_file: standing.stop_file.then(|| self.files.stop_path()),
            recorded: if standing.memory_only { Recorded::Memory } else { Recorded::Durable },
            barrier: standing.orders.barrier.clone(),
        }
    }

    /// Returns what the standing orders do with an agent that was just taken; nothing when it may run.
    pub(crate) fn standing_event(&self, agent: &Agent, seq: u64) -> Option<Event> {
        let standing = self.standing();
        let event = match standing.kill(agent.id) {
            Some(kill) => Some(Event::Kill { cause: KillCause::Operator, note: kill.note() }),
            None => standing.orders.event(agent, seq),
        };
        if matches!(event, Some(Event::Kill { .. })) {
            self.note_early(agent.id);
        }
        event
    }

    /// Gives every live driver the order that stands for its agent; returns those that there was one for.
    pub(crate) fn order_live(&self) -> Ordered {
        let mut ordered = Ordered::new();
        let standing = self.standing();
        for (id, driver) in self.drivers.lock().iter() {
            let order = match (standing.kill(*id), standing.orders.verdict(driver.seq, driver.spawned_at)) {
                (Some(kill), _) => Order::Kill(KillCause::Operator, kill.note()),
                (None, OrderVerdict::End { cause, note }) => Order::Kill(cause, note),
                (None, OrderVerdict::Hold) => {
                    let note = standing.orders.latch.as_ref().map(Latch::note).unwrap_or_default();
                    Order::Kill(KillCause::KillAll, note)
                }
                (None, OrderVerdict::Run) => continue,
            };
            driver.give(order);
            ordered.insert(*id, Arc::clone(driver));
        }
        ordered
    }
    /// Stops dispatch in memory and orders what runs to end; returns the latch that stands now, and what was ordered.
    pub(crate) fn latch_now(&self, by: &str, reason: Option<String>) -> (Latch, Ordered) {
        let latch = self.engage(Latch { by: by.to_owned(), reason, at: self.clocks.now() });
        (latch, self.order_live())
    }

    /// Releases the kill switch: first where it is written down, then in memory, so that it is never half released.
    /// Returns whether it was engaged. Errors leave it engaged.
    pub(crate) async fn release(&self, by: &str) -> Result<bool, ReleaseError> {
        let late = |part| move |why| ReleaseError::Late { part, why };
        let (files, store) = ("the state directory", "the store");
        // Held over the whole release: a look that writes the latch down in between would bring it back.
        let _writing = self.clocks.timely(self.writing.lock()).await.map_err(late(files))?;
        let (seen, engaged) = {
            let standing = self.standing();
            (standing.engagements, standing.orders.latch.is_some())
        };
        let filed = self.clocks.timely(self.files.read()).await.map_err(late(files))?;
        match filed.stop {
            StopFile::Absent => {}
            StopFile::There => return Err(ReleaseError::StopFile(self.files.stop_path())),
            StopFile::Unknown(why) => return Err(ReleaseError::Unread(why)),
        }
        let switched = Fact::KillSwitchReleased(KillSwitchReleased { by: by.to_owned() });
        let facts = vec![LogRecord::new(&switched, self.clocks.now())];
        // The store before the file: other nodes follow the store. If this process dies between the two, the file is
        // found at its next start, and everything stays stopped, which is the safe side.
        let released = self.clocks.timely(self.store.set_orders(OrderChange::Release, facts)).await;
        released.map_err(late(store))??;
        self.clocks.timely(self.files.write_latch(None)).await.map_err(late(files))??;
        {
            let mut standing = self.standing();
            standing.stop_file = false;
            standing.releases += 1;
            standing.stored_latch = None;
            // Somebody who engaged it again while this release was under way means to stop everything now; this
            // release does not undo that.
            if standing.engagements == seen {
                standing.orders.latch = None;
                (standing.latch_unwritten, standing.memory_only) = (false, false);
            }
        }
        self.announce_latch();
        self.wake.notify_one();
        Ok(engaged)
    }
}
