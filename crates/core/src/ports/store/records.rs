//! Records as they are read, admitted, written and removed.

use serde::{Deserialize, Serialize};

use crate::domain::agent::Agent;
use crate::domain::ids::{AgentId, Epoch, NodeId, Timestamp};
use crate::domain::journal::LogRecord;

use super::listing::EndedAfter;

/// A record as it was read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Versioned {
    /// The record.
    pub agent: Agent,
    /// Counts the writes of this record, from 1.
    pub version: u64,
    /// Its place in the order of admissions, from 1.
    pub seq: u64,
    /// The newest lease's epoch; 0 before the first.
    pub epoch: Epoch,
    /// The node that holds it now, when one does.
    pub node: Option<NodeId>,
    /// The node that was given the newest lease, also after the lease ended: what the agent left lies there.
    pub home: Option<NodeId>,
    /// The node whose archive has the whole record, where this is only its short form: ids, status, times, error, type,
    /// labels and context are true, everything else is as of a new agent, and no write takes it for the record.
    #[serde(default)]
    pub short: Option<NodeId>,
}

impl Versioned {
    /// Returns where a list of ended agents goes on after this one; nowhere when it has not ended.
    pub fn ended_after(&self) -> Option<EndedAfter> {
        self.agent.end().map(|end| EndedAfter { at: end.at.0, seq: self.seq })
    }
}

/// An idempotency key with what it stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Idempotency {
    /// The caller's key.
    pub key: String,
    /// Digest of method, path and canonical body.
    pub fingerprint: String,
}

/// A new agent to be written.
#[derive(Debug, Clone)]
pub struct Admission {
    /// The record; its state is `Queued`.
    pub agent: Agent,
    /// The caller's idempotency key, when given.
    pub idempotency: Option<Idempotency>,
    /// The job that another producer put into the queue for it, when it came that way: it keeps its place. Only from
    /// [`crate::ports::external_queue::ExternalQueue::external_changes`].
    pub job: Option<String>,
    /// The data of that job, where the agent was made of them: refused when they were changed since.
    pub job_data: Option<String>,
    /// Facts to log.
    pub facts: Vec<LogRecord>,
}

/// The answer to an admission.
#[derive(Debug, Clone)]
pub enum Admitted {
    /// The agent is new.
    New(Versioned),
    /// The same key and request were admitted before (within [`crate::limits::IDEMPOTENCY`]); the agent of then.
    Replay(Versioned),
}

/// Loss that a write must survive once the method has returned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Safety {
    /// The loss of power. For everything that somebody was told, or that must be known before something is done that
    /// cannot be undone.
    Power,
    /// The death of this process. The loss of power may take it back, but only together with every later write: then
    /// nothing of the agent's runs any more, and it goes on from the state before.
    Process,
}

/// A new state of a record with what to log about it.
#[derive(Debug, Clone)]
pub struct Change {
    /// Loss that the write must survive.
    pub safety: Safety,
    /// The new record.
    pub agent: Agent,
    /// Facts to log.
    pub facts: Vec<LogRecord>,
}

/// A record that is to go for good.
#[derive(Debug, Clone)]
pub struct Removal {
    /// The agent; it has ended.
    pub agent: AgentId,
    /// The version that was looked at.
    pub version: u64,
    /// When it is removed.
    pub at: Timestamp,
    /// Origin and reason of the removal, in one line.
    pub why: String,
    /// The node that removes it, having looked at what lies there: others keep what is nowhere else. Nothing when the work
    /// was given up wherever it lies.
    pub node: Option<NodeId>,
    /// Facts to log.
    pub facts: Vec<LogRecord>,
}

/// A record that could not be read and was set aside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Damaged {
    /// Its id as it stood in the store.
    pub id: String,
    /// Why it could not be read.
    pub why: String,
}
