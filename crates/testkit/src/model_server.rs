//! A scripted model endpoint on loopback that speaks the Messages API, so that a real agent program can be driven
//! through a whole task without a model.
//!
//! The last user message that carries a marker `[[mock:NAME]]`, or the text that a script matches, chooses the script;
//! so a later message (a fix prompt) can choose another one. The step is the number of assistant messages after that
//! message: the server keeps no state per conversation and a resumed session goes on where it was. Requests without
//! tools are side calls (titles and the like) and take no step.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use futures_util::{StreamExt as _, stream};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::oneshot;

/// Actions of the model in one assistant message.
#[derive(Debug, Clone, Default)]
pub struct Step {
    blocks: Vec<Block>,
    errors: Option<(u16, u32, String)>,
    hang: bool,
    usage: (u64, u64),
}

#[derive(Debug, Clone)]
enum Block {
    Text(String),
    Sh(String),
    Background(String),
    Write { path: String, content: String },
}

impl Step {
    /// Says something; without a tool call in the same step this ends the turn.
    pub fn text(text: impl Into<String>) -> Self {
        Self::default().and(Block::Text(text.into()))
    }

    /// Runs a shell line through the agent's Bash tool.
    pub fn sh(command: impl Into<String>) -> Self {
        Self::default().and(Block::Sh(command.into()))
    }

    /// Starts a shell line in the background; the agent is told when it has ended.
    pub fn background(command: impl Into<String>) -> Self {
        Self::default().and(Block::Background(command.into()))
    }

    /// Writes a file through the agent's Write tool; the path is relative to the agent's working directory.
    pub fn write(path: impl Into<String>, content: impl Into<String>) -> Self {
        Self::default().and(Block::Write { path: path.into(), content: content.into() })
    }

    /// Answers this HTTP status every time.
    pub fn error(status: u16) -> Self {
        Self::default().after_errors(status, u32::MAX, format!("scripted {status}"))
    }

    /// Sends headers and the first event, then nothing.
    pub fn hang() -> Self {
        Self { hang: true, ..Self::default() }
    }

    /// Answers this HTTP status the first `times` times that this step is asked for, then the step itself.
    #[must_use]
    pub fn after_errors(mut self, status: u16, times: u32, message: impl Into<String>) -> Self {
        self.errors = Some((status, times, message.into()));
        self
    }

    /// Does what the other step does in the same message (several tool calls at once).
    #[must_use]
    pub fn together_with(mut self, other: Step) -> Self {
        self.blocks.extend(other.blocks);
        self
    }

    /// Reports these token counts instead of 1000 in and 50 out.
    #[must_use]
    pub fn usage(mut self, input: u64, output: u64) -> Self {
        self.usage = (input, output);
        self
    }

    fn and(mut self, block: Block) -> Self {
        self.blocks.push(block);
        self
    }
}

/// A named list of steps. Past the last one the model says "Done.".
#[derive(Debug, Clone)]
pub struct Script {
    name: String,
    matches: Option<String>,
    steps: Vec<Step>,
}

impl Script {
    /// Makes a script that the marker `[[mock:NAME]]` chooses.
    pub fn new(name: impl Into<String>, steps: Vec<Step>) -> Self {
        Self { name: name.into(), matches: None, steps }
    }

    /// Lets any user message with this text choose the script too, for prompts that cannot carry a marker.
    #[must_use]
    pub fn matching(mut self, text: impl Into<String>) -> Self {
        self.matches = Some(text.into());
        self
    }
}

/// One request as it was received.
#[derive(Debug, Clone)]
pub struct Received {
    /// Method and path, such as `POST /v1/messages`.
    pub line: String,
    /// The `x-api-key` header.
    pub api_key: Option<String>,
    /// The `authorization` header.
    pub authorization: Option<String>,
    /// The chosen script's name; `None` for side calls and everything that is no message.
    pub script: Option<String>,
    /// The request's body.
    pub body: Value,
}

#[derive(Default)]
struct Shared {
    scripts: Mutex<Vec<Script>>,
    received: Mutex<Vec<Received>>,
    tries: Mutex<HashMap<String, u32>>,
}

/// A running endpoint; dropping it ends the server and its connections.
pub struct ModelServer {
    address: SocketAddr,
    shared: Arc<Shared>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl ModelServer {
    /// Starts the endpoint on a free loopback port, on a thread of its own. Panics when it cannot listen.
    pub fn start(scripts: Vec<Script>) -> Self {
        let shared = Arc::new(Shared { scripts: Mutex::new(scripts), ..Shared::default() });
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a loopback port is free");
        listener.set_nonblocking(true).expect("a fresh socket takes the flag");
        let address = listener.local_addr().expect("a bound socket has an address");
        let (stop, stopped) = oneshot::channel();
        let app = Router::new().fallback(answer).with_state(Arc::clone(&shared));
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime can be made").block_on(async move {
                let listener = tokio::net::TcpListener::from_std(listener).expect("the socket is non-blocking");
                tokio::select! {
                    _ = stopped => {}
                    result = async { axum::serve(listener, app).await } => result.expect("serving does not end"),
                }
            });
        });
        Self { address, shared, stop: Some(stop), thread: Some(thread) }
    }

    /// Returns the address for `MOSAIC_MODEL_UPSTREAM` or `ANTHROPIC_BASE_URL`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Adds a script, before those that are there.
    pub fn add(&self, script: Script) {
        self.shared.scripts.lock().insert(0, script);
    }

    /// Returns every request so far, oldest first.
    pub fn received(&self) -> Vec<Received> {
        self.shared.received.lock().clone()
    }

    /// Returns the scripted requests so far: those that took a step or an error.
    pub fn turns(&self) -> Vec<Received> {
        self.received().into_iter().filter(|request| request.script.is_some()).collect()
    }
}

impl Drop for ModelServer {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            // The thread may have ended by itself.
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn answer(
    State(shared): State<Arc<Shared>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    bytes: Bytes,
) -> Response {
    let body: Value = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let is_message = method == Method::POST && uri.path().ends_with("/v1/messages");
    let has_tools = body["tools"].as_array().is_some_and(|tools| !tools.is_empty());
    let chosen = (is_message && has_tools).then(|| choose(&shared, &body));
    shared.received.lock().push(Received {
        line: format!("{method} {}", uri.path()),
        api_key: header("x-api-key"),
        authorization: header("authorization"),
        script: chosen.as_ref().map(|(name, _, _)| name.clone()),
        body: body.clone(),
    });
    if !is_message {
        return other(&method, uri.path(), bytes.len());
    }
    let (name, index, step) = chosen.unwrap_or_else(|| (String::new(), 0, Step::text("A short title")));
    if let Some((status, times, message)) = &step.errors {
        // Errors are counted for each conversation: agents that run one script at the same time must each meet all of
        // them.
        let conversation = header("x-claude-code-session-id").unwrap_or_default();
        let mut tries = shared.tries.lock();
        let tries = tries.entry(format!("{name}/{index}/{conversation}")).or_default();
        *tries += 1;
        if *tries <= *times {
            return refusal(*status, message);
        }
    }
    reply(&body, &step)
}

/// Answers everything that is no message.
fn other(method: &Method, path: &str, bytes: usize) -> Response {
    if path.ends_with("/count_tokens") {
        return axum::Json(json!({"input_tokens": bytes / 4})).into_response();
    }
    if path == "/" && (*method == Method::GET || *method == Method::HEAD) {
        return StatusCode::OK.into_response();
    }
    refusal(404, "nothing is scripted here")
}

fn refusal(status: u16, message: &str) -> Response {
    let kind = match status {
        400 => "invalid_request_error",
        401 => "authentication_error",
        403 => "permission_error",
        404 => "not_found_error",
        429 => "rate_limit_error",
        529 => "overloaded_error",
        _ => "api_error",
    };
    let body =
        json!({"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_scripted"});
    (StatusCode::from_u16(status).expect("scripts name real statuses"), axum::Json(body)).into_response()
}

/// Finds script and step of a request.
fn choose(shared: &Shared, body: &Value) -> (String, usize, Step) {
    let scripts = shared.scripts.lock();
    let messages = body["messages"].as_array().map(Vec::as_slice).unwrap_or_default();
    for (at, message) in messages.iter().enumerate().rev().filter(|(_, message)| message["role"] == "user") {
        let text = user_text(message);
        let Some(script) = marked(&scripts, &text).or_else(|| matched(&scripts, &text)) else { continue };
        let index = assistant_turns(&messages[at + 1..]);
        let step = script.steps.get(index).cloned().unwrap_or_else(|| Step::text("Done."));
        return (script.name.clone(), index, step);
    }
    (String::new(), 0, Step::text("Hello from the scripted model."))
}

fn marked<'a>(scripts: &'a [Script], text: &str) -> Option<&'a Script> {
    let (_, rest) = text.rsplit_once("[[mock:")?;
    let (name, _) = rest.split_once("]]")?;
    scripts.iter().find(|script| script.name == name)
}

fn matched<'a>(scripts: &'a [Script], text: &str) -> Option<&'a Script> {
    scripts.iter().find(|script| script.matches.as_ref().is_some_and(|needle| text.contains(needle.as_str())))
}

/// Consecutive assistant messages are one: some clients split a message with several tool calls.
fn assistant_turns(messages: &[Value]) -> usize {
    let is_assistant = |message: &Value| message["role"] == "assistant";
    let starts = messages.iter().enumerate();
    starts.filter(|(at, one)| is_assistant(one) && (*at == 0 || !is_assistant(&messages[at - 1]))).count()
}

/// Returns the text of a user message without tool results: a result that quotes a marker must not choose a script.
fn user_text(message: &Value) -> String {
    match &message["content"] {
        Value::String(text) => text.clone(),
        Value::Array(blocks) => {
            blocks.iter().filter_map(|block| block["text"].as_str()).collect::<Vec<_>>().join("\n")
        }
        _ => String::new(),
    }
}

/// Returns the agent's working directory, which its own prompt tells.
fn working_directory(body: &Value) -> String {
    let everything = body.to_string();
    let places = ["orking directory: ", "orking directory is: ", "<cwd>"];
    let found = places.iter().find_map(|place| {
        let (_, rest) = everything.split_once(place)?;
        let end = rest.find(|c: char| c.is_whitespace() || "\\\"<`".contains(c))?;
        Some(rest[..end].to_owned())
    });
    found.unwrap_or_else(|| ".".to_owned())
}

fn reply(body: &Value, step: &Step) -> Response {
    let id = || uuid::Uuid::new_v4().simple().to_string();
    let content: Vec<Value> = step
        .blocks
        .iter()
        .map(|block| match block {
            Block::Text(text) => json!({"type": "text", "text": text}),
            Block::Sh(command) => json!({"type": "tool_use", "id": format!("toolu_{}", id()), "name": "Bash",
                "input": {"command": command, "description": "scripted"}}),
            Block::Background(command) => json!({"type": "tool_use", "id": format!("toolu_{}", id()), "name": "Bash",
                "input": {"command": command, "description": "the scripted build", "run_in_background": true}}),
            Block::Write { path, content } => {
                json!({"type": "tool_use", "id": format!("toolu_{}", id()), "name": "Write",
                "input": {"file_path": format!("{}/{path}", working_directory(body)), "content": content}})
            }
        })
        .collect();
    let stop = if content.iter().any(|block| block["type"] == "tool_use") { "tool_use" } else { "end_turn" };
    let (input, output) = if step.usage == (0, 0) { (1000, 50) } else { step.usage };
    let usage = |output: u64| json!({"input_tokens": input, "output_tokens": output, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0});
    let mut message = json!({"id": format!("msg_{}", id()), "type": "message", "role": "assistant", "model": body["model"],
        "content": [], "stop_reason": null, "stop_sequence": null, "usage": usage(1)});
    if body["stream"] != true {
        message["content"] = Value::Array(content);
        message["stop_reason"] = stop.into();
        message["usage"] = usage(output);
        return axum::Json(message).into_response();
    }
    let mut text = event(&json!({"type": "message_start", "message": message}));
    if step.hang {
        let first = stream::once(async move { Ok::<_, Infallible>(text) });
        return sse(Body::from_stream(first.chain(stream::pending())));
    }
    for (index, block) in content.iter().enumerate() {
        text.push_str(&block_events(index, block));
    }
    text.push_str(&event(
        &json!({"type": "message_delta", "delta": {"stop_reason": stop, "stop_sequence": null},
        "usage": usage(output)}),
    ));
    text.push_str(&event(&json!({"type": "message_stop"})));
    sse(Body::from(text))
}

fn block_events(index: usize, block: &Value) -> String {
    let (start, delta) = if block["type"] == "text" {
        (json!({"type": "text", "text": ""}), json!({"type": "text_delta", "text": block["text"]}))
    } else {
        let mut start = block.clone();
        start["input"] = json!({});
        (start, json!({"type": "input_json_delta", "partial_json": block["input"].to_string()}))
    };
    [
        event(&json!({"type": "content_block_start", "index": index, "content_block": start})),
        event(&json!({"type": "content_block_delta", "index": index, "delta": delta})),
        event(&json!({"type": "content_block_stop", "index": index})),
    ]
    .concat()
}

fn event(data: &Value) -> String {
    format!("event: {}\ndata: {data}\n\n", data["type"].as_str().expect("every event has a type"))
}

fn sse(body: Body) -> Response {
    ([(header::CONTENT_TYPE, "text/event-stream"), (header::CACHE_CONTROL, "no-cache")], body).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shared() -> Shared {
        let fix = Script::new("fix", vec![Step::text("fixed")]).matching("Your work was judged");
        let first = Script::new("first", vec![Step::sh("true"), Step::text("b")]);
        Shared { scripts: Mutex::new(vec![first, fix]), ..Shared::default() }
    }

    fn chosen(messages: Value) -> (String, usize) {
        let (name, index, _) = choose(&shared(), &json!({ "messages": messages }));
        (name, index)
    }

    #[test]
    fn the_last_message_with_a_marker_chooses_and_answers_since_then_count() {
        let user = |text: &str| json!({"role": "user", "content": [{"type": "text", "text": text}]});
        let assistant = || json!({"role": "assistant", "content": []});
        let result =
            || json!({"role": "user", "content": [{"type": "tool_result", "content": "[[mock:fix]]"}]});
        let start = || user("Do it. [[mock:first]]");
        assert_eq!(chosen(json!([start()])), ("first".into(), 0));
        assert_eq!(chosen(json!([start(), assistant(), result()])), ("first".into(), 1));
        assert_eq!(chosen(json!([start(), assistant(), assistant(), result()])), ("first".into(), 1));
        let judged = || user("Your work was judged …");
        assert_eq!(chosen(json!([start(), assistant(), result(), assistant(), judged()])), ("fix".into(), 0));
        assert_eq!(chosen(json!([user("hello")])), (String::new(), 0));
    }

    #[test]
    fn the_working_directory_is_read_from_the_prompt() {
        let body = json!({"system": [{"text": "<env>\nWorking directory: /agent/tree\nIs directory a git repo: Yes"}]});
        assert_eq!(working_directory(&body), "/agent/tree");
        assert_eq!(working_directory(&json!({})), ".");
    }

    #[test]
    fn dropping_it_ends_connections_that_hang() {
        use std::io::{Read as _, Write as _};
        let script = Script::new("hang", vec![Step::hang()]);
        let server = ModelServer::start(vec![script]);
        let mut socket = std::net::TcpStream::connect(server.address).expect("connected");
        let body = json!({"stream": true, "tools": [{}], "messages": [{"role": "user", "content": "[[mock:hang]]"}]}).to_string();
        write!(
            socket,
            "POST /v1/messages HTTP/1.1\r\nhost: x\r\nx-api-key: k\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )
        .expect("sent");
        let mut first = [0; 15];
        socket.read_exact(&mut first).expect("the head comes");
        assert_eq!(&first, b"HTTP/1.1 200 OK");
        assert_eq!(server.turns()[0].api_key.as_deref(), Some("k"));
        drop(server);
        let mut rest = Vec::new();
        // The connection ends, by end of file or by reset.
        let _ = socket.read_to_end(&mut rest);
        assert!(String::from_utf8_lossy(&rest).contains("message_start"));
    }
}
