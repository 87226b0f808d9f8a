//! Short forms: what stays of a record in the store once it lies in an archive. The contract's fields, and what lists need
//! to find it; both published keys of an ended task together take less than a kilobyte.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use mosaic_core::domain::agent::{Agent, End, State, Status};
use mosaic_core::domain::ids::{AgentId, Epoch, NodeId, TaskId, Timestamp, Word};
use mosaic_core::domain::outcome::{EndReason, cut};
use mosaic_core::domain::spec::{AgentType, SpawnSpec};
use mosaic_core::domain::status::StatusProjection;
use mosaic_core::limits::{
    ARCHIVE_LOOKS, SHORT_CONTEXT_BYTES, SHORT_ERROR_BYTES, SHORT_LABELS_BYTES, STORE_BATCH, STORE_PAGE,
};
use mosaic_core::ports::store::{Moving, StoreError, Versioned};
use redis::Value;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::args::{self, Args, strange};
use super::inner::Inner;
use super::record_error::RecordError;
use super::records::{self, json_text, millis};
use super::scripts::{MOVABLE, SHORTEN};

/// The repository of a short form whose task's record does not say it any more.
const NOWHERE: &str = "https://unknown.invalid/unknown";

/// The beginning of a short form; `head.lua` reads it up to the job.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Short {
    agent_id: AgentId,
    status: Status,
    archive: Archived,
    task_id: TaskId,
    spawned_at: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    started_at: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    completed_at: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// Where the whole record lies, and what of it lists are filtered by.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Archived {
    node: NodeId,
    seq: u64,
    version: u64,
    epoch: u64,
    #[serde(rename = "type")]
    agent_type: AgentType,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reason: Option<EndReason>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    labels: BTreeMap<Word, String>,
}

/// The part of a task's record that the short form keeps, behind its head.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ShortTask<'a> {
    context: serde_json::Value,
    task_id: &'a TaskId,
}

/// Tells whether a record's text is a short form.
pub(super) fn is_short(text: &[u8]) -> bool {
    text.starts_with(b"{\"agentId\":")
}

/// Writes the short form of a record that lies in the archive of this node, in two parts: between them the script puts the
/// job's id, when it is another than the agent's.
fn short_form(record: &Versioned, node: &NodeId) -> Result<(String, String), StoreError> {
    let agent = &record.agent;
    let (spec, status) = (&agent.spec, StatusProjection::of(agent));
    let labels = match json_text(&spec.labels)?.len() <= SHORT_LABELS_BYTES {
        true => spec.labels.clone(),
        false => BTreeMap::new(),
    };
    let mut head = json_text(&Short {
        agent_id: status.agent_id,
        status: status.status,
        archive: Archived {
            node: node.clone(),
            seq: record.seq,
            version: record.version,
            epoch: record.epoch.0,
            agent_type: spec.agent_type,
            reason: status.end_reason,
            labels,
        },
        task_id: status.task_id.clone(),
        spawned_at: status.spawned_at.to_string(),
        started_at: status.started_at.map(|at| at.to_string()),
        completed_at: status.completed_at.map(|at| at.to_string()),
        error: status.error.map(|error| cut(error.to_owned(), SHORT_ERROR_BYTES)),
    })?;
    // No name before it has a quote.
    let tail = head.split_off(head.find(",\"type\":").unwrap_or(head.len()));
    Ok((head, tail))
}

/// Returns the context of a task as far as there is room for it: at least where the work was to be done.
fn short_context(agent: &Agent) -> Result<serde_json::Value, StoreError> {
    let context = &agent.spec.context;
    if json_text(context)?.len() <= SHORT_CONTEXT_BYTES {
        return Ok(json!(context));
    }
    Ok(json!({"repository": context.repository, "branch": context.branch}))
}

/// Returns the task that a short form names.
pub(super) fn task_of(text: &[u8]) -> Option<TaskId> {
    serde_json::from_slice::<Short>(text).ok().map(|short| short.task_id)
}

/// Reads a short form; `task` is the record of its task. What neither says is as of a new agent.
pub(super) fn parse_short(id: AgentId, text: &[u8], task: &[u8]) -> Result<Versioned, RecordError> {
    let short: Short = serde_json::from_slice(text)?;
    if short.agent_id != id {
        return Err(RecordError::OtherAgent(short.agent_id));
    }
    let at = |text: &str| {
        Timestamp::from_rfc3339(text).map_err(|cause| RecordError::Time { text: text.to_owned(), cause })
    };
    let spawned_at = at(&short.spawned_at)?;
    let mut agent = Agent::admitted(id, spec_of(&short, task)?, "mosaic", None, spawned_at);
    agent.started_at = short.started_at.as_deref().map(at).transpose()?;
    agent.attempt = u32::from(agent.started_at.is_some());
    let ended = at(short.completed_at.as_deref().unwrap_or(&short.spawned_at))?;
    agent.state = State::Settled {
        end: End {
            status: short.status,
            reason: short.archive.reason.unwrap_or(EndReason::AgentError),
            error: short.error,
            at: ended,
        },
    };
    let Archived { node, seq, version, epoch, .. } = short.archive;
    Ok(Versioned {
        agent,
        version,
        seq,
        epoch: Epoch(epoch),
        node: None,
        home: Some(node.clone()),
        short: Some(node),
    })
}

fn spec_of(short: &Short, task: &[u8]) -> Result<SpawnSpec, RecordError> {
    let task: serde_json::Value = serde_json::from_slice(task).unwrap_or_default();
    let context = &task["context"];
    let cut_off = context["workItems"].as_array().is_none_or(Vec::is_empty);
    let mut body = json!({"taskId": short.task_id, "agentType": short.archive.agent_type, "labels": short.archive.labels,
        "context": {"repository": context["repository"], "branch": context["branch"], "workItems": context["workItems"]}});
    if cut_off {
        body["context"]["workItems"] = json!(["-"]);
    }
    // Another program may have written over the task's record; that is no damage of this one.
    let spec = SpawnSpec::parse(&body).or_else(|_| {
        body["context"] = json!({"repository": NOWHERE, "branch": "unknown", "workItems": ["-"]});
        SpawnSpec::parse(&body)
    });
    let mut spec = spec.map_err(|faults| {
        RecordError::Task(faults.iter().map(|fault| format!("{} {}", fault.pointer, fault.message)).collect())
    })?;
    if cut_off {
        spec.context.work_items.clear();
    }
    Ok(spec)
}

impl Inner {
    /// Lists records that may move into the archive of this node; see the port. One call looks at a bounded number of ended
    /// agents, the next one goes on where it stopped: those of a node that is gone stand in nobody's way.
    pub(super) async fn movable(
        &self,
        node: &NodeId,
        before: Timestamp,
        unplaced: bool,
        limit: usize,
    ) -> Result<Vec<Moving>, StoreError> {
        let from = self.moved_up_to.load(Ordering::Relaxed);
        let args = Args::default().text(node.as_str()).number(millis(before)).flag(unplaced).number(from);
        let args = args.number(limit.clamp(1, STORE_PAGE) as u64).number(ARCHIVE_LOOKS);
        let mut answer = args::list(self.run(&MOVABLE, args).await?, "what may be archived")?.into_iter();
        let next = match answer.next() {
            Some(Value::Int(next)) if next > 0 => u64::try_from(next).unwrap_or(0),
            _ => 0,
        };
        let mut found = Vec::new();
        while let (Some(text), Some(lines)) = (answer.next(), answer.next()) {
            let (Value::BulkString(text), Some(lines)) = (text, args::text(&lines)) else { continue };
            // A damaged record is set aside by whoever asks for it.
            let Some(record) = records::parse_whole(&text) else { continue };
            let history = lines.lines().map(str::to_owned).collect();
            found.push(Moving { record, history });
        }
        // Those that are moved now are not in the list any more.
        self.moved_up_to.store(next.saturating_sub(found.len() as u64), Ordering::Relaxed);
        Ok(found)
    }

    /// Leaves short forms; see the port.
    pub(super) async fn shorten(
        &self,
        moved: &[Moving],
        node: &NodeId,
    ) -> Result<Vec<Result<(), StoreError>>, StoreError> {
        let mut out = Vec::with_capacity(moved.len());
        for part in moved.chunks(STORE_BATCH) {
            let mut args = self.logging().text(node.as_str()).number(part.len() as u64);
            for one in part {
                args = args.all(Self::short_args(&one.record, node)?);
            }
            let answers = args::list(self.run(&SHORTEN, args).await?, "a move to the archive")?;
            if answers.len() != part.len() {
                return Err(strange("a move to the archive"));
            }
            for (one, answer) in part.iter().zip(answers) {
                out.push(match args::text(&answer) {
                    Some("done") => Ok(()),
                    word => Err(self.refusal(one.record.agent.id, word).await?),
                });
            }
        }
        Ok(out)
    }

    /// Puts together what the script takes for one record.
    fn short_args(record: &Versioned, node: &NodeId) -> Result<Args, StoreError> {
        let agent = &record.agent;
        let context = ShortTask { context: short_context(agent)?, task_id: &agent.spec.task_id };
        let (head, tail) = short_form(record, node)?;
        Ok(Args::default()
            .long(agent.id.to_string())
            .number(record.version)
            .long(head)
            .long(tail)
            .text(agent.spec.task_id.as_str())
            .long(json_text(&context)?[1..].to_owned()))
    }
}
