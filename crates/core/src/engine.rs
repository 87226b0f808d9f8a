//! The engine: the dispatcher that fills slots, and one driver per agent that performs effects and feeds what
//! happened back into the lifecycle.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::orchestrator::Orchestrator;

/// How a running engine is told to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// Not at all.
    No,
    /// Take nothing new; wait this long for what runs, then give it back to the queue.
    Drain(Duration),
    /// Give everything back to the queue at once.
    Now,
}

/// Runs the dispatcher until told to stop and everything has been given back or finished. First repairs what an
/// earlier server left behind.
pub async fn run(orchestrator: Arc<Orchestrator>, stop: watch::Receiver<Stop>) {
    let _ = (orchestrator, stop);
}
