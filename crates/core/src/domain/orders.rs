//! Standing orders: what goes on being true after a kill-all or a kill switch was ordered. The *barrier* ends everything
//! that was admitted before it, indefinitely; the *latch* lets nothing start until it is released. Which of the two an agent
//! falls under is a pure decision, asked wherever an agent is about to run, so that no race can go around it.

use serde::{Deserialize, Serialize};

use super::agent::{Agent, State};
use super::ids::{AgentId, Timestamp};
use super::lifecycle::{Event, KillCause};

/// The orders that stand.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StandingOrders {
    /// The newest kill-all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub barrier: Option<Barrier>,
    /// The kill switch, while it is engaged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latch: Option<Latch>,
    /// Orders about single agents that are not carried out yet, by agent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kills: Vec<KillOrder>,
}

/// A kill-all: every agent admitted before it ends, wherever it is, and none of them starts again. It only ever rises.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Barrier {
    /// Agents with this place in the order of admissions, or an earlier one, end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seq: Option<u64>,
    /// Agents admitted at this time or earlier end too, whatever their place: for who cannot ask the store. A server
    /// turns it into a place as soon as it can; 0 when the place says all.
    pub before: Timestamp,
    /// Origin of the order.
    pub by: String,
    /// Why, when said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// When it was ordered.
    pub at: Timestamp,
}

/// The kill switch: nothing starts until it is released.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Latch {
    /// Origin of the order that engaged it.
    pub by: String,
    /// Why, when said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Since when.
    pub at: Timestamp,
}

/// An order to end one agent that was left while no server answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KillOrder {
    /// The agent.
    pub agent: AgentId,
    /// Origin of the order.
    pub by: String,
    /// Why, when said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// When it was ordered.
    pub at: Timestamp,
}

/// Effect of the standing orders on one agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OrderVerdict {
    /// It may run.
    Run,
    /// It may not start now; what waits stays as it is.
    Hold,
    /// It must end.
    End {
        /// By which order.
        cause: KillCause,
        /// Origin and reason of the order, for people.
        note: String,
    },
}

impl StandingOrders {
    /// Says what holds for an agent with this place in the order of admissions, admitted at this time. The barrier goes
    /// before the latch: what ends needs no start.
    pub fn verdict(&self, seq: u64, spawned_at: Timestamp) -> OrderVerdict {
        match (&self.barrier, &self.latch) {
            (Some(barrier), _) if barrier.covers(seq, spawned_at) => {
                OrderVerdict::End { cause: KillCause::KillAll, note: barrier.note() }
            }
            (_, Some(_)) => OrderVerdict::Hold,
            _ => OrderVerdict::Run,
        }
    }

    /// Returns what happens to an agent that was just taken, instead of what its taker wanted; nothing when it may run.
    /// Under the latch an agent of which nothing was done yet goes back as it is, and one that had begun ends.
    pub fn event(&self, agent: &Agent, seq: u64) -> Option<Event> {
        match (self.verdict(seq, agent.spawned_at), &self.latch) {
            (OrderVerdict::End { cause, note }, _) => Some(Event::Kill { cause, note }),
            (OrderVerdict::Hold, _) if matches!(agent.state, State::Queued { .. }) => {
                Some(Event::Interrupted)
            }
            (OrderVerdict::Hold, Some(latch)) => {
                Some(Event::Kill { cause: KillCause::KillAll, note: latch.note() })
            }
            _ => None,
        }
    }

    /// Adds what others know: the barrier that reaches further on each axis, and the latch if either has one.
    pub fn merge(&mut self, other: Self) {
        if let Some(theirs) = other.barrier {
            self.raise(theirs);
        }
        if self.latch.is_none() {
            self.latch = other.latch;
        }
        for kill in other.kills {
            self.order_kill(kill);
        }
    }

    /// Adds an order about one agent, unless one stands.
    pub fn order_kill(&mut self, kill: KillOrder) {
        if let Err(place) = self.kills.binary_search_by_key(&kill.agent, |stands| stands.agent) {
            self.kills.insert(place, kill);
        }
    }

    /// Takes the order about one agent away; it was carried out.
    pub fn kill_done(&mut self, agent: AgentId) {
        self.kills.retain(|kill| kill.agent != agent);
    }

    /// Takes the latch that others hold, when they do, over the own one.
    pub fn take_latch(&mut self, theirs: Option<Latch>) {
        self.latch = theirs.or(self.latch.take());
    }

    /// Raises the barrier; it never sinks. Who and why are those of the order that reached further.
    pub fn raise(&mut self, new: Barrier) {
        let Some(old) = &mut self.barrier else {
            self.barrier = Some(new);
            return;
        };
        let (seq, before) = (old.seq.max(new.seq), old.before.max(new.before));
        if (seq, before) != (old.seq, old.before) {
            *old = Barrier { seq, before, ..new };
        }
    }

    /// Raises the barrier by one that has a place and was ordered at or after the time that stands here: the place says
    /// all that the time said.
    pub fn raise_placed(&mut self, placed: Barrier) {
        let at = placed.at;
        self.raise(placed);
        if let Some(barrier) = &mut self.barrier
            && barrier.seq.is_some()
            && barrier.before <= at
        {
            barrier.before = Timestamp(0);
        }
    }
}

impl Barrier {
    /// Tells whether an agent was admitted before it.
    pub fn covers(&self, seq: u64, spawned_at: Timestamp) -> bool {
        self.seq.is_some_and(|last| seq <= last) || (self.before.0 > 0 && spawned_at <= self.before)
    }

    /// Returns the words for the record of an agent that it ends.
    pub fn note(&self) -> String {
        order_message(self.reason.as_deref(), &self.by)
    }
}

impl Latch {
    /// Returns the words for the record of an agent that it ends.
    pub fn note(&self) -> String {
        format!("kill switch: {}", order_message(self.reason.as_deref(), &self.by))
    }
}

impl KillOrder {
    /// Makes an order out of the words for the agent's record, `reason (who)`.
    pub fn noted(agent: AgentId, note: &str, at: Timestamp) -> Self {
        let parts = note.strip_suffix(')').and_then(|note| note.rsplit_once(" ("));
        let (reason, by) = parts.map_or((None, note), |(reason, by)| (Some(reason), by));
        let reason = reason.filter(|reason| *reason != NO_REASON).map(str::to_owned);
        Self { agent, by: by.to_owned(), reason, at }
    }

    /// Returns the words for the agent's record.
    pub fn note(&self) -> String {
        order_message(self.reason.as_deref(), &self.by)
    }
}

/// The words for a reason that nobody gave.
const NO_REASON: &str = "no reason given";

fn order_message(reason: Option<&str>, by: &str) -> String {
    format!("{} ({by})", reason.unwrap_or(NO_REASON))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn barrier(seq: Option<u64>, before: u64) -> Barrier {
        Barrier { seq, before: Timestamp(before), by: "x".to_owned(), reason: None, at: Timestamp(1) }
    }

    fn latch() -> Latch {
        Latch { by: "alice".to_owned(), reason: Some("freeze".to_owned()), at: Timestamp(5) }
    }

    #[test]
    fn the_barrier_goes_before_the_latch() {
        let both = StandingOrders {
            barrier: Some(barrier(Some(3), 0)),
            latch: Some(latch()),
            ..StandingOrders::default()
        };
        assert!(matches!(both.verdict(3, Timestamp(9)), OrderVerdict::End { .. }));
        assert_eq!(
            both.verdict(4, Timestamp(0)),
            OrderVerdict::Hold,
            "a place says all when there is no time"
        );
        assert_eq!(StandingOrders::default().verdict(1, Timestamp(1)), OrderVerdict::Run);
        assert_eq!(latch().note(), "kill switch: freeze (alice)");
    }

    #[test]
    fn a_barrier_by_time_ends_what_was_admitted_up_to_it() {
        let orders = StandingOrders { barrier: Some(barrier(None, 100)), ..StandingOrders::default() };
        assert!(matches!(orders.verdict(7, Timestamp(100)), OrderVerdict::End { .. }));
        assert_eq!(orders.verdict(7, Timestamp(101)), OrderVerdict::Run);
    }

    #[test]
    fn an_order_keeps_the_words_that_it_was_made_from() {
        for note in ["looping (HTTP request 7)", "no reason given (alice)", "a (b) c (dave)"] {
            assert_eq!(KillOrder::noted(AgentId(uuid::Uuid::nil()), note, Timestamp(1)).note(), note);
        }
        let bare = KillOrder::noted(AgentId(uuid::Uuid::nil()), "by test", Timestamp(1));
        assert_eq!((bare.by.as_str(), bare.reason), ("by test", None));
    }

    proptest! {
        #[test]
        fn merging_loses_no_order(
            a in (0u64..9, 0u64..9), b in (0u64..9, 0u64..9), seq in 0u64..10, at in 1u64..10,
            engaged in any::<(bool, bool)>(),
        ) {
            let some = |n: u64| (n > 0).then_some(n);
            let orders = |(seq, before): (u64, u64), engaged: bool| StandingOrders {
                barrier: (seq + before > 0).then(|| barrier(some(seq), before)),
                latch: engaged.then(latch),
                ..StandingOrders::default()
            };
            let (one, other) = (orders(a, engaged.0), orders(b, engaged.1));
            let ends = |o: &StandingOrders| matches!(o.verdict(seq, Timestamp(at)), OrderVerdict::End { .. });
            let (mut left, mut right) = (one.clone(), other.clone());
            left.merge(other.clone());
            right.merge(one.clone());
            prop_assert_eq!(left.verdict(seq, Timestamp(at)), right.verdict(seq, Timestamp(at)));
            prop_assert_eq!(ends(&left), ends(&one) || ends(&other));
            prop_assert_eq!(left.latch.is_some(), engaged.0 || engaged.1);
        }
    }
}
