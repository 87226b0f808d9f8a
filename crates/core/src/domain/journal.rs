//! The event log: one [`Entry`] per fact, numbered without gaps by the store; and the envelope (CloudEvents 1.0) in which a
//! fact goes out.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::agent::Agent;
use super::facts::Fact;
use super::ids::{AgentId, TaskId, Timestamp};

/// A fact with its subject and its time, as the log keeps it.
///
/// Kind and details are kept as they are written: what a newer build logged stays readable here, whatever it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LogRecord {
    kind: String,
    /// The agent it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent: Option<AgentId>,
    /// The task it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub task: Option<TaskId>,
    /// When it happened.
    pub at: Timestamp,
    data: Value,
}

/// A logged fact with its number.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Its place in the log, from 1, without gaps.
    pub seq: u64,
    /// The fact.
    #[serde(flatten)]
    pub fact: LogRecord,
}

impl LogRecord {
    /// Makes the record of a fact about no agent.
    pub fn new(fact: &Fact, at: Timestamp) -> Self {
        Self { kind: fact.kind().to_owned(), agent: None, task: None, at, data: fact.data() }
    }

    /// Makes the record of a fact about an agent.
    pub fn about(agent: &Agent, fact: &Fact, at: Timestamp) -> Self {
        let task = Some(agent.spec.task_id.clone());
        Self { agent: Some(agent.id), task, ..Self::new(fact, at) }
    }

    /// Makes a record of what a log has: its kind may be one of a newer build.
    pub fn stored(
        kind: impl Into<String>,
        agent: Option<AgentId>,
        task: Option<TaskId>,
        at: Timestamp,
        data: Value,
    ) -> Self {
        Self { kind: kind.into(), agent, task, at, data }
    }

    /// Returns the kind, such as `agent.running`; `docs/events.md` lists all.
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// Returns the details of the fact; free of secrets.
    pub fn data(&self) -> &Value {
        &self.data
    }

    /// Returns the envelope as far as it is known before the fact is logged: without `id`, `sequence` and `time`. `source`
    /// is the name of the node that tells of it.
    pub fn envelope_before_its_place(&self, source: &str) -> Value {
        let mut data = Map::new();
        if let Some(agent) = self.agent {
            data.insert("agentId".to_owned(), json!(agent));
        }
        if let Some(task) = &self.task {
            data.insert("taskId".to_owned(), json!(task));
        }
        match &self.data {
            Value::Object(more) => data.extend(more.clone()),
            Value::Null => {}
            other => drop(data.insert("value".to_owned(), other.clone())),
        }
        let subject = match (self.agent, &self.task) {
            (Some(agent), _) => format!("agents/{agent}"),
            (None, Some(task)) => format!("tasks/{task}"),
            (None, None) => self.kind.split('.').next().unwrap_or("orchestrator").to_owned(),
        };
        envelope(source, &self.kind, &subject, Value::Object(data))
    }
}

impl Entry {
    /// Wraps the fact in its envelope; `source` is the name of the node that tells of it.
    pub fn envelope(&self, source: &str) -> Value {
        place(self.fact.envelope_before_its_place(source), self.seq, self.fact.at)
    }
}

/// Makes the envelope of something that is told in the log's place but is no fact of its own.
pub fn cloud_event(source: &str, seq: u64, kind: &str, subject: &str, at: Timestamp, data: Value) -> Value {
    place(envelope(source, kind, subject, data), seq, at)
}

fn envelope(source: &str, kind: &str, subject: &str, data: Value) -> Value {
    json!({
        "specversion": "1.0", "source": format!("/orchestrators/{source}"), "type": format!("dev.mosaic.{kind}.v1"),
        "subject": subject, "datacontenttype": "application/json", "data": data,
    })
}

fn place(mut envelope: Value, seq: u64, at: Timestamp) -> Value {
    envelope["id"] = json!(seq.to_string());
    envelope["sequence"] = json!(seq.to_string());
    envelope["time"] = json!(at.to_rfc3339());
    envelope
}
