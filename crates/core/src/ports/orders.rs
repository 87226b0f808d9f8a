//! The state directory's copy of the standing orders: what the command line leaves there while no server answers, and
//! what a server leaves for the next one. The store has a copy of its own; either is enough.

use std::io;

use async_trait::async_trait;

use crate::domain::ids::AgentId;
use crate::domain::orders::{Barrier, KillOrder, Latch, StandingOrders};

/// What the files say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filed {
    /// Barrier and latch. A latch that cannot be read counts as engaged.
    pub orders: StandingOrders,
    /// The file `STOP` is there: the last resort of an operator.
    pub stop: bool,
    /// Orders about single agents.
    pub kills: Vec<KillOrder>,
}

/// Reads and writes standing orders in the state directory. Every write is atomic and survives the loss of power once
/// it has returned.
#[async_trait]
pub trait OrderFiles: Send + Sync {
    /// Reads everything. Never fails: what cannot be read is logged, and taken for an order where that is the safe side.
    /// Called before every round of dispatching, so it is cheap.
    async fn read(&self) -> Filed;

    /// Raises the barrier: what stands there already is merged, so it never sinks.
    async fn write_barrier(&self, barrier: &Barrier) -> io::Result<()>;

    /// Engages the latch, or takes it away. Idempotent; a latch that stands there stays.
    async fn write_latch(&self, latch: Option<&Latch>) -> io::Result<()>;

    /// Removes the order about one agent: it was carried out and that is durable. Idempotent.
    async fn forget_kill(&self, agent: AgentId) -> io::Result<()>;

    /// Returns where the file `STOP` would be, for people.
    fn stop_path(&self) -> String;
}
