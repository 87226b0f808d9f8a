//! Leases: taking the best entry, taking over what is held.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};

use mosaic_core::domain::ids::{AgentId, NodeId, Timestamp};
use mosaic_core::domain::placement::Conditions;
use mosaic_core::limits::{AGEING_STEP, QUEUE_CLASSES, QUEUE_SKIPPED};
use mosaic_core::ports::store::{Lease, StoreError, Versioned};
use redis::Value;

use super::args::{self, Args, strange};
use super::batcher::Batcher;
use super::inner::Inner;
use super::needs;
use super::records;
use super::scripts::{LEASE, LEASED_OF, TAKE_OVER};

impl Inner {
    /// Takes the best ready entry; see the port.
    pub(super) async fn lease(
        &self,
        batcher: &Batcher<Value>,
        node: &NodeId,
        now: Timestamp,
    ) -> Result<Option<(Lease, Versioned)>, StoreError> {
        loop {
            let answer = batcher.call(Args::default().text(node.as_str()).all(self.deciding(now))).await?;
            if matches!(answer, Value::Nil | Value::Int(_)) {
                return Ok(None);
            }
            // A damaged entry was set aside; the next one may be well.
            if let Some(granted) = self.granted(answer, node).await? {
                return Ok(Some(granted));
            }
        }
    }

    /// Takes the best ready entry that the conditions allow; see the port. The front of the queue is looked through, then
    /// a part further on, which moves on from call to call.
    pub(super) async fn lease_within(
        &self,
        look_from: &AtomicU64,
        node: &NodeId,
        now: Timestamp,
        conditions: &Conditions,
    ) -> Result<Option<(Lease, Versioned)>, StoreError> {
        let mut from = 0;
        loop {
            let asker = Args::default().text(node.as_str()).all(self.deciding(now));
            let answer = self.lease_some(needs::conditions(conditions), from, vec![asker]).await?.pop();
            match answer.unwrap_or(Value::Nil) {
                Value::Nil => {
                    if from > 0 {
                        look_from.store(0, Ordering::Relaxed);
                    }
                    return Ok(None);
                }
                // Nothing in this part: there is more.
                Value::Int(_) if from == 0 => {
                    from = look_from.load(Ordering::Relaxed).max(QUEUE_SKIPPED as u64);
                }
                Value::Int(next) => {
                    // This is only a hint. Calls that overwrite each other's place cost one look more and never an
                    // entry, because every call looks through the front first.
                    look_from.store(u64::try_from(next).unwrap_or(0), Ordering::Relaxed);
                    return Ok(None);
                }
                // A damaged entry was set aside; the next one may be well.
                answer => {
                    if let Some(granted) = self.granted(answer, node).await? {
                        return Ok(Some(granted));
                    }
                }
            }
        }
    }

    /// Has a script give entries to several that ask; one answer each.
    pub(super) async fn lease_all(&self, askers: Vec<Args>) -> Result<Vec<Value>, StoreError> {
        self.lease_some(needs::conditions(&Conditions::default()), 0, askers).await
    }

    async fn lease_some(
        &self,
        conditions: Args,
        from: u64,
        askers: Vec<Args>,
    ) -> Result<Vec<Value>, StoreError> {
        let mut args = Args::default()
            .number(self.term_ms())
            .number(ageing_ms())
            .number(QUEUE_SKIPPED as u64)
            .number(QUEUE_CLASSES as u64)
            .number(from)
            .all(conditions)
            .number(askers.len() as u64);
        for asker in askers {
            args = args.all(asker);
        }
        args::list(self.run(&LEASE, args).await?, "a lease")
    }

    /// Counts what is leased by repository; see the port.
    pub(super) async fn leased_of(
        &self,
        repositories: &BTreeSet<String>,
    ) -> Result<BTreeMap<String, usize>, StoreError> {
        let marks = repositories.iter().map(|name| needs::repository(name));
        let args = marks.fold(Args::default().number(repositories.len() as u64), Args::long);
        let counts = args::list(self.run(&LEASED_OF, args).await?, "counts of leases")?;
        let numbers = counts.iter().map(|count| usize::try_from(args::number(count)).unwrap_or(usize::MAX));
        Ok(repositories.iter().cloned().zip(numbers).collect())
    }

    /// Takes over what is leased; see the port.
    pub(super) async fn take_over(
        &self,
        agent: AgentId,
        node: &NodeId,
    ) -> Result<(Lease, Versioned), StoreError> {
        let args = Args::default().number(self.term_ms()).long(agent.to_string()).text(node.as_str());
        // The script compares its own time with the latest one that an honest clock may show. A clock that was set
        // forward has ended the locks of agents that live on, and must not hand them to this node.
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
