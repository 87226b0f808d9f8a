//! Claude Code's output lines, read by field. Everything is optional: fields come and go between versions, and `type`
//! is not always the first key, so nothing here may fail on a line it does not understand.

use mosaic_core::ports::runtime::AgentEvent;
use serde_json::Value;

/// Returns a text field, or an empty text.
pub(super) fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// Returns a number that fits an HTTP status.
pub(super) fn status(value: &Value, key: &str) -> Option<u16> {
    value.get(key).and_then(Value::as_u64).and_then(|n| u16::try_from(n).ok())
}

/// Returns the blocks of a message; a plain string counts as one text block.
pub(super) fn blocks(line: &Value) -> Vec<Value> {
    match line.pointer("/message/content") {
        Some(Value::Array(blocks)) => blocks.clone(),
        Some(Value::String(text)) => vec![serde_json::json!({"type": "text", "text": text})],
        _ => Vec::new(),
    }
}

/// Turns a block of an assistant message into an event.
pub(super) fn said(block: &Value) -> Option<AgentEvent> {
    match text(block, "/type") {
        "text" => Some(AgentEvent::Text { text: text(block, "/text").to_owned() }),
        "thinking" => Some(AgentEvent::Thinking { text: text(block, "/thinking").to_owned() }),
        "tool_use" | "server_tool_use" => {
            let name = text(block, "/name").to_owned();
            let title = title(block.get("input").unwrap_or(&Value::Null));
            Some(AgentEvent::Tool { id: text(block, "/id").to_owned(), name, title })
        }
        _ => None,
    }
}

/// Turns a block of a user message into an event; only tool results are of interest.
pub(super) fn answered(block: &Value) -> Option<AgentEvent> {
    (text(block, "/type") == "tool_result").then(|| AgentEvent::ToolResult {
        id: text(block, "/tool_use_id").to_owned(),
        ok: !block.get("is_error").and_then(Value::as_bool).unwrap_or(false),
        text: content(block.get("content").unwrap_or(&Value::Null)),
    })
}

/// Tells whether a line belongs to a subagent's conversation and not to the main one.
pub(super) fn is_of_subagent(line: &Value) -> bool {
    line.get("parent_tool_use_id").is_some_and(Value::is_string)
}

/// Returns the calls that were answered without being run because they were refused, as the line's notes about its
/// answers say.
pub(super) fn refused_calls(line: &Value) -> Vec<String> {
    let notes = line.get("tool_result_meta").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let refused = notes.iter().filter(|note| {
        matches!(text(note, "/non_execution_kind"), "user-rejected" | "cancelled")
            || text(note, "/permission_decision/decision") == "reject"
    });
    refused.map(|note| text(note, "/id").to_owned()).collect()
}

/// Returns the text of a tool result: a string, or a list of blocks.
fn content(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(blocks) => {
            let texts: Vec<_> = blocks.iter().map(|b| text(b, "/text")).filter(|t| !t.is_empty()).collect();
            texts.join("\n")
        }
        _ => String::new(),
    }
}

/// Returns one line for people about a tool call: what it is applied to.
fn title(input: &Value) -> String {
    const TELLING: [&str; 8] =
        ["command", "file_path", "notebook_path", "path", "pattern", "url", "skill", "description"];
    let found = TELLING.iter().find_map(|key| input.get(key).and_then(Value::as_str));
    let mut lines = found.unwrap_or_default().trim().lines();
    let first = lines.next().unwrap_or_default().to_owned();
    if lines.next().is_some() { first + " …" } else { first }
}

/// The content of a `result` line.
#[derive(Debug, Clone, Default)]
pub(super) struct TurnResult {
    pub(super) subtype: String,
    pub(super) is_error: bool,
    pub(super) text: String,
    pub(super) errors: String,
    pub(super) terminal_reason: String,
    /// Why the model stopped; empty when the program does not say.
    pub(super) stop_reason: String,
    pub(super) api_error_status: Option<u16>,
    /// Denied tool calls: tool, call id, command (for Bash).
    pub(super) denials: Vec<Denial>,
}

/// One entry of `permission_denials`.
#[derive(Debug, Clone, Default)]
pub(super) struct Denial {
    pub(super) tool: String,
    pub(super) call: String,
    pub(super) command: String,
}

impl TurnResult {
    /// Tells whether the turn was broken off from outside.
    pub(super) fn is_aborted(&self) -> bool {
        self.terminal_reason.starts_with("aborted")
    }

    /// Tells whether the turn failed.
    pub(super) fn is_failure(&self) -> bool {
        self.is_error || self.subtype != "success"
    }

    pub(super) fn read(line: &Value) -> Self {
        let errors = line.get("errors").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let denials =
            line.get("permission_denials").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        Self {
            subtype: text(line, "/subtype").to_owned(),
            is_error: line.get("is_error").and_then(Value::as_bool).unwrap_or(false),
            text: text(line, "/result").to_owned(),
            errors: errors.iter().filter_map(Value::as_str).collect::<Vec<_>>().join("; "),
            terminal_reason: text(line, "/terminal_reason").to_owned(),
            stop_reason: text(line, "/stop_reason").to_owned(),
            api_error_status: status(line, "api_error_status"),
            denials: denials
                .iter()
                .map(|denial| Denial {
                    tool: text(denial, "/tool_name").to_owned(),
                    call: text(denial, "/tool_use_id").to_owned(),
                    command: text(denial, "/tool_input/command").to_owned(),
                })
                .collect(),
        }
    }

    /// Returns the error's words, whichever field has them.
    pub(super) fn words(&self) -> &str {
        if self.errors.is_empty() { &self.text } else { &self.errors }
    }
}

/// Reads tokens and cost of a `result` line. `seen` is the running total of earlier results of this process:
/// `total_cost_usd` grows over turns and, in newer versions, over resumed sessions, so it is never summed.
pub(super) fn usage(line: &Value, seen: &mut f64) -> Option<AgentEvent> {
    let count = |key: &str| line.pointer(&format!("/usage/{key}")).and_then(Value::as_u64).unwrap_or(0);
    let input_tokens = count("input_tokens")
        .saturating_add(count("cache_creation_input_tokens"))
        .saturating_add(count("cache_read_input_tokens"));
    let output_tokens = count("output_tokens");
    let total = line.get("total_cost_usd").and_then(Value::as_f64);
    let before = std::mem::replace(seen, total.unwrap_or(*seen));
    let since = line.get("model_usage_since_last_result").and_then(Value::as_object).map(|models| {
        models.values().filter_map(|model| model.get("costUSD").and_then(Value::as_f64)).sum::<f64>()
    });
    let cost_usd =
        since.or(total.map(|total| total - before)).filter(|cost| cost.is_finite() && *cost >= 0.0);
    if input_tokens == 0 && output_tokens == 0 && cost_usd.unwrap_or(0.0) == 0.0 {
        return None;
    }
    Some(AgentEvent::Usage { input_tokens, output_tokens, cost_usd })
}

/// Returns what a `result` line adds to the cost: what its usage says, nothing when it names a total that did not grow, and
/// `None` when it says nothing about cost.
pub(super) fn cost(line: &Value, usage: Option<&AgentEvent>) -> Option<f64> {
    let told = match usage {
        Some(AgentEvent::Usage { cost_usd, .. }) => *cost_usd,
        _ => None,
    };
    told.or_else(|| line.get("total_cost_usd").and_then(Value::as_f64).map(|_| 0.0))
}
