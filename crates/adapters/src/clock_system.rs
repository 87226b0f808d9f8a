//! The system's clock and random source: the one place where the program waits for time and throws dice.

use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use mosaic_core::domain::ids::{AgentId, Timestamp};
use mosaic_core::ports::clock::{Chance, Clock};

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

#[async_trait]
impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        SystemTime::now().into()
    }

    fn elapsed(&self) -> Duration {
        since_boot()
    }

    async fn sleep(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }
}

/// Returns the time since the machine was started, the time that it slept included: the same for every process, so that
/// a deadline can be told to another one and nobody's delay in between makes it later.
pub(crate) fn since_boot() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    // Neither is ever negative for this clock.
    Duration::new(u64::try_from(now.tv_sec).unwrap_or(0), u32::try_from(now.tv_nsec).unwrap_or(0))
}

/// The machine's random source.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemChance;

impl Chance for SystemChance {
    fn agent_id(&self) -> AgentId {
        AgentId(uuid::Uuid::new_v4())
    }

    fn dice(&self) -> f64 {
        // Dice only spread retries: without a random source they fall in the middle.
        let number = getrandom::u64().unwrap_or(1 << 63);
        // 53 bits are what the fraction of an f64 holds, so that 1 itself is never reached.
        #[expect(
            clippy::cast_precision_loss,
            reason = "the shift leaves 53 bits, which an f64 holds exactly"
        )]
        let fraction = (number >> 11) as f64 / (1_u64 << 53) as f64;
        fraction
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dice_fall_between_zero_and_one_and_ids_differ() {
        let dice: Vec<f64> = (0..1000).map(|_| SystemChance.dice()).collect();
        assert!(dice.iter().all(|fall| (0.0..1.0).contains(fall)));
        assert!((0.4..0.6).contains(&(dice.iter().sum::<f64>() / 1000.0)));
        assert_ne!(SystemChance.agent_id(), SystemChance.agent_id());
        assert_eq!(SystemChance.agent_id().0.get_version_num(), 4);
    }
}
