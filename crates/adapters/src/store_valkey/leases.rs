//! Leases: taking the best entry, taking over what is held.

use mosaic_core::domain::ids::{AgentId, NodeId, Timestamp};
use mosaic_core::limits::{AGEING_STEP, QUEUE_CLASSES, QUEUE_SKIPPED};
use mosaic_core::ports::store::{Lease, StoreError, Versioned};
use redis::Value;

use super::Inner;
use super::args::{self, Args, strange};
use super::pump::Pump;
use super::records;
use super::scripts::{LEASE, TAKE_OVER};

impl Inner {
    /// Takes the best ready entry; see the port.
    pub(super) async fn lease(
        &self,
        pump: &Pump<Value>,
        node: &NodeId,
        now: Timestamp,
    ) -> Result<Option<(Lease, Versioned)>, StoreError> {
        loop {
            let answer = pump.call(Args::default().text(node.as_str()).all(self.deciding(now))).await?;
            if matches!(answer, Value::Nil) {
                return Ok(None);
            }
            // A damaged entry was set aside; the next one may be well.
            if let Some(granted) = self.granted(answer, node).await? {
                return Ok(Some(granted));
            }
        }
    }

    /// Has a script give entries to several that ask; one answer each.
    pub(super) async fn lease_all(&self, askers: Vec<Args>) -> Result<Vec<Value>, StoreError> {
        let mut args = Args::default()
            .number(self.term_ms())
            .number(ageing_ms())
            .number(QUEUE_SKIPPED as u64)
            .number(QUEUE_CLASSES as u64)
            .number(askers.len() as u64);
        for asker in askers {
            args = args.all(asker);
        }
        args::list(self.run(&LEASE, args).await?, "a lease")
    }

    /// Takes over what is leased; see the port.
    pub(super) async fn take_over(
        &self,
        agent: AgentId,
        node: &NodeId,
    ) -> Result<(Lease, Versioned), StoreError> {
        let args = Args::default().number(self.term_ms()).long(agent.to_string()).text(node.as_str());
        let args = args.number(self.set_clock.latest());
        let answer = self.run(&TAKE_OVER, args).await?;
        if let Some(word) = args::text(&answer) {
            return Err(self.refusal(agent, Some(word)).await?);
        }
        self.granted(answer, node).await?.ok_or(StoreError::Quarantined(agent))
    }

    /// Reads what was granted; nothing when the record is damaged and was set aside.
    async fn granted(&self, answer: Value, node: &NodeId) -> Result<Option<(Lease, Versioned)>, StoreError> {
        let parts = args::list(answer, "a lease")?;
        let id = parts.first().and_then(args::text).and_then(|id| id.parse::<AgentId>().ok());
        let id = id.ok_or_else(|| strange("a lease"))?;
        let Some(Value::BulkString(text)) = parts.get(1) else {
            self.look_and_set_aside(id).await?;
            return Ok(None);
        };
        match records::parse(id, text) {
            Ok(record) => {
                let lease = Lease { agent: id, node: node.clone(), epoch: record.epoch };
                Ok(Some((lease, record)))
            }
            Err(why) => {
                self.set_aside(id, text, &why).await?;
                Ok(None)
            }
        }
    }
}

/// Returns what one step of priority is worth.
pub(super) fn ageing_ms() -> u64 {
    u64::try_from(AGEING_STEP.as_millis()).unwrap_or(u64::MAX)
}
