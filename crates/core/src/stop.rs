//! The order to a running engine to stop, and how.

use std::time::Duration;

/// The way in which a running engine is to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// Not at all.
    No,
    /// Take nothing new and leave the agents to the next server: their programs run on under their supervisors, other
    /// steps get this long to come to their end.
    Leave(Duration),
    /// Take nothing new; wait this long for what runs, then give it back to the queue.
    Drain(Duration),
    /// Give everything back to the queue at once.
    Now,
}
