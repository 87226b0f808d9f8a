//! The breaker of one part of a node's work (fetching from a repository, pushing to it, running a runtime): after several
//! failures in a row that lie on the surroundings, or one that lies on the node, the node takes nothing more of that kind for
//! a while; then one agent is let through, and how it fares decides. A task's own failure never counts. Pure.

use std::collections::VecDeque;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::agent::Agent;
use super::blame::{Blame, Part, blame};
use super::ids::AgentId;
use super::lifecycle::{Elsewhere, Event};
use super::outcome::{Failure, FailureKind, Outcome, cut};
use crate::limits;

/// Evidence that an event gives about a part of the node's work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sign {
    /// It works.
    Works,
    /// It failed, and why; that may pass.
    Failed(String),
    /// It was refused for a reason that lies on this node alone, while other nodes can do it.
    Refused(String),
}

/// Reads an event that happens to an agent in this state; `default_runtime` is what it runs when it names none.
pub fn sign(agent: &Agent, event: &Event, default_runtime: &str) -> Option<(Part, Sign)> {
    let repository = || agent.spec.context.repository.to_string();
    match event {
        Event::TreeReady { .. } => Some((Part::Fetch { repository: repository() }, Sign::Works)),
        Event::TurnEnded { outcome: Outcome::Completed { .. }, .. } => {
            let name = agent.spec.runtime.as_ref().map_or(default_runtime, |name| name.as_str());
            Some((Part::Run { runtime: name.to_owned() }, Sign::Works))
        }
        Event::Pushed { .. } => Some((Part::Push { repository: repository() }, Sign::Works)),
        Event::NodeFailed { part, failure, elsewhere, .. } if *elsewhere != Elsewhere::Nobody => {
            Some((part.clone(), Sign::Refused(message(failure))))
        }
        Event::Failed(failure)
        | Event::NodeFailed { failure, .. }
        | Event::TurnEnded { outcome: Outcome::Failed(failure), .. } => {
            // Where no other node could do better, each of these ends its task at once, and says what to do.
            let is_plain =
                matches!(failure.kind, FailureKind::ProgramMissing | FailureKind::MissingRepository);
            match blame(agent, failure, default_runtime) {
                Blame::Node(part) | Blame::Surroundings(part) if !is_plain => {
                    Some((part, Sign::Failed(message(failure))))
                }
                _ => None,
            }
        }
        _ => None,
    }
}

fn message(failure: &Failure) -> String {
    cut(failure.message.clone(), limits::REASON_BYTES)
}

/// A breaker that is not closed, as it is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BreakerState {
    /// The part of the node's work that it is about.
    #[serde(flatten)]
    pub part: Part,
    /// `open` or `half_open`.
    pub state: String,
    /// Milliseconds until one agent is let through, when it is open.
    pub retry_in_ms: Option<u64>,
    /// The agent that was let through, when it is half open.
    pub trial: Option<AgentId>,
    /// The newest failure.
    pub why: String,
}

/// Position of a breaker. Times are monotonic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BreakerPosition {
    /// Everything starts; the times of the newest failures in a row.
    Closed(VecDeque<Duration>),
    /// Nothing starts before this time.
    Open(Duration),
    /// One agent was let through; nothing else starts until it is known how it fared.
    HalfOpen(AgentId),
}

/// Change of a breaker that is visible from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turned {
    /// Nothing starts for this long.
    Opened(Duration),
    /// Everything starts again.
    Closed,
}

/// One breaker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Breaker {
    position: BreakerPosition,
    /// Number of openings without a closing in between.
    round: u32,
    why: String,
}

impl Default for Breaker {
    fn default() -> Self {
        Self { position: BreakerPosition::Closed(VecDeque::new()), round: 0, why: String::new() }
    }
}

impl Breaker {
    /// Returns how it stands.
    pub fn position(&self) -> &BreakerPosition {
        &self.position
    }

    /// Returns the newest failure's words.
    pub fn why(&self) -> &str {
        &self.why
    }

    /// Tells whether it says anything: one that does not need not be kept.
    pub fn is_idle(&self) -> bool {
        matches!(&self.position, BreakerPosition::Closed(failures) if failures.is_empty())
    }

    /// Takes what happened to an agent. While it is open, what still runs can close it, but not keep it open; while it
    /// is half open, only the agent that was let through can open it again.
    pub fn take(&mut self, agent: AgentId, sign: Sign, now: Duration) -> Option<Turned> {
        let why = match sign {
            Sign::Works => {
                let was_closed = matches!(self.position, BreakerPosition::Closed(_));
                *self = Self::default();
                return (!was_closed).then_some(Turned::Closed);
            }
            Sign::Refused(why) => {
                self.why = why;
                let decides = match self.position {
                    BreakerPosition::Closed(_) => true,
                    BreakerPosition::HalfOpen(trial) => trial == agent,
                    BreakerPosition::Open(_) => false,
                };
                return decides.then(|| self.open(now));
            }
            Sign::Failed(why) => why,
        };
        self.why = why;
        match &mut self.position {
            BreakerPosition::Closed(failures) => {
                failures.retain(|at| now.saturating_sub(*at) <= limits::BREAKER_WINDOW);
                failures.push_back(now);
                (failures.len() >= limits::BREAKER_FAILURES).then(|| self.open(now))
            }
            BreakerPosition::HalfOpen(trial) if *trial == agent => Some(self.open(now)),
            BreakerPosition::Open(_) | BreakerPosition::HalfOpen(_) => None,
        }
    }

    /// Tells whether nothing of this part is to be taken now.
    pub fn refuses(&self, now: Duration) -> bool {
        match self.position {
            BreakerPosition::Closed(_) => false,
            BreakerPosition::Open(until) => now < until,
            BreakerPosition::HalfOpen(_) => true,
        }
    }

    /// Says whether this agent may start now; if not, how long to wait before asking again. Letting one through when
    /// the time has come makes it half open.
    pub fn ask(&mut self, agent: AgentId, now: Duration) -> Result<(), Duration> {
        match self.position {
            BreakerPosition::Open(until) if now < until => Err(until.saturating_sub(now)),
            BreakerPosition::Open(_) => {
                self.position = BreakerPosition::HalfOpen(agent);
                Ok(())
            }
            BreakerPosition::HalfOpen(trial) if trial != agent => Err(limits::BREAKER_FIRST),
            BreakerPosition::Closed(_) | BreakerPosition::HalfOpen(_) => Ok(()),
        }
    }

    /// The agent is not driven any more. If it was the one let through and nobody learned anything, the next one is.
    pub fn leave(&mut self, agent: AgentId, now: Duration) {
        if self.position == BreakerPosition::HalfOpen(agent) {
            self.position = BreakerPosition::Open(now);
        }
    }

    fn open(&mut self, now: Duration) -> Turned {
        let doublings = self.round.min(16);
        let pause = limits::BREAKER_FIRST.saturating_mul(1 << doublings).min(limits::BREAKER_CAP);
        self.round = self.round.saturating_add(1);
        self.position = BreakerPosition::Open(now.saturating_add(pause));
        Turned::Opened(pause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agent(n: u128) -> AgentId {
        AgentId(uuid::Uuid::from_u128(n))
    }

    fn bad() -> Sign {
        Sign::Failed("the network failed".to_owned())
    }

    fn secs(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    fn opened_at(now: Duration) -> Breaker {
        let mut breaker = Breaker::default();
        for n in 1..limits::BREAKER_FAILURES {
            assert_eq!(breaker.take(agent(n as u128), bad(), now), None);
            assert_eq!(breaker.ask(agent(99), now), Ok(()));
        }
        assert_eq!(breaker.take(agent(0), bad(), now), Some(Turned::Opened(limits::BREAKER_FIRST)));
        breaker
    }

    #[test]
    fn failures_in_a_row_open_it_and_one_success_between_does_not() {
        opened_at(secs(5));
        let mut breaker = Breaker::default();
        for n in 0..100 {
            let sign = if n % limits::BREAKER_FAILURES == 0 { Sign::Works } else { bad() };
            assert_eq!(breaker.take(agent(n as u128), sign, secs(n as u64)), None);
        }
    }

    #[test]
    fn failures_far_apart_do_not_open_it() {
        let mut breaker = Breaker::default();
        for n in 0..50_u32 {
            let now = (limits::BREAKER_WINDOW / 3) * n;
            assert_eq!(breaker.take(agent(1), bad(), now), None, "failure {n}");
        }
    }

    #[test]
    fn one_is_let_through_and_decides() {
        let mut breaker = opened_at(secs(0));
        assert_eq!(breaker.ask(agent(7), secs(1)), Err(limits::BREAKER_FIRST - secs(1)));
        let due = limits::BREAKER_FIRST;
        assert_eq!(breaker.ask(agent(7), due), Ok(()));
        assert!(breaker.ask(agent(8), due).is_err(), "a second one was let through");
        assert_eq!(breaker.take(agent(8), bad(), due), None, "another agent decided");
        assert_eq!(breaker.take(agent(7), bad(), due), Some(Turned::Opened(limits::BREAKER_FIRST * 2)));
        let due = due + limits::BREAKER_FIRST * 2;
        assert_eq!(breaker.ask(agent(8), due), Ok(()));
        assert_eq!(breaker.take(agent(8), Sign::Works, due), Some(Turned::Closed));
        assert_eq!(breaker.ask(agent(9), due), Ok(()));
        assert!(breaker.is_idle());
    }

    #[test]
    fn a_trial_that_taught_nothing_lets_the_next_one_through_at_once() {
        let mut breaker = opened_at(secs(0));
        let due = limits::BREAKER_FIRST;
        assert_eq!(breaker.ask(agent(7), due), Ok(()));
        breaker.leave(agent(8), due);
        assert!(breaker.ask(agent(9), due).is_err(), "a stranger ended the trial");
        breaker.leave(agent(7), due);
        assert_eq!(breaker.ask(agent(9), due), Ok(()));
    }

    #[test]
    fn the_pause_doubles_up_to_its_cap() {
        let mut breaker = opened_at(secs(0));
        let mut now = secs(0);
        for _ in 0..40 {
            let BreakerPosition::Open(until) = *breaker.position() else { panic!("not open") };
            assert!(until - now <= limits::BREAKER_CAP);
            now = until;
            breaker.ask(agent(1), now).expect("its time has come");
            assert!(matches!(breaker.take(agent(1), bad(), now), Some(Turned::Opened(_))));
        }
        assert_eq!(*breaker.position(), BreakerPosition::Open(now + limits::BREAKER_CAP));
    }

    #[test]
    fn what_lies_on_the_node_opens_it_at_once() {
        let refused = || Sign::Refused("no credentials".to_owned());
        let mut breaker = Breaker::default();
        assert_eq!(breaker.take(agent(1), refused(), secs(1)), Some(Turned::Opened(limits::BREAKER_FIRST)));
        assert_eq!(breaker.take(agent(2), refused(), secs(1)), None, "one that ran already opened it again");
        assert!(breaker.refuses(secs(2)) && !breaker.refuses(secs(1) + limits::BREAKER_FIRST));
        let due = secs(1) + limits::BREAKER_FIRST;
        assert_eq!(breaker.ask(agent(3), due), Ok(()));
        assert!(breaker.refuses(due), "a second one would be taken beside the trial");
        assert_eq!(breaker.take(agent(3), refused(), due), Some(Turned::Opened(limits::BREAKER_FIRST * 2)));
    }
}
