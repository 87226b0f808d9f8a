//! Whole answers for tests of screens: a sample of the API with some fields changed.

use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::sent::{Agent, Sent};

/// Reads a sample with these fields changed.
fn changed<T: DeserializeOwned>(mut sample: Value, fields: Value) -> Sent<T> {
    let Value::Object(fields) = fields else { panic!("the fields of a sample are an object") };
    for (name, value) in fields {
        sample[name] = value;
    }
    Sent::read(sample).unwrap_or_else(|e| panic!("no sample of the API: {e}"))
}

fn links() -> Value {
    json!({"self": "", "status": "", "transcript": "", "diff": "", "gates": "", "resources": "", "kill": ""})
}

fn status() -> Value {
    json!({
        "agentId": "", "taskId": "", "status": "running", "spawnedAt": "", "phase": "working", "attention": [], "endReason": null,
        "attempt": 0, "fixRound": 0, "verdict": null, "warnings": [], "branch": null, "name": "", "previousAgentId": null,
        "links": links(),
    })
}

/// Returns an agent that runs.
pub(crate) fn agent(fields: Value) -> Agent {
    let mut sample = status();
    let more = json!({
        "version": 1, "agentType": "worker", "gateProfile": "standard", "repository": "", "baseBranch": "", "priority": 5,
        "labels": {}, "node": null, "runtime": null, "model": null, "maxRetries": 3, "maxFixRounds": 2, "timeoutSeconds": 3600,
        "budget": {}, "spent": {"usd": 0.0, "turns": 0}, "baseCommit": null, "headCommit": null, "pushedCommit": null,
        "publication": {"state": "none"}, "keptWork": [], "deadline": null, "notBefore": null, "lastFailure": null,
        "queuePosition": null, "delayedBecause": null, "lastEventAt": null,
        "context": {"repository": "", "branch": "", "workItems": [""]}, "gates": [], "gatePlan": null, "gateReport": null,
        "findings": [], "result": null, "session": null,
    });
    let Value::Object(more) = more else { unreachable!("it is written as an object") };
    sample.as_object_mut().expect("a status is an object").extend(more);
    changed(sample, fields)
}

/// Returns the answer to a spawn.
pub(crate) fn spawned(fields: Value) -> Sent<mosaic_api::Spawned> {
    let sample = json!({
        "agentId": "", "status": "spawning", "phase": "queued", "queuePosition": null, "name": "", "taskId": "", "branch": "",
        "previousAgentId": null, "links": links(),
    });
    changed(sample, fields)
}

/// Returns the answer to a kill.
pub(crate) fn killed(fields: Value) -> Sent<mosaic_api::Killed> {
    let mut sample = status();
    sample["verified"] = json!(false);
    sample["alreadyTerminal"] = json!(false);
    sample["receipt"] = Value::Null;
    changed(sample, fields)
}

/// Returns a receipt of a kill.
pub(crate) fn receipt(fields: Value) -> Value {
    let sample = json!({
        "container": "", "lease": "released", "worktree": "none", "salvage": {"state": "none"}, "publication": {"state": "none"},
    });
    changed::<mosaic_api::KillReceipt>(sample, fields).json().clone()
}

/// Returns the answer to a kill-all.
pub(crate) fn kill_all(fields: Value) -> Sent<mosaic_api::KillAll> {
    let sample = json!({
        "total": 0, "killed": 0, "failed": 0, "errors": [], "queued": 0, "verified": false, "recorded": "durable", "barrier": 0,
        "receipts": [],
    });
    changed(sample, fields)
}

/// Returns a receipt of a kill-all.
pub(crate) fn agent_receipt(fields: Value) -> Value {
    let mut sample = receipt(json!({}));
    for (name, value) in
        [("agentId", json!("")), ("name", json!("")), ("status", json!("killed")), ("verified", json!(true))]
    {
        sample[name] = value;
    }
    changed::<mosaic_api::AgentReceipt>(sample, fields).json().clone()
}

/// Returns the kill switch, off.
pub(crate) fn kill_switch(fields: Value) -> Sent<mosaic_api::KillSwitch> {
    let sample = json!({
        "engaged": false, "by": null, "reason": null, "since": null, "recorded": "durable", "stopFile": null, "running": 0,
        "lastKillAll": null,
    });
    changed(sample, fields)
}

/// Returns an empty queue.
pub(crate) fn queue(fields: Value) -> Sent<mosaic_api::Queue> {
    changed(
        json!({
            "paused": false, "pause": null, "draining": false, "held": null, "counts": counts(0, 0, 0),
            "slots": {"total": 4, "used": 0}, "waiting": [], "dead": [],
        }),
        fields,
    )
}

/// Returns counts of the queue.
pub(crate) fn counts(waiting: u64, delayed: u64, dead: u64) -> Value {
    json!({"waiting": waiting, "delayed": delayed, "active": 0, "completed": 0, "failed": 0, "killed": 0, "dead": dead})
}

/// Returns an entry of the queue.
pub(crate) fn queue_entry(fields: Value) -> Value {
    let mut sample = status();
    for (name, value) in [
        ("agentType", json!("worker")),
        ("priority", json!(5)),
        ("notBefore", Value::Null),
        ("error", Value::Null),
    ] {
        sample[name] = value;
    }
    changed::<mosaic_api::QueueEntry>(sample, fields).json().clone()
}

/// Returns a node that is ready.
pub(crate) fn node(fields: Value) -> Sent<mosaic_api::Node> {
    let sample = json!({
        "node": "", "here": false, "alive": true, "seenAt": "", "leasesEndAt": null, "cordon": null, "draining": false,
        "slots": {"used": 0, "total": 4}, "version": "", "url": null, "clock": null, "labels": {}, "startedAt": "",
        "health": "taking", "held": null, "breakers": [], "runtimes": [], "sandbox": null,
    });
    changed(sample, fields)
}

/// Returns the state of a node on which nothing happens.
pub(crate) fn state(fields: Value) -> Sent<mosaic_api::NodeState> {
    let sample = json!({
        "node": "n", "version": "", "startedAt": "", "counts": counts(0, 0, 0), "slots": {"used": 0, "total": 4},
        "dispatch": "running", "pause": null,
        "admission": {"open": true, "reason": null, "memoryBytes": null, "memoryFloorBytes": 0, "loadPerCore": null,
            "loadCeiling": 1.5, "diskFloorBytes": 0},
        "breakers": [], "quotas": [], "attention": 0, "stalled": 0, "withWarnings": 0, "cleanupPending": 0,
        "nodes": {"total": 1, "alive": 1}, "cordoned": false, "cordon": null, "missingRuntimes": [], "uptimeSeconds": 1,
        "clock": null,
    });
    changed(sample, fields)
}

/// Returns the gates of an agent that was not judged.
pub(crate) fn gates(fields: Value) -> Sent<mosaic_api::AgentGates> {
    let sample = json!({
        "agentId": "", "taskId": "", "profile": "standard", "verdict": null, "phase": "gating", "fixRound": 0, "maxFixRounds": 2,
        "plan": null, "report": null, "findings": [],
    });
    changed(sample, fields)
}

/// Returns a diff without files.
pub(crate) fn diff(fields: Value) -> Sent<mosaic_api::Diff> {
    let sample = json!({"agentId": "", "base": null, "head": null, "files": [], "text": "", "truncated": false, "live": false});
    changed(sample, fields)
}

/// Returns a file of a diff.
pub(crate) fn diff_file(fields: Value) -> Value {
    let sample = json!({
        "path": "", "status": "modified", "oldMode": null, "newMode": null, "added": null, "deleted": null, "binary": false,
        "hunks": [],
    });
    changed::<mosaic_api::DiffFile>(sample, fields).json().clone()
}

/// Returns an entry of a transcript.
pub(crate) fn entry(fields: Value) -> Sent<mosaic_api::TranscriptEntry> {
    changed(json!({"n": 1, "at": "", "attempt": 1}), fields)
}

/// Returns the use of the machine by an agent.
pub(crate) fn resources(now: Value) -> Sent<mosaic_api::Resources> {
    let sample = json!({
        "agentId": "", "live": true, "phase": "working", "inPhaseMs": null, "lastEventAt": null, "lastOutputAt": null,
        "stall": "none", "now": null, "samples": [], "periodMs": 1000,
    });
    changed(sample, json!({"now": now}))
}

/// Returns a page of a prune.
pub(crate) fn pruned(fields: Value) -> Sent<mosaic_api::Pruned> {
    let sample = json!({
        "removed": 0, "unmerged": [], "elsewhere": {}, "errors": [], "freedBytes": 0, "dryRun": false, "nextCursor": null,
    });
    changed(sample, fields)
}

/// Returns work that is kept nowhere else.
pub(crate) fn unmerged(fields: Value) -> Value {
    let sample = json!({"agentId": "", "name": "", "commits": [], "more": false});
    changed::<mosaic_api::Unmerged>(sample, fields).json().clone()
}
