//! The core in a world of fakes: the state machine, and stories of agents, orders, nodes.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

mod conditions;
mod engine;
mod external_changes;
mod fleet;
mod freeze;
mod lifecycle;
mod monitor;
mod orders;
mod stall;
mod steps;
