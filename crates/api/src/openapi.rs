//! The OpenAPI document: made from operations and from the schemas of every type.

use serde_json::{Map, Value, json};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use crate::events::EventSchema;
use crate::*;

/// One route as the document describes it.
#[derive(Debug, Clone)]
pub struct Operation {
    /// The method.
    pub method: String,
    /// The path, with its parameters in braces.
    pub path: String,
    /// Its effect in a few words.
    pub summary: &'static str,
    /// Its query parameters.
    pub query: &'static [&'static str],
    /// The type of its body, when it takes one.
    pub body: Option<&'static str>,
    /// The body may be left out.
    pub body_is_optional: bool,
    /// Status and type of its answer; a media type with a slash stands for itself.
    pub answer: (u16, &'static str),
    /// No token is needed.
    pub is_public: bool,
}

/// Adds the schemas of types, and of those that they are made of, by name.
macro_rules! schemas {
    ($all:ident: $($type:ident)*) => {
        $(
            $all.push((<$type as ToSchema>::name().into_owned(), <$type as PartialSchema>::schema()));
            <$type as ToSchema>::schemas(&mut $all);
        )*
    };
}

/// Makes the document of the server's routes.
pub fn document(version: &str, operations: &[Operation]) -> Value {
    assembled("Mosaic Orchestrator", "http://localhost:3001", version, operations, schemas())
}

/// Makes the document of a coordinator's routes.
pub fn coordinator_document(version: &str, operations: &[Operation]) -> Value {
    let mut all: Vec<(String, RefOr<Schema>)> = Vec::new();
    schemas!(all: BundleReceived CheckAnswer CheckRequest Health Hello ProblemBody Readiness);
    assembled("Mosaic Coordinator", "http://localhost:3002", version, operations, by_name(all))
}

fn assembled(
    title: &str,
    server: &str,
    version: &str,
    operations: &[Operation],
    schemas: Map<String, Value>,
) -> Value {
    let mut paths = Map::new();
    for operation in operations {
        let path = paths.entry(operation.path.clone()).or_insert_with(|| json!({}));
        path[operation.method.to_lowercase()] = described(operation);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": title,
            "version": version,
            "license": {"name": "MIT OR Apache-2.0"},
        },
        "servers": [{"url": server}],
        "security": [{"token": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            "schemas": schemas,
        },
    })
}

fn by_name(all: Vec<(String, RefOr<Schema>)>) -> Map<String, Value> {
    let shown = |(name, schema)| (name, without_unknown(serde_json::to_value(schema).unwrap_or_default()));
    all.into_iter().map(shown).collect()
}

fn schemas() -> Map<String, Value> {
    let mut all: Vec<(String, RefOr<Schema>)> = Vec::new();
    schemas!(all:
        AgentGates AgentList AgentView AnswerRequest ArchiveRequest ArchivedRecords AttentionAnswered AttentionList AuditPage AuditVerified Diff Dispatch DrainStarted EventEnvelope EventReset EventSnapshot ExportRequest Frozen GateHistoryList GateOutput GateOutputEnd Health
        Hello ImportRequest Imported KillAll KillSwitch Killed Node NodeList NodeRemoved NodeState OrderRequest ProblemBody PruneRequest Pruned Queue
        Readiness Released Removed Resources RestoreRequest Restored RetryRequest SpawnRequest Spawned StatusView SwitchEngaged
        SwitchReleased TaskAgents TaskRemoved TranscriptEnd TranscriptPage UnfinishedWork
    );
    let events = Event::schemas();
    let event = event_schema(&events);
    all.extend(events.into_iter().flat_map(|event| event.all));
    let mut schemas = by_name(all);
    schemas.insert("Event".to_owned(), event);
    schemas
}

/// Returns the schema of an event: its envelope, and for each kind the details that are in its data.
fn event_schema(events: &[EventSchema]) -> Value {
    let one = |event: &EventSchema| {
        let kind = format!("dev.mosaic.{}.v1", event.kind);
        json!({
            "type": "object",
            "required": ["type", "data"],
            "properties": {"type": {"type": "string", "enum": [kind]}, "data": reference(&event.name)},
        })
    };
    json!({
        "description": "One event of the stream: its envelope, and the details of its kind.",
        "allOf": [reference("EventEnvelope"), {"oneOf": events.iter().map(one).collect::<Vec<Value>>()}],
    })
}

/// Leaves out the word for what a client does not know: no server sends it.
fn without_unknown(mut schema: Value) -> Value {
    if let Some(words) = schema.get_mut("enum").and_then(Value::as_array_mut) {
        words.retain(|word| word != "unknown");
    }
    schema
}

fn described(operation: &Operation) -> Value {
    let in_path = operation.path.split('{').skip(1).filter_map(|part| part.split('}').next());
    let in_path = in_path.map(|name| (name, "path", true));
    let in_query = operation.query.iter().map(|name| (*name, "query", false));
    let parameter = |(name, place, required): (&str, &str, bool)| json!({"name": name, "in": place, "required": required, "schema": {"type": "string"}});
    let (status, answer) = operation.answer;
    let problem = json!({
        "description": "Problem",
        "content": {"application/problem+json": {"schema": reference("ProblemBody")}},
    });
    let mut described = json!({
        "operationId": id(operation),
        "summary": operation.summary,
        "parameters": in_path.chain(in_query).map(parameter).collect::<Vec<Value>>(),
        "responses": {
            status.to_string(): {"description": operation.summary, "content": content(answer)},
            "default": problem,
        },
    });
    if let Some(body) = operation.body {
        described["requestBody"] = json!({"required": !operation.body_is_optional, "content": content(body)});
    }
    if operation.is_public {
        described["security"] = json!([]);
    }
    described
}

fn reference(name: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{name}")})
}

fn content(kind: &str) -> Value {
    match kind {
        "object" => json!({"application/json": {"schema": {"type": "object"}}}),
        media if media.contains('/') => json!({media: {"schema": {"type": "string"}}}),
        name => json!({"application/json": {"schema": reference(name)}}),
    }
}

/// Returns a name that generators make a method of, such as `postAgentsSpawn`.
fn id(operation: &Operation) -> String {
    let words = operation.path.split(['/', '{', '}', '-']).filter(|word| !word.is_empty());
    let words = words.map(|word| {
        let mut letters = word.chars();
        letters.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(letters).collect::<String>()
    });
    operation.method.to_lowercase() + &words.collect::<String>()
}
