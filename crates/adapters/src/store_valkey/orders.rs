//! The standing orders: barrier and latch are changed by comparing with what was looked at, so that what they mean is decided
//! in one place, the domain; orders about single agents are fields of a hash.

use std::collections::BTreeMap;

use mosaic_core::domain::ids::{AgentId, Timestamp};
use mosaic_core::domain::journal::LogRecord;
use mosaic_core::domain::orders::{Barrier, KillOrder, Latch, StandingOrders};
use mosaic_core::limits::ORDER_TRIES;
use mosaic_core::ports::store::{OrderChange, StoreError};

use super::args::{self, strange};
use super::inner::Inner;
use super::keys::Key;
use super::records::json_text;
use super::scripts::{KILLS, ORDERS};

/// The orders with the texts that they were read from.
struct Looked {
    orders: StandingOrders,
    barrier: String,
    latch: String,
    /// Agents that were ever admitted.
    admitted: u64,
}

impl Inner {
    /// Returns the standing orders; see the port.
    pub(super) async fn orders(&self) -> Result<StandingOrders, StoreError> {
        Ok(self.look_at_orders().await?.orders)
    }

    /// Changes the standing orders; see the port.
    pub(super) async fn set_orders(
        &self,
        change: OrderChange,
        facts: &[LogRecord],
    ) -> Result<StandingOrders, StoreError> {
        match change {
            OrderChange::Kill(kill) => self.put_kill(kill.agent, json_text(&kill)?, facts).await,
            OrderChange::Killed(agent) => self.put_kill(agent, String::new(), facts).await,
            change => {
                for _ in 0..ORDER_TRIES {
                    if self.put_orders(&change, facts).await? {
                        return self.orders().await;
                    }
                }
                Err(StoreError::Unavailable("others change the standing orders all the time".to_owned()))
            }
        }
    }

    async fn put_kill(
        &self,
        agent: AgentId,
        order: String,
        facts: &[LogRecord],
    ) -> Result<StandingOrders, StoreError> {
        let args = self.with_facts(self.logging().long(agent.to_string()).long(order), facts)?;
        self.announce(args::number(&self.run(&KILLS, args).await?));
        self.orders().await
    }

    /// Puts changed orders in place of those that were looked at; false when others were faster.
    async fn put_orders(&self, change: &OrderChange, facts: &[LogRecord]) -> Result<bool, StoreError> {
        let looked = self.look_at_orders().await?;
        let mut orders = looked.orders.clone();
        let mut covers_all = false;
        match change {
            OrderChange::Raise(barrier) => {
                covers_all = barrier.seq.is_none();
                let seq = Some(barrier.seq.unwrap_or(looked.admitted));
                orders.raise_placed(Barrier { seq, ..barrier.clone() });
            }
            OrderChange::Engage(latch) => {
                orders.latch.get_or_insert_with(|| latch.clone());
            }
            OrderChange::Release => orders.latch = None,
            OrderChange::Kill(_) | OrderChange::Killed(_) => {}
        }
        // An order that did not change is sent as the very text that was read. Another version may write the same order
        // in other words, and the script would take rewritten words for a change and log it.
        let kept = |same: bool, text: &str, new: Option<String>| {
            if same { text.to_owned() } else { new.unwrap_or_default() }
        };
        let text = orders.barrier.as_ref().map(json_text).transpose()?;
        let mut barrier = kept(orders.barrier == looked.orders.barrier, &looked.barrier, text);
        let text = orders.latch.as_ref().map(json_text).transpose()?;
        let latch = kept(orders.latch == looked.orders.latch, &looked.latch, text);
        // The place is given by the script when the new barrier ends at what is admitted.
        let begin = format!("{{\"seq\":{}", looked.admitted);
        let is_new = orders.barrier != looked.orders.barrier;
        let placed = covers_all && is_new && barrier.starts_with(&begin);
        if placed {
            barrier = barrier[begin.len()..].to_owned();
        }
        let seen_admitted = if covers_all { looked.admitted.to_string() } else { String::new() };
        let args = self.logging().long(looked.barrier).long(looked.latch).long(seen_admitted);
        let args = args.long(barrier).long(latch).flag(placed);
        let answer = args::list(self.run(&ORDERS, self.with_facts(args, facts)?).await?, "the orders")?;
        let [word, newest] = answer.as_slice() else { return Err(strange("the orders")) };
        self.announce(args::number(newest));
        Ok(args::text(word) == Some("done"))
    }

    async fn look_at_orders(&self) -> Result<Looked, StoreError> {
        // No transaction: a server whose memory is full refuses those. What was looked at is compared again.
        let mut pipe = redis::pipe();
        pipe.cmd("HMGET").arg(self.key(Key::Orders)).arg("barrier").arg("latch");
        pipe.cmd("HGETALL").arg(self.key(Key::Kills));
        pipe.cmd("GET").arg(self.key(Key::Admitted));
        type Answer = ((Option<String>, Option<String>), BTreeMap<String, String>, Option<u64>);
        let ((barrier, latch), kills, admitted): Answer = self.link.pipeline(pipe).await?;
        let orders = StandingOrders {
            barrier: barrier.as_deref().and_then(read_barrier),
            latch: latch.as_deref().map(read_latch),
            kills: read_kills(kills),
        };
        let admitted = admitted.unwrap_or(0);
        Ok(Looked {
            orders,
            barrier: barrier.unwrap_or_default(),
            latch: latch.unwrap_or_default(),
            admitted,
        })
    }
}

/// Reads the barrier; one that cannot be read is left out: the state directory has a copy of it.
fn read_barrier(text: &str) -> Option<Barrier> {
    let read = serde_json::from_str(text);
    read.inspect_err(|e| tracing::error!(error = %e, "the store's record of the newest kill-all is damaged"))
        .ok()
}

/// Reads the latch; one that cannot be read counts as engaged.
fn read_latch(text: &str) -> Latch {
    serde_json::from_str(text).unwrap_or_else(|e| {
        let reason = Some(format!("the record of the kill switch is damaged: {e}"));
        Latch { by: "the store".to_owned(), reason, at: Timestamp(0) }
    })
}

/// Reads the orders about single agents. One that cannot be read says all the same which agent it is about.
fn read_kills(kills: BTreeMap<String, String>) -> Vec<KillOrder> {
    let read = |(id, text): (String, String)| {
        let agent: AgentId = id.parse().ok()?;
        let damaged = |e: serde_json::Error| KillOrder {
            agent,
            by: "the store".to_owned(),
            reason: Some(format!("the record of this order is damaged: {e}")),
            at: Timestamp(0),
        };
        Some(serde_json::from_str(&text).unwrap_or_else(damaged))
    };
    let mut kills: Vec<KillOrder> = kills.into_iter().filter_map(read).collect();
    kills.sort_by_key(|kill| kill.agent);
    kills
}
