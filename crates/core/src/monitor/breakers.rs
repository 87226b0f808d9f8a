//! The breakers of this node, by repository and gate profile. While one is open, what it is about is put off instead of
//! started; everything else goes on. They are not stored: after a restart every repository gets its chance again.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{Monitor, lock};
use crate::domain::agent::Agent;
use crate::domain::breaker::{Breaker, Key, Sign, Standing, Turned};
use crate::domain::ids::AgentId;
use crate::domain::journal::Fact;
use crate::limits;
use crate::orchestrator::Orchestrator;

/// Breakers that say something.
#[derive(Default)]
pub(super) struct Breakers(Mutex<HashMap<Key, Breaker>>);

/// A breaker that is not closed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BreakerState {
    /// What it is about.
    #[serde(flatten)]
    pub key: Key,
    /// `open` or `half_open`.
    pub state: String,
    /// Milliseconds until one agent is let through, when it is open.
    pub retry_in_ms: Option<u64>,
    /// The agent that was let through, when it is half open.
    pub trial: Option<AgentId>,
    /// The newest failure.
    pub why: String,
}

/// Returns what an agent's breaker is about.
fn key(agent: &Agent) -> Key {
    Key { repository: agent.spec.context.repository.to_string(), profile: agent.spec.gate_profile }
}

impl Monitor {
    /// Says whether the agent may start; if not, why and for how long to put it off.
    pub(crate) fn may_start(&self, agent: &Agent, elapsed: Duration) -> Result<(), (String, Duration)> {
        let mut breakers = lock(&self.breakers.0);
        let key = key(agent);
        let Some(breaker) = breakers.get_mut(&key) else { return Ok(()) };
        breaker.ask(agent.id, elapsed).map_err(|wait| (put_off(breaker), wait))
    }

    /// Takes what happened to an agent; returns what changed, with the newest failure's words.
    fn sign(&self, agent: &Agent, sign: Sign, elapsed: Duration) -> Option<(Turned, String)> {
        let mut breakers = lock(&self.breakers.0);
        let key = key(agent);
        if !breakers.contains_key(&key) && (sign == Sign::Works || breakers.len() >= limits::BREAKERS) {
            return None;
        }
        let breaker = breakers.entry(key.clone()).or_default();
        let turned = breaker.take(agent.id, sign, elapsed);
        let why = breaker.why().to_owned();
        if breaker.is_idle() {
            breakers.remove(&key);
        }
        turned.map(|turned| (turned, why))
    }

    /// The agent is not driven any more.
    pub(crate) fn leaves(&self, agent: AgentId, elapsed: Duration) {
        lock(&self.breakers.0).values_mut().for_each(|breaker| breaker.leave(agent, elapsed));
    }

    /// Lists the breakers that are not closed.
    pub(super) fn breakers(&self, elapsed: Duration) -> Vec<BreakerState> {
        let all = lock(&self.breakers.0);
        let mut shown: Vec<BreakerState> =
            all.iter().filter_map(|(key, one)| show(key, one, elapsed)).collect();
        shown.sort_by(|a, b| a.key.repository.cmp(&b.key.repository));
        shown
    }
}

fn put_off(breaker: &Breaker) -> String {
    format!("too many failures in a row with this repository and profile; the newest: {}", breaker.why())
}

fn show(key: &Key, breaker: &Breaker, elapsed: Duration) -> Option<BreakerState> {
    let (state, retry, trial) = match breaker.standing() {
        Standing::Closed(_) => return None,
        Standing::Open(until) => ("open", Some(until.saturating_sub(elapsed)), None),
        Standing::HalfOpen(trial) => ("half_open", None, Some(*trial)),
    };
    Some(BreakerState {
        key: key.clone(),
        state: state.to_owned(),
        retry_in_ms: retry.map(|time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX)),
        trial,
        why: breaker.why().to_owned(),
    })
}

impl Orchestrator {
    /// Tells the breakers what happened to an agent, and the log when one of them turned.
    pub(crate) async fn took_sign(&self, agent: &Agent, sign: Sign) {
        let Some((turned, why)) = self.monitor.sign(agent, sign, self.elapsed()) else { return };
        let key = key(agent);
        let (kind, pause) = match turned {
            Turned::Opened(pause) => ("breaker.opened", Some(pause.as_secs())),
            Turned::Closed => ("breaker.closed", None),
        };
        let why = self.ports.scanner.mask(&why);
        tracing::warn!(repository = %key.repository, why, "{kind}");
        let data = json!({"repository": key.repository, "gateProfile": key.profile, "pauseSeconds": pause,
            "error": Some(why).filter(|why| !why.is_empty())});
        let fact = Fact { kind: kind.to_owned(), agent: None, task: None, at: self.now(), data };
        if let Err(e) = self.ports.store.log(vec![fact]).await {
            tracing::warn!(error = %e, "a breaker's turn could not be logged");
        }
        self.wake.notify_one();
    }
}
