//! Agents and facts for tests, in few words.

use std::sync::Arc;
use std::time::Duration;

use mosaic_core::domain::agent::{Agent, End, QueueCause, State, Status, Turn};
use mosaic_core::domain::ids::{AgentId, NodeId, Timestamp};
use mosaic_core::domain::journal::LogRecord;
use mosaic_core::domain::outcome::{EndReason, Failure, FailureKind};
use mosaic_core::domain::spec::SpawnSpec;
use mosaic_core::limits;
use mosaic_core::ports::store::{Admission, Admitted, Change, Lease, Safety, Store, Versioned};
use serde_json::{Value, json};
use uuid::Uuid;

use super::Bench;

/// The time at which the suite's world begins.
pub const T0: Timestamp = Timestamp(1_800_000_000_000);

/// Returns the point this many seconds after [`T0`].
pub fn at(seconds: u64) -> Timestamp {
    T0.plus(Duration::from_secs(seconds))
}

/// Makes an empty store with the usual bound.
pub async fn store(bench: &dyn Bench) -> Arc<dyn Store> {
    bench.make(limits::QUEUE_ENTRIES).await
}

/// Parses a node's name.
pub fn node(name: &str) -> NodeId {
    name.parse().expect("a plain word")
}

/// Makes a newly admitted agent from the body of a spawn, in which only `taskId` is needed: a worker on `main`
/// of `https://git.example/acme/widgets` by default.
pub fn agent_from(body: Value, admitted: Timestamp) -> Agent {
    let mut full = json!({
        "agentType": "worker",
        "context": {"repository": "https://git.example/acme/widgets", "branch": "main", "workItems": ["do it"]},
    });
    merge(&mut full, body);
    let spec = SpawnSpec::parse(&full).expect("the sample body is right");
    Agent::admitted(AgentId(Uuid::new_v4()), spec, "mosaic", None, admitted)
}

fn merge(into: &mut Value, from: Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, from) => *into = from,
    }
}

/// Makes a newly admitted worker on this task.
pub fn agent(task: &str, admitted: Timestamp) -> Agent {
    agent_from(json!({"taskId": task}), admitted)
}

/// Makes a fact about this agent.
pub fn fact(kind: &str, agent: &Agent, when: Timestamp) -> LogRecord {
    let task = Some(agent.spec.task_id.clone());
    LogRecord::stored(kind, Some(agent.id), task, when, json!({"k": kind}))
}

/// Makes the admission of this agent with one fact.
pub fn admission(agent: &Agent) -> Admission {
    let facts = vec![fact("agent.spawned", agent, agent.spawned_at)];
    Admission { agent: agent.clone(), idempotency: None, job: None, job_data: None, facts }
}

/// Admits this agent and returns its record.
pub async fn admit(store: &dyn Store, agent: &Agent) -> Versioned {
    match store.admit(admission(agent)).await.expect("the admission is accepted") {
        Admitted::New(record) => record,
        Admitted::Replay(_) => panic!("no key was given"),
    }
}

/// Leases the next entry; panics when there is none.
pub async fn lease(store: &dyn Store, now: Timestamp) -> (Lease, Versioned) {
    store.lease(&node("n1"), now).await.expect("the store answers").expect("an entry is ready")
}

/// Returns this agent as it is while its tree is being made.
pub fn in_checkout(mut agent: Agent) -> Agent {
    agent.state = State::Checkout { turn: Turn::First };
    agent
}

/// Returns this agent as it is while its program runs, started at this time.
pub fn working(mut agent: Agent, now: Timestamp) -> Agent {
    agent.started_at.get_or_insert(now);
    agent.attempt = agent.attempt.max(1);
    agent.state = State::Working;
    agent
}

/// Returns this agent as it is after its end.
pub fn settled(mut agent: Agent, status: Status, reason: EndReason, now: Timestamp) -> Agent {
    let error = (status != Status::Completed).then(|| "it went wrong".to_owned());
    agent.state = State::Settled { end: End { status, reason, error, at: now } };
    agent
}

/// Returns this agent as it waits for its next attempt.
pub fn in_backoff(mut agent: Agent, until: Timestamp) -> Agent {
    let failure = Failure::new(FailureKind::Network, "the remote did not answer");
    agent.state = State::Queued { cause: QueueCause::Backoff { until, failure } };
    agent
}

/// Makes a change with one fact of this kind.
pub fn change(agent: Agent, kind: &str, now: Timestamp) -> Change {
    let facts = vec![fact(kind, &agent, now)];
    Change { safety: Safety::Process, agent, facts }
}

/// Returns the agents' ids in order.
pub fn ids(records: &[Versioned]) -> Vec<AgentId> {
    records.iter().map(|record| record.agent.id).collect()
}
