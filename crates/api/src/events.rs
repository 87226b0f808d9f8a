//! The event stream: the envelope in which an event goes out, and the closed list of events with the details that each has.

mod agents;
mod server;
mod work;

use std::fmt;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::agents::AgentView;
use crate::queue::{Counts, Pause};

pub use agents::{
    AgentAdopted, AgentAttention, AgentEnded, AgentFreeze, AgentMoved, AgentNodeLost, AgentPhase, AgentRan,
    AgentRemoved, AgentSpawning, AgentStopped, AttentionCleared, FixRequested, RetryScheduled, WorkReported,
};
pub use server::{
    BreakerTurned, DataRefused, JobRefused, KillAllDone, KillSwitchEngaged, KillSwitchReleased, NodeCordoned,
    NodeDelisted, NodeDrained, NodeJoined, NodeLost, NodeUncordoned, QueuePaused, QueueResumed,
};
pub use work::{
    FilterRefused, GateFinished, GateWord, GitCommit, GitConflict, GitPushed, GitRestored, GitSalvaged,
    SecretFound,
};

/// Defines the closed list: variant, details and kind.
macro_rules! events {
    ($($variant:ident($details:ident) = $kind:literal)*) => {
        /// An event: its kind with its details.
        #[derive(Debug, Clone, PartialEq)]
        #[expect(missing_docs, reason = "the kinds are the documentation, and docs/events.md says when each is told")]
        pub enum Event {
            $($variant($details),)*
            /// An event of a newer server.
            Unknown(UnknownEvent),
        }

        impl Event {
            /// Every kind.
            pub const KINDS: &[&str] = &[$($kind),*];

            /// Reads the details of an event of this kind. A kind that is not known, and details that are not those of
            /// the kind, are kept as they are.
            pub fn read(kind: &str, details: Map<String, Value>) -> Self {
                let details = Value::Object(details);
                let known = match kind {
                    $($kind => details_of(&details).map(Self::$variant),)*
                    _ => None,
                };
                known.unwrap_or_else(|| Self::Unknown(UnknownEvent { kind: kind.to_owned(), details }))
            }

            /// Returns the kind.
            pub fn kind(&self) -> &str {
                match self {
                    $(Self::$variant(_) => $kind,)*
                    Self::Unknown(event) => &event.kind,
                }
            }

            /// Returns the details as they are on the wire.
            pub fn details(&self) -> Value {
                match self {
                    $(Self::$variant(details) => serde_json::to_value(details).unwrap_or_default(),)*
                    Self::Unknown(event) => event.details.clone(),
                }
            }

            /// Returns the schema of the details of each kind.
            #[cfg(feature = "schema")]
            pub(crate) fn schemas() -> Vec<EventSchema> {
                vec![$(EventSchema::of::<$details>($kind)),*]
            }
        }
    };
}

events! {
    AgentSpawning(AgentSpawning) = "agent.spawning"
    AgentRunning(AgentRan) = "agent.running"
    AgentCompleted(AgentEnded) = "agent.completed"
    AgentFailed(AgentEnded) = "agent.failed"
    AgentKilled(AgentEnded) = "agent.killed"
    AgentPhase(AgentPhase) = "agent.phase"
    AgentAdopted(AgentAdopted) = "agent.adopted"
    AgentNodeLost(AgentNodeLost) = "agent.node_lost"
    AgentWorkReported(WorkReported) = "agent.work_reported"
    AgentFrozen(AgentFreeze) = "agent.frozen"
    AgentThawed(AgentFreeze) = "agent.thawed"
    AgentStopped(AgentStopped) = "agent.stopped"
    AgentAttention(AgentAttention) = "agent.attention"
    AgentAttentionCleared(AttentionCleared) = "agent.attention_cleared"
    AgentFixRequested(FixRequested) = "agent.fix_requested"
    AgentMoved(AgentMoved) = "agent.moved"
    AgentRemoved(AgentRemoved) = "agent.removed"
    TaskRetryScheduled(RetryScheduled) = "task.retry_scheduled"
    FilterRefused(FilterRefused) = "filter.refused"
    SecretFound(SecretFound) = "secret.found"
    GitCommit(GitCommit) = "git.commit"
    GitConflict(GitConflict) = "git.conflict"
    GitSalvaged(GitSalvaged) = "git.salvaged"
    GitRestored(GitRestored) = "git.restored"
    GitPushed(GitPushed) = "git.pushed"
    GateFinished(GateFinished) = "gate.finished"
    BreakerOpened(BreakerTurned) = "breaker.opened"
    BreakerClosed(BreakerTurned) = "breaker.closed"
    QueuePaused(QueuePaused) = "queue.paused"
    QueueResumed(QueueResumed) = "queue.resumed"
    QueueDataRefused(DataRefused) = "queue.data_refused"
    QueueJobRefused(JobRefused) = "queue.job_refused"
    KillSwitchEngaged(KillSwitchEngaged) = "killswitch.engaged"
    KillSwitchReleased(KillSwitchReleased) = "killswitch.released"
    NodeJoined(NodeJoined) = "node.joined"
    NodeLost(NodeLost) = "node.lost"
    NodeCordoned(NodeCordoned) = "node.cordoned"
    NodeUncordoned(NodeUncordoned) = "node.uncordoned"
    NodeRemoved(NodeDelisted) = "node.removed"
    NodeDrained(NodeDrained) = "node.drained"
    KillAllDone(KillAllDone) = "orchestrator.kill_all"
}

fn details_of<T: DeserializeOwned>(details: &Value) -> Option<T> {
    T::deserialize(details).ok()
}

impl Event {
    /// Tells whether an agent has ended with it.
    pub fn is_end(&self) -> bool {
        matches!(self, Self::AgentCompleted(_) | Self::AgentFailed(_) | Self::AgentKilled(_))
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind())
    }
}

/// An event of a kind, or with details, that this build does not know.
#[derive(Debug, Clone, PartialEq)]
pub struct UnknownEvent {
    /// Its kind.
    pub kind: String,
    /// Its details.
    pub details: Value,
}

/// Envelope of an event (CloudEvents 1.0): the `data` of a server-sent event.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub struct EventEnvelope {
    /// Version of the envelope.
    pub specversion: String,
    /// Number in the log.
    pub id: String,
    /// The node that tells of it.
    pub source: String,
    /// The kind, as `dev.mosaic.<kind>.v1`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its subject, such as `agents/7d0c…`.
    pub subject: String,
    /// Time at which it happened.
    pub time: String,
    /// Media type of `data`.
    pub datacontenttype: String,
    /// Number in the log.
    pub sequence: String,
    /// Its data.
    pub data: EventData,
}

/// Data of an event: the agent and the task that it is about, and the details of its kind.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct EventData {
    /// The agent it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_id: Option<String>,
    /// The task it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task_id: Option<String>,
    /// Details of its kind.
    #[serde(flatten)]
    #[cfg_attr(feature = "schema", schema(value_type = Object))]
    pub details: Map<String, Value>,
}

impl EventEnvelope {
    /// Returns the kind, such as `agent.running`.
    pub fn kind(&self) -> &str {
        let kind = self.kind.strip_prefix("dev.mosaic.").unwrap_or(&self.kind);
        kind.strip_suffix(".v1").unwrap_or(kind)
    }

    /// Reads the event in it.
    pub fn event(&self) -> Event {
        Event::read(self.kind(), self.data.details.clone())
    }
}

/// Schema of the details of one kind.
#[cfg(feature = "schema")]
pub(crate) struct EventSchema {
    /// The kind.
    pub(crate) kind: &'static str,
    /// Name of the schema.
    pub(crate) name: String,
    /// The schema, and those that it is made of.
    pub(crate) all: Vec<(String, utoipa::openapi::RefOr<utoipa::openapi::Schema>)>,
}

#[cfg(feature = "schema")]
impl EventSchema {
    fn of<T: utoipa::ToSchema>(kind: &'static str) -> Self {
        let name = T::name().into_owned();
        let mut all = vec![(name.clone(), T::schema())];
        T::schemas(&mut all);
        Self { kind, name, all }
    }
}

/// Data of the event `reset`: the client starts over.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct EventReset {
    /// Reason, for people.
    pub reason: String,
}

/// Data of the event `snapshot`: the state as of the newest event.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct EventSnapshot {
    /// Counts of all entries.
    pub counts: Counts,
    /// Dispatch is paused.
    pub paused: bool,
    /// The pause that stands.
    pub pause: Option<Pause>,
    /// Agents that have not ended, newest first, at most 500.
    pub agents: Vec<AgentView>,
    /// There are more agents.
    pub truncated: bool,
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, Value, json};

    use super::{Event, EventEnvelope};

    fn envelope(kind: &str, data: &Value) -> EventEnvelope {
        let text = json!({
            "specversion": "1.0", "id": "7", "source": "/orchestrators/laptop", "type": format!("dev.mosaic.{kind}.v1"),
            "subject": "agents/x", "time": "2026-11-22T10:04:09.112Z", "datacontenttype": "application/json",
            "sequence": "7", "data": data, "later": true,
        });
        serde_json::from_value(text).expect("a client tolerates what it does not know")
    }

    #[test]
    fn an_event_is_read_from_its_envelope() {
        let running =
            json!({"agentId": "x", "taskId": "T", "from": "spawning", "to": "running", "name": "t-x"});
        let envelope = envelope("agent.running", &running);
        assert_eq!((envelope.kind(), envelope.data.agent_id.as_deref()), ("agent.running", Some("x")));
        let Event::AgentRunning(ran) = envelope.event() else { panic!("{envelope:?}") };
        assert_eq!(ran.name, "t-x");
        assert_eq!(serde_json::to_value(&envelope).expect("it is JSON")["data"], running);
    }

    #[test]
    fn an_event_of_a_newer_server_is_kept_as_it_is() {
        let later = json!({"sandbox": "bubblewrap"});
        let event = envelope("agent.sandboxed", &later).event();
        assert!(matches!(event, Event::Unknown(_)), "{event:?}");
        assert_eq!((event.kind(), event.details()), ("agent.sandboxed", later));
        let changed = Event::read("git.commit", Map::new());
        assert!(matches!(changed, Event::Unknown(_)) && changed.kind() == "git.commit", "{changed:?}");
    }
}
