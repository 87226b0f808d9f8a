//! The breakers of this node, by the part of its work that they are about. While one is open, this node takes nothing of
//! that kind, which stays at its place in the queue for other nodes; everything else goes on. They are not stored: after a
//! restart everything gets its chance again.

use std::collections::HashMap;
use std::time::Duration;

use parking_lot::Mutex;

use crate::domain::agent::Agent;
use crate::domain::blame::Part;
use crate::domain::breaker::{Breaker, BreakerPosition, BreakerState, Sign, Turned};
use crate::domain::ids::AgentId;
use crate::domain::placement::Conditions;
use crate::limits;

/// Breakers that say something.
#[derive(Default)]
pub(crate) struct Breakers(Mutex<HashMap<Part, Breaker>>);

/// Tells whether a breaker of this part is about an agent.
pub(crate) fn concerns(part: &Part, agent: &Agent, default_runtime: &str) -> bool {
    let spec = &agent.spec;
    match part {
        Part::Fetch { repository } | Part::Push { repository } => {
            repository == spec.context.repository.as_str()
        }
        Part::Run { runtime } => {
            runtime == spec.runtime.as_ref().map_or(default_runtime, |name| name.as_str())
        }
        Part::Machine => true,
    }
}

impl Breakers {
    /// Says whether the agent may start; if not, why and for how long not. Letting one through when the time has come makes
    /// its breakers half open.
    pub(crate) fn may_start(
        &self,
        agent: &Agent,
        default_runtime: &str,
        elapsed: Duration,
    ) -> Result<(), (String, Duration)> {
        let mut breakers = self.0.lock();
        let mine = |part: &Part| concerns(part, agent, default_runtime);
        // All breakers of the agent are looked at before any is asked: asking may make one half open, and an
        // agent that another one refuses would use up its only trial.
        if let Some((part, breaker)) = breakers.iter().find(|(part, one)| mine(part) && one.refuses(elapsed))
        {
            let wait = match breaker.position() {
                BreakerPosition::Open(until) => until.saturating_sub(elapsed),
                BreakerPosition::Closed(_) | BreakerPosition::HalfOpen(_) => limits::BREAKER_FIRST,
            };
            return Err((held(part, breaker), wait));
        }
        for (_, breaker) in breakers.iter_mut().filter(|(part, _)| mine(part)) {
            // Not refused a moment ago, under the same lock.
            let _ = breaker.ask(agent.id, elapsed);
        }
        Ok(())
    }

    /// Says why this node does not take an agent now, when a breaker is why. Changes nothing.
    pub(crate) fn refusal(&self, agent: &Agent, default_runtime: &str, elapsed: Duration) -> Option<String> {
        let breakers = self.0.lock();
        let mut refusing = breakers
            .iter()
            .filter(|(part, one)| concerns(part, agent, default_runtime) && one.refuses(elapsed));
        refusing.next().map(|(part, breaker)| held(part, breaker))
    }

    /// Adds what the breakers refuse to the conditions under which this node takes work.
    pub(crate) fn add_refusals(&self, conditions: &mut Conditions, elapsed: Duration) {
        for (part, _) in self.0.lock().iter().filter(|(_, one)| one.refuses(elapsed)) {
            conditions.repositories.extend(part.repository().map(str::to_owned));
            conditions.runtimes.extend(part.runtime().map(str::to_owned));
        }
    }

    /// Takes what happened to an agent; returns what changed, with the newest failure's words.
    pub(super) fn sign(
        &self,
        agent: AgentId,
        part: &Part,
        sign: Sign,
        elapsed: Duration,
    ) -> Option<(Turned, String)> {
        let mut breakers = self.0.lock();
        // A success where nothing failed needs no breaker. Otherwise every repository that ever worked would
        // have one, and the bound would be used up by them.
        if !breakers.contains_key(part) && (sign == Sign::Works || breakers.len() >= limits::BREAKERS) {
            return None;
        }
        let breaker = breakers.entry(part.clone()).or_default();
        let turned = breaker.take(agent, sign, elapsed);
        let why = breaker.why().to_owned();
        if breaker.is_idle() {
            breakers.remove(part);
        }
        turned.map(|turned| (turned, why))
    }

    /// The agent is not driven any more.
    pub(crate) fn leaves(&self, agent: AgentId, elapsed: Duration) {
        self.0.lock().values_mut().for_each(|breaker| breaker.leave(agent, elapsed));
    }

    /// Lists the breakers that are not closed.
    pub(crate) fn shown(&self, elapsed: Duration) -> Vec<BreakerState> {
        let all = self.0.lock();
        let mut shown: Vec<BreakerState> =
            all.iter().filter_map(|(part, one)| show(part, one, elapsed)).collect();
        shown.sort_by(|a, b| a.part.cmp(&b.part));
        shown
    }
}

fn held(part: &Part, breaker: &Breaker) -> String {
    format!("the breaker for {} is open; the newest failure: {}", part.message(), breaker.why())
}

fn show(part: &Part, breaker: &Breaker, elapsed: Duration) -> Option<BreakerState> {
    let (state, retry, trial) = match breaker.position() {
        BreakerPosition::Closed(_) => return None,
        BreakerPosition::Open(until) => ("open", Some(until.saturating_sub(elapsed)), None),
        BreakerPosition::HalfOpen(trial) => ("half_open", None, Some(*trial)),
    };
    Some(BreakerState {
        part: part.clone(),
        state: state.to_owned(),
        retry_in_ms: retry.map(|time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX)),
        trial,
        why: breaker.why().to_owned(),
    })
}
