//! The state directory's copy of the standing orders: what the command line leaves there while no server answers, and
//! what a server leaves for the next one. The store has a copy of its own; either is enough.

use std::io;

use async_trait::async_trait;

use crate::domain::ids::AgentId;
use crate::domain::orders::{Barrier, KillOrder, Latch, StandingOrders};

/// Contents of the order files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filed {
    /// Barrier and latch. A latch whose file was read and makes no sense counts as engaged.
    pub orders: StandingOrders,
    /// Presence of the file `STOP`, an operator's last resort.
    pub stop: StopFile,
    /// Orders about single agents.
    pub kills: Vec<KillOrder>,
    /// Why not everything could be read, when that is so: out of descriptors, a disk that does not answer, no file where
    /// one should be. What is missing is unknown, and no order. Names no absolute path, as callers without a token see it.
    pub unread: Option<String>,
}

/// Presence of the file `STOP`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum StopFile {
    /// It is not there.
    #[default]
    Absent,
    /// It is there, whatever it is.
    There,
    /// The directory cannot be asked, for this reason.
    Unknown(String),
}

/// Reads and writes standing orders in the state directory. Every write is atomic and survives the loss of power once
/// it has returned.
#[async_trait]
pub trait OrderFiles: Send + Sync {
    /// Reads everything. Never fails: what cannot be read is named in [`Filed::unread`]. Called before every round of
    /// dispatching, so it is cheap; it answers within [`limits::ORDER_RECORD`](crate::limits::ORDER_RECORD) whatever
    /// the disk does.
    async fn read(&self) -> Filed;

    /// Raises the barrier: what stands there already is merged, so it never sinks.
    async fn write_barrier(&self, barrier: &Barrier) -> io::Result<()>;

    /// Engages the latch, or removes it. Idempotent; a latch that stands there stays.
    async fn write_latch(&self, latch: Option<&Latch>) -> io::Result<()>;

    /// Removes the order about one agent: it was carried out and that is durable. Idempotent.
    async fn forget_kill(&self, agent: AgentId) -> io::Result<()>;

    /// Returns where the file `STOP` would be, for people.
    fn stop_path(&self) -> String;
}
