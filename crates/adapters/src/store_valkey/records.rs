//! Records as JSON. A record begins with a head that scripts read and write; then come the fields of the contract's status
//! answer and ours, for people; last the whole record as the program knows it. Head and whole record are the truth.

use mosaic_core::domain::agent::{Agent, State, Status};
use mosaic_core::domain::ids::{AgentId, Epoch, NodeId, Timestamp};
use mosaic_core::domain::journal::LogRecord;
use mosaic_core::domain::outcome::{EndReason, cut};
use mosaic_core::domain::status::StatusProjection;
use mosaic_core::limits;
use mosaic_core::ports::store::{StoreError, Versioned};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::record_error::RecordError;

/// The fields of a record that are read back.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Kept {
    version: u64,
    seq: u64,
    epoch: u64,
    node: Option<NodeId>,
    home: Option<NodeId>,
    status: String,
    agent_id: AgentId,
    record: Agent,
}

/// Reads a record.
pub(super) fn parse(id: AgentId, text: &[u8]) -> Result<Versioned, RecordError> {
    let kept: Kept = serde_json::from_slice(text)?;
    if kept.agent_id != id || kept.record.id != id {
        return Err(RecordError::OtherAgent(kept.record.id));
    }
    // Scripts decide by the head and the program by the whole record. Where the two disagree, neither can be believed.
    let status = kept.record.status().as_str();
    if kept.status != status {
        return Err(RecordError::Status { record: status, head: kept.status });
    }
    Ok(Versioned {
        agent: kept.record,
        version: kept.version,
        seq: kept.seq,
        epoch: Epoch(kept.epoch),
        node: kept.node,
        home: kept.home,
        short: None,
    })
}

/// Reads a whole record, whose ever it is; nothing when it is none.
pub(super) fn parse_whole(text: &[u8]) -> Option<Versioned> {
    let kept: Kept = serde_json::from_slice(text).ok()?;
    parse(kept.agent_id, text).ok()
}

/// The part of a record after the head.
#[derive(Serialize)]
struct Tail<'a> {
    #[serde(flatten)]
    status: StatusProjection<'a>,
    record: &'a Agent,
}

/// Writes what follows the head of a record.
pub(super) fn tail(agent: &Agent) -> Result<String, StoreError> {
    let tail = Tail { status: StatusProjection::of(agent), record: agent };
    json_text(&tail).map(|text| text[1..].to_owned())
}

/// Writes what follows the head of a task's record.
pub(super) fn task_tail(agent: &Agent) -> Result<String, StoreError> {
    let text = json_text(&json!({"taskId": agent.spec.task_id, "context": agent.spec.context}))?;
    Ok(text[1..].to_owned())
}

/// Returns how the record of an ended agent closes, so that another end is told apart.
pub(super) fn closing(agent: &Agent) -> Result<String, StoreError> {
    Ok(format!("\"state\":{}}}}}", json_text(&agent.state)?))
}

/// Writes anything as JSON.
pub(super) fn json_text<T: Serialize>(value: &T) -> Result<String, StoreError> {
    serde_json::to_string(value)
        .map_err(|e| StoreError::Unavailable(format!("a record cannot be written as JSON: {e}")))
}

/// Returns a time as scripts calculate with it: they are exact up to 2^53.
pub(super) fn millis(at: Timestamp) -> u64 {
    at.0.min((1 << 53) - 1)
}

/// Returns an id as it stands between quotes in JSON, without any quote in it.
pub(super) fn quoted_inside(id: &str) -> Result<String, StoreError> {
    let text = json_text(&id)?;
    // `head.lua` reads the job up to the next quote. An escaped quote in the id of another producer's job would end it
    // there and make the record look damaged.
    Ok(text[1..text.len() - 1].replace("\\\"", "\\u0022"))
}

/// The six arguments of a fact: see `journal.lua`.
pub(super) fn fact_args(fact: &LogRecord, source: &str) -> Result<[String; 6], StoreError> {
    let at = millis(fact.at);
    let mut entry = json!({"kind": fact.kind(), "data": fact.data()});
    if let Some(agent) = fact.agent {
        entry["agent"] = json!(agent);
    }
    if let Some(task) = &fact.task {
        entry["task"] = json!(task);
    }
    let envelope = fact.envelope_before_its_place(source);
    let open = |value: &Value| json_text(value).map(|text| text[..text.len() - 1].to_owned());
    let stamp = Timestamp(at).to_rfc3339();
    let mut line = format!("{stamp} {} {}", fact.kind(), fact.data());
    line = cut(line, limits::JOB_LOG_LINE_BYTES);
    Ok([
        fact.agent.map(|agent| agent.to_string()).unwrap_or_default(),
        at.to_string(),
        stamp,
        open(&entry)? + ",\"at\":",
        open(&envelope)? + ",\"time\":\"",
        line,
    ])
}

/// Tells whether an agent failed although every attempt was used.
pub(super) fn is_dead(agent: &Agent) -> bool {
    use EndReason::{AgentError, NodeLost, RateLimited};
    let retried = |reason| matches!(reason, AgentError | RateLimited | NodeLost);
    agent.end().is_some_and(|end| end.status == Status::Failed && retried(end.reason))
}

/// Tells whether an agent waits in the queue, once nobody holds it.
pub(super) fn is_queued(agent: &Agent) -> bool {
    matches!(agent.state, State::Queued { .. })
}

#[cfg(test)]
mod tests {
    use mosaic_core::domain::agent::{Attention, AttentionKind, End};
    use mosaic_core::domain::outcome::EndReason;
    use mosaic_testkit::store_suite::sample;

    use super::*;

    #[test]
    fn a_record_shows_the_status_between_its_head_and_the_whole() {
        let mut agent = sample::agent("T-1", Timestamp(1_795_341_849_112));
        let since = agent.spawned_at;
        agent.attention = vec![Attention { kind: AttentionKind::Quota, summary: "waits".to_owned(), since }];
        let (id, name, branch) = (agent.id, agent.name.clone(), agent.branch.clone());
        let shown = |text: String| text.split_once(",\"record\":").expect("the whole follows").0.to_owned();
        let attention = r#"[{"kind":"quota","since":"2026-11-22T10:04:09.112Z","summary":"waits"}]"#;
        let start = format!(r#""agentId":"{id}","taskId":"T-1","spawnedAt":"2026-11-22T10:04:09.112Z","#);
        let rest =
            format!(r#""attempt":0,"fixRound":0,"name":"{name}","branch":"{branch}","previousAgentId":null"#);
        assert_eq!(
            shown(tail(&agent).unwrap()),
            format!(r#"{start}"endReason":null,"attention":{attention},{rest}"#)
        );
        agent.started_at = Some(since);
        let (status, reason) = (Status::Failed, EndReason::Auth);
        agent.state =
            State::Settled { end: End { status, reason, error: Some("why".to_owned()), at: since } };
        let times = r#""startedAt":"2026-11-22T10:04:09.112Z","completedAt":"2026-11-22T10:04:09.112Z","error":"why","#;
        assert_eq!(
            shown(tail(&agent).unwrap()),
            format!(r#"{start}{times}"endReason":"auth","attention":{attention},{rest}"#)
        );
    }
}
