//! The order to a running engine to stop, and how; and how far this node is with its shutdown.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::watch;

/// The way in which a running engine is to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// Not at all.
    No,
    /// Take nothing new and leave the agents to the next server: their programs run on under their supervisors, other
    /// steps get this long to come to their end.
    Leave(Duration),
    /// Take nothing new; wait this long for what runs, then return it to the queue.
    Drain(Duration),
    /// Return everything to the queue at once.
    Now,
}

/// Progress of this node's shutdown. Each step is taken at most once, and none is taken back.
pub(crate) struct Shutdown {
    /// Nothing new is taken any more.
    draining: AtomicBool,
    /// The server is asked to end once nothing runs any more.
    drain: watch::Sender<bool>,
    /// Nothing that is stopped gets a grace any more.
    pub(crate) hurry: watch::Sender<bool>,
    /// Drivers let go of their agents, which continue for the next server.
    pub(crate) leaving: watch::Sender<bool>,
}

impl Shutdown {
    pub(crate) fn new() -> Self {
        Self {
            draining: AtomicBool::new(false),
            drain: watch::Sender::new(false),
            hurry: watch::Sender::new(false),
            leaving: watch::Sender::new(false),
        }
    }

    /// Tells whether the node takes nothing new any more.
    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::SeqCst)
    }

    /// Takes nothing new from now on.
    pub(crate) fn refuse_new(&self) {
        self.draining.store(true, Ordering::SeqCst);
    }

    /// Takes nothing new from now on, and asks for the end of this server once nothing runs any more.
    pub(crate) fn drain(&self) {
        self.refuse_new();
        self.drain.send_replace(true);
    }

    /// Waits until a drain is asked for.
    pub(crate) async fn drain_asked(&self) {
        // Errors never: the sender lives as long as this.
        let _ = self.drain.subscribe().wait_for(|asked| *asked).await;
    }
}
