//! Changes of the standing orders.

use crate::domain::ids::AgentId;
use crate::domain::orders::{Barrier, KillOrder, Latch};

/// A change of the standing orders.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OrderChange {
    /// Kill-all. A barrier without a place is put after everything that is admitted at that moment.
    Raise(Barrier),
    /// The kill switch is engaged; a latch that stands already stays.
    Engage(Latch),
    /// The kill switch is released.
    Release,
    /// One agent must end, whoever holds it; an order that stands already stays.
    Kill(KillOrder),
    /// The order to end one agent was carried out, or there is nothing left of it to end.
    Killed(AgentId),
}
