//! One conversation with Claude Code over stream-json: lines in, events and replies out, no I/O. The user message is
//! sent only after the program has acknowledged the hook that denies `git push`, so that no tool can run before it.

use std::collections::HashSet;

use mosaic_core::domain::outcome::{Outcome, cut};
use mosaic_core::limits;
use mosaic_core::ports::processes::Exit;
use mosaic_core::ports::runtime::{AgentEvent, Dialogue, Reaction};
use serde_json::{Value, json};

use super::lines::{self, TurnResult, status, text};
use super::masking::Secrets;
use super::outcome::{GIVE_UP_REFUSALS, Seen, judge};
use super::push_guard;

const INITIALIZE: &str = "mosaic-initialize";
const HOOK: &str = "mosaic-before-bash";

/// The line that interrupts a turn; the program ends the turn with an error result and stays.
pub(crate) fn interrupt_line() -> String {
    line_of(
        &json!({"type": "control_request", "request_id": "mosaic-interrupt", "request": {"subtype": "interrupt"}}),
    )
}

/// A conversation that carries one prompt to its result.
pub(crate) struct ClaudeDialogue {
    prompt: Option<String>,
    secrets: Secrets,
    session: Option<String>,
    announced: bool,
    denied_calls: HashSet<String>,
    seen: Seen,
    cost_seen: f64,
}

impl ClaudeDialogue {
    /// Makes the conversation. `secrets` are masked in every event and message.
    pub(crate) fn new(prompt: String, session: Option<String>, secrets: Vec<String>) -> Self {
        Self {
            prompt: Some(prompt),
            secrets: Secrets::new(secrets),
            session,
            announced: false,
            denied_calls: HashSet::new(),
            seen: Seen::default(),
            cost_seen: 0.0,
        }
    }

    fn read(&mut self, line: &Value) -> Reaction {
        match text(line, "/type") {
            "system" => self.system(line),
            "assistant" => self.assistant(line),
            "user" => events(lines::blocks(line).iter().filter_map(lines::answered).collect()),
            "control_request" => self.asked(line),
            "control_response" => self.acknowledged(line),
            "result" => self.result(line),
            _ => Reaction::default(),
        }
    }

    fn system(&mut self, line: &Value) -> Reaction {
        match text(line, "/subtype") {
            "init" => self.init(line),
            "api_retry" => self.api_retry(line),
            "permission_denied" if self.denied_calls.contains(text(line, "/tool_use_id")) => {
                Reaction::default()
            }
            "permission_denied" => events(vec![AgentEvent::Denied {
                tool: text(line, "/tool_name").to_owned(),
                reason: text(line, "/message").to_owned(),
            }]),
            "informational" | "notification" | "model_fallback" => {
                let words = [text(line, "/content"), text(line, "/message"), text(line, "/text")];
                let words =
                    words.into_iter().find(|words| !words.is_empty()).unwrap_or(text(line, "/subtype"));
                events(vec![AgentEvent::Notice { text: words.to_owned() }])
            }
            _ => Reaction::default(),
        }
    }

    /// `init` is repeated at every turn; only a new session is news.
    fn init(&mut self, line: &Value) -> Reaction {
        let said = |pointer| Some(text(line, pointer).to_owned()).filter(|text| !text.is_empty());
        let session = said("/session_id");
        if self.announced && (session.is_none() || session == self.session) {
            return Reaction::default();
        }
        self.announced = true;
        self.session = session.or(self.session.take());
        let (model, version) = (said("/model"), said("/claude_code_version"));
        events(vec![AgentEvent::Started { session: self.session.clone(), model, version }])
    }

    /// Refused credentials end the turn soon.
    fn api_retry(&mut self, line: &Value) -> Reaction {
        let status = status(line, "error_status");
        let attempt =
            line.get("attempt").and_then(Value::as_u64).and_then(|n| u32::try_from(n).ok()).unwrap_or(1);
        self.seen.retry(status, text(line, "/error"));
        let give_up = self.seen.auth_refusals >= GIVE_UP_REFUSALS;
        Reaction { events: vec![AgentEvent::ApiRetry { status, attempt }], give_up, ..Reaction::default() }
    }

    fn assistant(&mut self, line: &Value) -> Reaction {
        let said: Vec<_> = lines::blocks(line).iter().filter_map(lines::said).collect();
        if !text(line, "/error").is_empty() {
            self.seen.assistant_error = text(line, "/error").to_owned();
        }
        let of_subagent = line.get("parent_tool_use_id").is_some_and(Value::is_string);
        for event in &said {
            if let (AgentEvent::Text { text }, false) = (event, of_subagent) {
                self.seen.last_text = cut(self.secrets.mask(text), limits::ENTRY_BYTES);
            }
        }
        events(said)
    }

    /// The program asks us something. Everything is allowed except `git push`; what is unknown is refused by name, as
    /// an unanswered request would block it for ever.
    fn asked(&mut self, line: &Value) -> Reaction {
        let request = line.get("request").unwrap_or(&Value::Null);
        let id = text(line, "/request_id");
        match text(request, "/subtype") {
            "hook_callback" => {
                let command = text(request, "/input/tool_input/command");
                let call = [text(request, "/tool_use_id"), text(request, "/input/tool_use_id")];
                if !push_guard::asks_to_push(command) {
                    return reply(&success(id, json!({})));
                }
                self.deny(call.into_iter().find(|call| !call.is_empty()).unwrap_or_default());
                let output = json!({"hookSpecificOutput": {"hookEventName": "PreToolUse", "permissionDecision": "deny",
                    "permissionDecisionReason": push_guard::REASON}});
                denied(reply(&success(id, output)), text(request, "/input/tool_name"))
            }
            "can_use_tool" => {
                let input = request.get("input").cloned().unwrap_or_else(|| json!({}));
                if !push_guard::asks_to_push(text(&input, "/command")) {
                    return reply(&success(id, json!({"behavior": "allow", "updatedInput": input})));
                }
                self.deny(text(request, "/tool_use_id"));
                let output = json!({"behavior": "deny", "message": push_guard::REASON});
                denied(reply(&success(id, output)), text(request, "/tool_name"))
            }
            _ => reply(&json!({"type": "control_response",
                "response": {"subtype": "error", "request_id": id, "error": "not supported by this host"}})),
        }
    }

    fn deny(&mut self, call: &str) {
        self.denied_calls.insert(call.to_owned());
    }

    /// The user message follows the acknowledged initialisation, once.
    fn acknowledged(&mut self, line: &Value) -> Reaction {
        if text(line, "/response/request_id") != INITIALIZE {
            return Reaction::default();
        }
        if text(line, "/response/subtype") == "error" {
            let why = text(line, "/response/error");
            self.seen.refused = format!("it refused to be initialised: {why}");
            return Reaction { give_up: true, ..Reaction::default() };
        }
        let Some(prompt) = self.prompt.take() else { return Reaction::default() };
        reply(&self.message(&prompt))
    }

    /// A message of the user; sent within a turn it is steered into that turn.
    fn message(&self, text: &str) -> Value {
        json!({"type": "user", "session_id": self.session, "parent_tool_use_id": null,
            "message": {"role": "user", "content": [{"type": "text", "text": text}]}})
    }

    fn result(&mut self, line: &Value) -> Reaction {
        let mut result = TurnResult::read(line);
        result.denials.retain(|denial| {
            !self.denied_calls.contains(&denial.call) && !push_guard::asks_to_push(&denial.command)
        });
        for text in [&mut result.text, &mut result.errors] {
            *text = cut(self.secrets.mask(text), limits::ENTRY_BYTES);
        }
        self.seen.result = Some(result);
        let usage = lines::usage(line, &mut self.cost_seen);
        Reaction { events: usage.into_iter().collect(), turn_over: true, ..Reaction::default() }
    }

    /// Masks every text of an event, then cuts it: the other way round, part of a secret could stay.
    fn clean(&self, event: &mut AgentEvent) {
        let texts: Vec<&mut String> = match event {
            AgentEvent::Text { text } | AgentEvent::Thinking { text } | AgentEvent::Output { text } => {
                vec![text]
            }
            AgentEvent::Notice { text } => vec![text],
            AgentEvent::Tool { id, name, title } => vec![id, name, title],
            AgentEvent::ToolResult { id, text, .. } => vec![id, text],
            AgentEvent::Denied { tool, reason } => vec![tool, reason],
            AgentEvent::Started { session, model, version } => {
                [session, model, version].into_iter().flatten().collect()
            }
            AgentEvent::ApiRetry { .. } | AgentEvent::Usage { .. } => vec![],
        };
        for text in texts {
            *text = cut(self.secrets.mask(text), limits::ENTRY_BYTES);
        }
        if let AgentEvent::Tool { title, .. } = event
            && let Some((end, _)) = title.char_indices().nth(limits::TITLE_CHARS)
        {
            title.truncate(end);
            title.push('…');
        }
    }
}

impl Dialogue for ClaudeDialogue {
    fn start(&mut self) -> Vec<String> {
        let hooks = json!({"PreToolUse": [{"matcher": "Bash", "hookCallbackIds": [HOOK]}]});
        vec![line_of(&json!({"type": "control_request", "request_id": INITIALIZE,
            "request": {"subtype": "initialize", "hooks": hooks}}))]
    }

    fn line(&mut self, line: &[u8]) -> Reaction {
        if line.iter().all(u8::is_ascii_whitespace) {
            return Reaction::default();
        }
        let mut reaction = match serde_json::from_slice::<Value>(line) {
            Ok(value) if value.is_object() => self.read(&value),
            _ => events(vec![AgentEvent::Output { text: String::from_utf8_lossy(line).into_owned() }]),
        };
        reaction.events.iter_mut().for_each(|event| self.clean(event));
        reaction
    }

    fn interrupt(&mut self) -> Option<String> {
        Some(interrupt_line())
    }

    fn nudge(&mut self, text: &str) -> Option<String> {
        // Before the prompt was taken the message would be the prompt, and after the result a turn of its own.
        let in_turn = self.prompt.is_none() && self.seen.result.is_none();
        in_turn.then(|| line_of(&self.message(text)))
    }

    fn session(&self) -> Option<String> {
        self.session.clone()
    }

    fn outcome(&mut self, exit: &Exit) -> Outcome {
        match judge(&self.seen, exit) {
            Ok(text) => Outcome::Completed { text: self.secrets.mask(&text) },
            Err(mut failure) => {
                failure.message = cut(self.secrets.mask(&failure.message), limits::ERROR_BYTES);
                Outcome::Failed(failure)
            }
        }
    }
}

fn events(events: Vec<AgentEvent>) -> Reaction {
    Reaction { events, ..Reaction::default() }
}

fn reply(line: &Value) -> Reaction {
    Reaction { replies: vec![line_of(line)], ..Reaction::default() }
}

fn denied(mut reaction: Reaction, tool: &str) -> Reaction {
    reaction.events.push(AgentEvent::Denied { tool: tool.to_owned(), reason: push_guard::REASON.to_owned() });
    reaction
}

fn success(id: &str, response: Value) -> Value {
    json!({"type": "control_response", "response": {"subtype": "success", "request_id": id, "response": response}})
}

/// Writes a value as one line; JSON escapes every line break inside it.
fn line_of(value: &Value) -> String {
    format!("{value}\n")
}
