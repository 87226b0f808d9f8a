//! Time, ids and chance come in through here, so that tests decide them.

use std::time::Duration;

use async_trait::async_trait;

use crate::domain::ids::{AgentId, Timestamp};

/// Tells time and waits. The only way anything in the core sleeps.
#[async_trait]
pub trait Clock: Send + Sync {
    /// Returns the wall-clock time. May jump; used for timestamps and for deadlines that must survive a restart.
    fn now(&self) -> Timestamp;

    /// Returns the time since some moment before the first call. Never jumps, whatever is done to the wall clock, and runs
    /// on while the machine sleeps. The same for every process of this machine until it is started again, so that a
    /// moment can be told to a supervisor.
    fn elapsed(&self) -> Duration;

    /// Returns once this much monotonic time has passed.
    async fn sleep(&self, time: Duration);
}

/// Makes ids and throws dice.
pub trait Chance: Send + Sync {
    /// Returns a new random (version 4) agent id.
    fn agent_id(&self) -> AgentId;

    /// Returns a number uniform in 0..1.
    fn dice(&self) -> f64;
}
