//! Rules of the in-memory store: which records wait, which a query finds, which writes are legal.

use mosaic_core::domain::agent::{Agent, State, Status};
use mosaic_core::domain::ids::Timestamp;
use mosaic_core::domain::outcome::EndReason;
use mosaic_core::domain::queue::rank;
use mosaic_core::ports::store::{Query, Versioned};

/// Tells whether a record waits in the queue.
pub(super) fn is_queued(record: &Versioned) -> bool {
    record.node.is_none() && matches!(record.agent.state, State::Queued { .. })
}

pub(super) fn is_ready(record: &Versioned, now: Timestamp) -> bool {
    is_queued(record) && record.agent.not_before().is_none_or(|at| at <= now)
}

pub(super) fn place(record: &Versioned) -> (u64, u64) {
    (rank(record.agent.spec.priority, record.agent.spawned_at), record.seq)
}

pub(super) fn is_dead(record: &Versioned) -> bool {
    use EndReason::{AgentError, NodeLost, RateLimited};
    let end = record.agent.end();
    end.is_some_and(|end| {
        end.status == Status::Failed && matches!(end.reason, AgentError | RateLimited | NodeLost)
    })
}

/// Panics when a write changes what never changes.
pub(super) fn check_legal(old: &Agent, new: &Agent) {
    let id = old.id;
    assert_eq!(old.spec, new.spec, "agent {id}: what was asked for never changes");
    assert_eq!((&old.name, &old.branch), (&new.name, &new.branch), "agent {id}: its names never change");
    assert_eq!(
        (old.spawned_at, old.previous),
        (new.spawned_at, new.previous),
        "agent {id}: its origin never changes"
    );
    assert!(old.started_at.is_none() || old.started_at == new.started_at, "agent {id}: it starts once");
    assert!(old.runs <= new.runs, "agent {id}: runs only grow");
    assert!(!old.is_terminal() || old.state == new.state, "agent {id}: nothing follows its end");
}

/// Tells whether a record meets a query.
pub(super) fn matches_query(record: &Versioned, query: &Query) -> bool {
    let agent = &record.agent;
    let spec = &agent.spec;
    let same = |wanted: &Option<String>, has: &str| wanted.as_deref().is_none_or(|wanted| wanted == has);
    let text = |part: &String| {
        let part = part.to_lowercase();
        [agent.name.clone(), spec.task_id.to_string(), agent.id.to_string()]
            .iter()
            .any(|has| has.to_lowercase().contains(&part))
    };
    let label =
        |(key, value): &(String, String)| spec.labels.iter().any(|(k, v)| k.as_str() == key && v == value);
    (query.status.is_empty() || query.status.contains(&agent.status()))
        && (query.phase.is_empty() || query.phase.contains(&agent.phase()))
        && query.agent_type.is_none_or(|kind| kind == spec.agent_type)
        && same(&query.repository, &spec.context.repository.to_string())
        && same(&query.branch, spec.context.branch.as_str())
        && same(&query.task, spec.task_id.as_str())
        && query.label.as_ref().is_none_or(label)
        && query.text.as_ref().is_none_or(text)
        && query.id_prefix.as_ref().is_none_or(|prefix| agent.id.to_string().starts_with(prefix.as_str()))
        && query.since.is_none_or(|since| agent.spawned_at >= since)
        && query.until.is_none_or(|until| agent.spawned_at < until)
        && (!query.dead || is_dead(record))
        && query.before_seq.is_none_or(|before| record.seq < before)
}
