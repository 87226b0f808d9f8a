//! The OpenAPI document is made from the route table and the types of the API, and served as it is checked in. Write it anew
//! with `MOSAIC_WRITE_DOCS=1 cargo test -p mosaic-server --test it the_openapi_document_is_as`.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use axum::body::Body;
use mosaic_api::{Operation, document};
use mosaic_server::{Scope, routes};
use serde_json::{Value, json};

use crate::documented::same;
use crate::world::{World, ask};

/// Everything of a route that the route table does not say: summary, query, body (`?` for one that may be left out), and
/// status with type of the answer.
type Described =
    (&'static str, &'static str, &'static str, &'static [&'static str], &'static str, (u16, &'static str));

const DESCRIBED: &[Described] = &[
    ("GET", "/health", "Tells that the server lives", &[], "", (200, "Health")),
    ("GET", "/health/ready", "Checks store, disk, git and dispatcher", &[], "", (200, "Readiness")),
    (
        "GET",
        "/v1/hello",
        "Proves that the server knows a token",
        &["nonce", "agent", "node"],
        "",
        (200, "Hello"),
    ),
    ("GET", "/openapi.json", "Describes the API", &[], "", (200, "object")),
    ("POST", "/agents/spawn", "Admits an agent", &["validate"], "SpawnRequest", (201, "Spawned")),
    ("GET", "/agents/{id}/status", "Shows the status of an agent", &[], "", (200, "StatusView")),
    ("POST", "/agents/{id}/kill", "Kills an agent", &[], "OrderRequest?", (200, "Killed")),
    ("POST", "/agents/kill-all", "Kills every agent", &[], "OrderRequest?", (200, "KillAll")),
    (
        "GET",
        "/v1/agents",
        "Lists agents, newest first",
        &[
            "status", "phase", "type", "repo", "branch", "taskId", "label", "q", "idPrefix", "since",
            "until", "dead", "limit", "cursor",
        ],
        "",
        (200, "AgentList"),
    ),
    ("POST", "/v1/agents", "Admits an agent", &["validate"], "SpawnRequest", (201, "Spawned")),
    ("POST", "/v1/agents/kill-all", "Kills every agent", &[], "OrderRequest?", (200, "KillAll")),
    ("GET", "/v1/agents/{id}", "Shows an agent, or waits for it", &["wait", "until"], "", (200, "AgentView")),
    ("DELETE", "/v1/agents/{id}", "Removes an ended agent", &["discard"], "", (200, "Removed")),
    ("POST", "/v1/prune", "Removes agents that ended long ago", &[], "PruneRequest?", (200, "Pruned")),
    ("POST", "/v1/agents/{id}/kill", "Kills an agent", &[], "OrderRequest?", (200, "Killed")),
    ("POST", "/v1/agents/{id}/freeze", "Freezes an agent", &[], "OrderRequest?", (200, "Frozen")),
    ("POST", "/v1/agents/{id}/thaw", "Resumes a frozen agent", &[], "OrderRequest?", (200, "Frozen")),
    ("POST", "/v1/agents/{id}/retry", "Repeats an ended agent", &[], "RetryRequest?", (201, "Spawned")),
    ("POST", "/v1/agents/{id}/restore", "Restores kept work", &[], "RestoreRequest?", (201, "Restored")),
    (
        "GET",
        "/v1/agents/{id}/transcript",
        "Shows what an agent said and did",
        &["after", "limit", "kinds", "thinking"],
        "",
        (200, "TranscriptPage"),
    ),
    ("GET", "/v1/agents/{id}/diff", "Shows what an agent changed", &["stat"], "", (200, "Diff")),
    (
        "GET",
        "/v1/agents/{id}/resources",
        "Shows what an agent uses",
        &["since", "step"],
        "",
        (200, "Resources"),
    ),
    ("GET", "/v1/agents/{id}/gates", "Shows the gates of an agent", &[], "", (200, "AgentGates")),
    (
        "GET",
        "/v1/agents/{id}/gates/{gate}/log",
        "Shows the log of a gate",
        &["after"],
        "",
        (200, "text/plain"),
    ),
    (
        "GET",
        "/v1/gates",
        "Shows the history of gates",
        &["repository", "gate", "since", "limit", "cursor"],
        "",
        (200, "GateHistoryList"),
    ),
    (
        "GET",
        "/v1/attention",
        "Lists decisions that people are asked for",
        &["limit", "cursor"],
        "",
        (200, "AttentionList"),
    ),
    (
        "POST",
        "/v1/attention/{id}/answer",
        "Answers a decision",
        &[],
        "AnswerRequest",
        (200, "AttentionAnswered"),
    ),
    (
        "GET",
        "/v1/events",
        "Streams events",
        &["after", "agent", "task", "types"],
        "",
        (200, "text/event-stream"),
    ),
    (
        "POST",
        "/v1/archive/read",
        "Reads archived records, for nodes",
        &[],
        "ArchiveRequest",
        (200, "ArchivedRecords"),
    ),
    ("GET", "/v1/state", "Shows the node in one snapshot", &[], "", (200, "NodeState")),
    ("GET", "/v1/queue", "Shows the queue", &["limit", "offset"], "", (200, "Queue")),
    ("GET", "/v1/queue/export", "Lists work for another store", &["before"], "", (200, "UnfinishedWork")),
    (
        "POST",
        "/v1/queue/export",
        "Ends work that another store takes",
        &[],
        "ExportRequest",
        (200, "Released"),
    ),
    ("POST", "/v1/queue/import", "Admits work of another store", &[], "ImportRequest", (200, "Imported")),
    ("POST", "/v1/queue/pause", "Pauses dispatch", &[], "OrderRequest?", (200, "Dispatch")),
    ("POST", "/v1/queue/resume", "Resumes dispatch", &[], "OrderRequest?", (200, "Dispatch")),
    (
        "GET",
        "/v1/audit",
        "Lists audit entries",
        &["after", "limit", "actor", "action", "since"],
        "",
        (200, "AuditPage"),
    ),
    ("GET", "/v1/audit/verify", "Checks the audit log", &[], "", (200, "AuditVerified")),
    ("POST", "/v1/drain", "Ends the server once nothing runs", &[], "OrderRequest?", (202, "DrainStarted")),
    ("GET", "/v1/nodes", "Lists the nodes of the fleet", &[], "", (200, "NodeList")),
    (
        "DELETE",
        "/v1/nodes/{node}",
        "Takes a node off the list",
        &["lost", "reason"],
        "",
        (200, "NodeRemoved"),
    ),
    ("POST", "/v1/nodes/{node}/cordon", "Cordons a node", &[], "OrderRequest?", (200, "Node")),
    ("POST", "/v1/nodes/{node}/uncordon", "Uncordons a node", &[], "OrderRequest?", (200, "Node")),
    ("POST", "/v1/nodes/{node}/drain", "Drains a node", &[], "OrderRequest?", (200, "Node")),
    ("GET", "/v1/killswitch", "Shows the kill switch", &[], "", (200, "KillSwitch")),
    (
        "POST",
        "/v1/killswitch/engage",
        "Engages the kill switch",
        &[],
        "OrderRequest?",
        (200, "SwitchEngaged"),
    ),
    (
        "POST",
        "/v1/killswitch/release",
        "Releases the kill switch",
        &[],
        "OrderRequest?",
        (200, "SwitchReleased"),
    ),
    ("GET", "/v1/tasks/{taskId}", "Lists the agents of a task", &[], "", (200, "TaskAgents")),
    ("DELETE", "/v1/tasks/{taskId}", "Ends waiting agents of a task", &[], "", (200, "TaskRemoved")),
];

pub(crate) fn made() -> Value {
    let described = |(method, path, summary, query, body, answer): &Described| {
        let route =
            routes().into_iter().find(|route| route.method.as_str() == *method && route.path == *path);
        let route = route.unwrap_or_else(|| panic!("{method} {path} is no route"));
        Operation {
            method: (*method).to_owned(),
            path: (*path).to_owned(),
            summary,
            query,
            body: Some(body.trim_end_matches('?')).filter(|body| !body.is_empty()),
            body_is_optional: body.ends_with('?'),
            answer: *answer,
            is_public: route.scope == Scope::Public,
        }
    };
    let operations: Vec<Operation> = DESCRIBED.iter().map(described).collect();
    document(env!("CARGO_PKG_VERSION"), &operations)
}

fn path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/openapi.json")
}

#[test]
fn the_openapi_document_is_as_routes_and_types_are() {
    let document = format!("{:#}\n", made());
    if std::env::var_os("MOSAIC_WRITE_DOCS").is_some() {
        fs::write(path(), &document).expect("docs/openapi.json can be written");
    }
    let there = fs::read_to_string(path()).expect("docs/openapi.json is there");
    assert!(
        there == document,
        "docs/openapi.json is old; see the top of this file for the command that writes it"
    );
}

#[test]
fn every_route_is_in_the_openapi_document() {
    let described = DESCRIBED.iter().map(|one| format!("{} {}", one.0, one.1)).collect();
    let there = routes().iter().map(|route| format!("{} {}", route.method, route.path)).collect();
    same("DESCRIBED in this file", described, there);
}

#[test]
fn every_reference_of_the_openapi_document_leads_somewhere() {
    fn references<'v>(value: &'v Value, found: &mut BTreeSet<&'v str>) {
        match value {
            Value::Array(items) => items.iter().for_each(|item| references(item, found)),
            Value::Object(fields) => {
                found.extend(fields.get("$ref").and_then(Value::as_str));
                fields.values().for_each(|field| references(field, found));
            }
            _ => {}
        }
    }
    let document = made();
    let mut found = BTreeSet::new();
    references(&document, &mut found);
    assert!(found.len() > 40, "{found:?}");
    for reference in found {
        let pointer = reference.trim_start_matches('#');
        assert!(document.pointer(pointer).is_some(), "{reference}");
    }
}

/// Returns the names of the fields that the schema of a body has.
fn fields(name: &str) -> BTreeSet<String> {
    let document = made();
    let properties = document["components"]["schemas"][name]["properties"].as_object().cloned();
    properties.unwrap_or_else(|| panic!("{name} has no fields")).into_iter().map(|(name, _)| name).collect()
}

/// Returns the fields that a route's reader knows: it lists them when it meets one that it does not know.
async fn known(world: &World, route: &str, body: Value) -> BTreeSet<String> {
    let answer = world.post(route, &body).await.json();
    let errors = answer["errors"].as_array().cloned().unwrap_or_default();
    let error = errors.iter().find(|error| error["code"] == "unknown");
    let message = error.and_then(|error| error["message"].as_str()).unwrap_or_else(|| panic!("{answer:#}"));
    let (_, names) = message.split_once("known are: ").unwrap_or_else(|| panic!("{message}"));
    names.split(", ").map(|name| name.trim_matches('"').to_owned()).collect()
}

#[tokio::test]
async fn the_readers_of_bodies_know_the_fields_of_the_types() {
    let world = World::new();
    let strange = json!({"zzzzzzzzzzzzzzzz": 1});
    assert_eq!(known(&world, "/agents/spawn", strange.clone()).await, fields("SpawnRequest"));
    assert_eq!(known(&world, "/v1/prune", strange.clone()).await, fields("PruneRequest"));
    let context = json!({"context": strange});
    assert_eq!(known(&world, "/agents/spawn", context).await, fields("Context"));
}

#[tokio::test]
async fn the_openapi_document_is_served_to_everybody() {
    let world = World::new();
    let question = ask("GET", "/openapi.json").body(Body::empty()).expect("a request");
    assert!(world.send(question).await.json() == made(), "another document is served");
}
