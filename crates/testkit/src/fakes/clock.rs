//! Clocks and chance of fakes: a world's own wall clock, and one that runs fast.

use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use mosaic_core::domain::ids::{AgentId, Timestamp};
use mosaic_core::ports::clock::{Chance, Clock};

use super::knobs;
use super::world::Part;

#[async_trait]
impl Clock for Part {
    fn now(&self) -> Timestamp {
        self.0.knobs.wall().plus(Duration::from_millis(self.0.skipped.load(Ordering::SeqCst)))
    }
    fn elapsed(&self) -> Duration {
        knobs::elapsed()
    }
    async fn sleep(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }
}

impl Chance for Part {
    fn agent_id(&self) -> AgentId {
        AgentId(uuid::Uuid::new_v4())
    }
    fn dice(&self) -> f64 {
        // Spread without chance, so that a failing story fails again.
        (self.0.ids.fetch_add(1, Ordering::SeqCst) % 10) as f64 / 10.0
    }
}

/// Factor by which [`HastyClock`] runs faster than the real one.
const HASTE: u32 = 50;

/// A clock whose waits are short and whose monotonic time runs fast.
pub struct HastyClock;

#[async_trait]
impl Clock for HastyClock {
    fn now(&self) -> Timestamp {
        SystemTime::now().into()
    }
    fn elapsed(&self) -> Duration {
        knobs::elapsed() * HASTE
    }
    async fn sleep(&self, time: Duration) {
        tokio::time::sleep(time / HASTE).await;
    }
}

/// Real ids, and dice that always fall in the middle.
pub struct RealIds;

impl Chance for RealIds {
    fn agent_id(&self) -> AgentId {
        AgentId(uuid::Uuid::new_v4())
    }
    fn dice(&self) -> f64 {
        0.5
    }
}

/// This machine's clock.
pub struct RealClock;

#[async_trait]
impl Clock for RealClock {
    fn now(&self) -> Timestamp {
        SystemTime::now().into()
    }
    fn elapsed(&self) -> Duration {
        knobs::elapsed()
    }
    async fn sleep(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }
}
