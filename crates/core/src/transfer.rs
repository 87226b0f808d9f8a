//! Waiting work on its way from one store to another: what is taken along, how it ends in the store that it leaves, and how it
//! is admitted in the other. Each step can be repeated: the agent keeps its id, which no store admits twice.

use serde::{Deserialize, Serialize};

use crate::caller_texts::known_values_in;
use crate::domain::agent::{Agent, State, Status};
use crate::domain::facts::{AgentSpawning, Fact};
use crate::domain::ids::AgentId;
use crate::domain::journal::LogRecord;
use crate::domain::lifecycle::{self, Event, KillCause, Now};
use crate::domain::spec::FieldError;
use crate::limits;
use crate::orchestrator::Orchestrator;
use crate::ports::scanner::SecretScanner;
use crate::ports::store::{Admission, Change, Query, Safety, Store, StoreError, Versioned};

/// A waiting agent as it travels.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Its sequence number in the store that it leaves, which orders the entries.
    pub seq: u64,
    /// Its record.
    pub agent: Agent,
}

/// A page of the unfinished work of a store.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Unfinished {
    /// Waiting agents, newest admission first.
    pub waiting: Vec<Entry>,
    /// Agents that run, or that ran under a server that is gone: they stay.
    pub at_work: Vec<AgentId>,
    /// Waiting agents that a standing order ends: they stay, so that it does.
    pub ordered: Vec<AgentId>,
    /// The sequence number before which the next page begins; none on the last one.
    pub next: Option<u64>,
}

/// Outcome of an entry's arrival in the store that it came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "camelCase")]
pub enum Arrival {
    /// It was admitted.
    Admitted,
    /// It is there already.
    There,
    /// It was there and has ended, or was removed: it is not run again.
    Ended,
    /// Another agent works on its task.
    #[serde(rename_all = "camelCase")]
    Busy {
        /// That agent.
        agent_id: AgentId,
    },
    /// It cannot be taken as it is; nothing of it was written.
    Refused {
        /// The reason, which names fields and repeats no value.
        reason: String,
    },
}

/// Most faults that the reason of a refused entry names.
const NAMED_FAULTS: usize = 3;

impl Arrival {
    /// Refuses an entry for faults in its record.
    fn refused(faults: &[FieldError]) -> Self {
        let named: Vec<String> = faults
            .iter()
            .take(NAMED_FAULTS)
            .map(|fault| format!("{} {}", fault.pointer, fault.message))
            .collect();
        Self::Refused { reason: named.join("; ") }
    }
}

/// Lists a page of the unfinished work of a store, newest admission first: what was admitted before this sequence number.
pub async fn page(store: &dyn Store, before_seq: Option<u64>) -> Result<Unfinished, StoreError> {
    let orders = store.orders().await?;
    // An agent that waits for its next attempt is `running` to callers. So both are listed, and the state
    // tells which of them wait.
    let status = vec![Status::Spawning, Status::Running];
    let query = Query { status, before_seq, limit: limits::TRANSFER_PAGE, ..Query::default() };
    let page = store.list(query).await?;
    let mut found = Unfinished::default();
    if page.len() == limits::TRANSFER_PAGE {
        found.next = page.last().map(|record| record.seq);
    }
    for record in page {
        let id = record.agent.id;
        if record.node.is_some() || !matches!(record.agent.state, State::Queued { .. }) {
            found.at_work.push(id);
        } else if orders.kills.iter().any(|kill| kill.agent == id)
            || orders.event(&record.agent, record.seq).is_some_and(|e| matches!(e, Event::Kill { .. }))
        {
            found.ordered.push(id);
        } else {
            found.waiting.push(Entry { seq: record.seq, agent: record.agent });
        }
    }
    Ok(found)
}

/// Ends waiting agents in the store that they leave, so that they are started nowhere but where the export is imported. Returns
/// those that ended so, now or when this was done before; the others have been taken, or ended otherwise.
pub async fn release(
    store: &dyn Store,
    export: &str,
    agents: &[AgentId],
    now: Now,
) -> Result<Vec<AgentId>, StoreError> {
    let note = format!("exported from this store ({export}); it runs where that export is imported");
    let mut left = Vec::new();
    for part in agents.chunks(limits::STORE_BATCH) {
        let mut changes = Vec::new();
        for id in part {
            let record = match store.get(*id).await {
                Ok(record) => record,
                // One that was never here is an error: the export is another store's.
                Err(StoreError::Pruned { .. } | StoreError::Quarantined(_)) => continue,
                Err(e) => return Err(e),
            };
            // The note names the export. So an end by an earlier try of this export is told from a person's
            // kill and from the end by another export.
            if record.agent.end().is_some_and(|end| end.error.as_deref() == Some(note.as_str())) {
                left.push(*id);
            } else if let Some(change) = ending(record, &note, now) {
                changes.push(change);
            }
        }
        let ids: Vec<AgentId> = changes.iter().map(|(_, change)| change.agent.id).collect();
        for (id, written) in ids.into_iter().zip(store.amend(changes).await?) {
            match written {
                Ok(_) => left.push(id),
                // A slot was faster.
                Err(StoreError::Conflict(_) | StoreError::NotFound(_)) => {}
                Err(e) => return Err(e),
            }
        }
    }
    Ok(left)
}

fn ending(record: Versioned, note: &str, now: Now) -> Option<(u64, Change)> {
    let waits = record.node.is_none() && matches!(record.agent.state, State::Queued { .. });
    let kill = Event::Kill { cause: KillCause::Operator, note: note.to_owned() };
    let step = waits.then(|| lifecycle::next(&record.agent, kill, now).ok()).flatten()?;
    Some((record.version, Change { safety: Safety::Power, agent: step.agent, facts: step.facts }))
}

/// Admits an entry, unless it holds a value that the scanner knows as secret: it would be recorded, shown and given to an
/// agent. Its record stays as it is, unless an order to kill all here would cover it by its age alone: it is younger than
/// that order here.
///
/// Errors: `QueueFull`, `Unavailable` and the like; nothing was written then.
pub async fn admit(
    store: &dyn Store,
    scanner: &dyn SecretScanner,
    entry: &Entry,
    now: Now,
) -> Result<Arrival, StoreError> {
    let mut agent = entry.agent.clone();
    let faults = known_values_in(scanner, "/agent", &agent);
    if !faults.is_empty() {
        // One that is here already stays as it is, whatever has become a secret since.
        return Ok(known(store, agent.id).await?.unwrap_or_else(|| Arrival::refused(&faults)));
    }
    if !matches!(agent.state, State::Queued { .. }) {
        return Ok(Arrival::Refused { reason: "its record is not that of a waiting agent".to_owned() });
    }
    if let Some(known) = known(store, agent.id).await? {
        return Ok(known);
    }
    let barrier = store.orders().await?.barrier;
    if barrier.is_some_and(|barrier| barrier.covers(u64::MAX, agent.spawned_at)) {
        agent.spawned_at = now.at;
    }
    let id = agent.id;
    let fact = LogRecord::about(&agent, &Fact::AgentSpawning(AgentSpawning::of(&agent)), now.at);
    let admission = Admission { agent, idempotency: None, job: None, job_data: None, facts: vec![fact] };
    match store.admit(admission).await {
        Ok(_) => Ok(Arrival::Admitted),
        Err(StoreError::TaskActive { agent }) if agent == id => Ok(Arrival::There),
        Err(StoreError::TaskActive { agent }) => Ok(Arrival::Busy { agent_id: agent }),
        Err(StoreError::Conflict(id)) => known(store, id).await?.ok_or(StoreError::Conflict(id)),
        Err(e) => Err(e),
    }
}

async fn known(store: &dyn Store, id: AgentId) -> Result<Option<Arrival>, StoreError> {
    match store.get(id).await {
        Ok(record) if record.agent.is_terminal() => Ok(Some(Arrival::Ended)),
        Ok(_) => Ok(Some(Arrival::There)),
        Err(StoreError::Pruned { .. } | StoreError::Quarantined(_)) => Ok(Some(Arrival::Ended)),
        Err(StoreError::NotFound(_)) => Ok(None),
        Err(e) => Err(e),
    }
}

impl Orchestrator {
    /// Admits an entry of another store's export here, see [`admit`].
    pub async fn take_in_entry(&self, entry: &Entry) -> Result<Arrival, StoreError> {
        let arrival = admit(&*self.ports.store, &*self.ports.scanner, entry, self.decide_now()).await?;
        if arrival == Arrival::Admitted {
            self.wake.notify_one();
        }
        Ok(arrival)
    }
}
