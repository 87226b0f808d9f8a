//! Size of a storm, and the figures that come of it.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use crate::chaos::stop_orders::{GRACE, MARGIN};
use crate::chaos::sweep::Violation;

/// Size and seed of a storm.
#[derive(Debug, Clone, Copy)]
pub struct Wanted {
    /// Nodes.
    pub nodes: usize,
    /// Tasks.
    pub tasks: usize,
    /// Chance that repeats.
    pub seed: u64,
}

/// Figures of a storm.
#[derive(Debug, Default)]
pub struct Figures {
    /// Nodes.
    pub nodes: usize,
    /// Acknowledged tasks.
    pub tasks: usize,
    /// Nodes killed, stopped for longer than a lease, cut off; stores killed.
    pub killed: usize,
    /// See [`Figures::killed`].
    pub stopped: usize,
    /// See [`Figures::killed`].
    pub cut_off: usize,
    /// See [`Figures::killed`].
    pub stores_killed: usize,
    /// Failovers of the store to its replica.
    pub failovers: usize,
    /// Orders to stop that were given while the store was away or on a node that was cut off.
    pub orders: usize,
    /// Orders after which something was alive although grace and margin had passed since everything was well.
    pub outlived: usize,
    /// Runs of agents.
    pub runs: usize,
    /// Pushes that reached the remote.
    pub pushes: usize,
    /// Acknowledged tasks without a record, or not ended.
    pub lost: usize,
    /// Times that two agents of one task were alive at once.
    pub two_alive: usize,
    /// Pushes of a run after a newer one had started.
    pub stale_pushes: usize,
    /// Number of agents by their end.
    pub ends: BTreeMap<String, usize>,
    /// The time until the last task was acknowledged, and from then until everything had ended.
    pub storm: Duration,
    /// See [`Figures::storm`].
    pub calm: Duration,
    /// Violations that were found.
    pub violations: Vec<Violation>,
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} nodes, {} tasks; {} nodes killed, {} stopped, {} cut off, {} stores killed, {} failovers; {} orders to stop, {} \
             outlived by more than {:.1} s; {} agent runs, {} pushes, ends {:?}; {} lost, {} times two alive, {} stale pushes; storm {:.0} s, calm {:.0} s; {} violations",
            self.nodes,
            self.tasks,
            self.killed,
            self.stopped,
            self.cut_off,
            self.stores_killed,
            self.failovers,
            self.orders,
            self.outlived,
            (GRACE + MARGIN).as_secs_f64(),
            self.runs,
            self.pushes,
            self.ends,
            self.lost,
            self.two_alive,
            self.stale_pushes,
            self.storm.as_secs_f64(),
            self.calm.as_secs_f64(),
            self.violations.len()
        )
    }
}
