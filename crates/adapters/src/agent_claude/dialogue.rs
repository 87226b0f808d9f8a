//! One conversation with Claude Code over stream-json: lines in, events and replies out, no I/O. The user message is
//! sent only after the program has acknowledged the hook that denies `git push`, so that no tool can run before it.

use std::collections::{HashMap, HashSet};

use mosaic_core::domain::outcome::{Outcome, cut};
use mosaic_core::domain::quota::Reset;
use mosaic_core::domain::spent::Spent;
use mosaic_core::limits;
use mosaic_core::ports::processes::Exit;
use mosaic_core::ports::runtime::{AgentEvent, Dialogue, Pending, Reaction};
use serde_json::{Value, json};

use super::limit_words;
use super::lines::{self, TurnResult, status, text};
use super::masking::Secrets;
use super::outcome::{GIVE_UP_REFUSALS, RunObservations, judge, limited};
use super::push_guard;
use super::spending::Spending;
use super::turns::Turns;

const INITIALIZE: &str = "mosaic-initialize";
const HOOK: &str = "mosaic-before-bash";

/// The line that interrupts a turn; the program ends the turn with an error result and stays.
pub(crate) fn interrupt_line() -> String {
    line_of(
        &json!({"type": "control_request", "request_id": "mosaic-interrupt", "request": {"subtype": "interrupt"}}),
    )
}

/// A conversation that carries one prompt to its last result.
pub(crate) struct ClaudeDialogue {
    prompt: Option<String>,
    secrets: Secrets,
    session: Option<String>,
    announced: bool,
    /// Calls that we denied.
    denied_calls: HashSet<String>,
    /// Calls that something else denied, as far as that was told.
    told_denials: HashSet<String>,
    /// Names of the tools of calls that have not been answered.
    calls: HashMap<String, String>,
    /// Its turn was interrupted by us, which ends its calls too.
    interrupted: bool,
    turns: Turns,
    /// Limits that were said to be near.
    near: HashSet<String>,
    /// The last result was passed on as such.
    over: bool,
    seen: RunObservations,
    spending: Spending,
    cost_seen: f64,
}

impl ClaudeDialogue {
    /// Makes the conversation. `secrets` are masked in every event and message.
    pub(crate) fn new(prompt: String, session: Option<String>, secrets: Secrets) -> Self {
        Self {
            prompt: Some(prompt),
            secrets,
            session,
            announced: false,
            denied_calls: HashSet::new(),
            told_denials: HashSet::new(),
            calls: HashMap::new(),
            interrupted: false,
            turns: Turns::default(),
            near: HashSet::new(),
            over: false,
            seen: RunObservations::default(),
            spending: Spending::default(),
            cost_seen: 0.0,
        }
    }

    fn read(&mut self, line: &Value) -> Reaction {
        match text(line, "/type") {
            "system" => self.system(line),
            "assistant" => self.assistant(line),
            "user" => self.user(line),
            "control_request" => self.asked(line),
            "control_response" => self.acknowledged(line),
            // A subagent's end is not the conversation's.
            "result" if lines::is_of_subagent(line) => Reaction::default(),
            "result" => self.result(line),
            "rate_limit_event" => self.limit(line),
            _ => Reaction::default(),
        }
    }

    fn system(&mut self, line: &Value) -> Reaction {
        self.turns.system(line);
        match text(line, "/subtype") {
            "init" => self.init(line),
            "api_retry" => self.api_retry(line),
            "rate_limit_event" => self.limit(line),
            "permission_denied" => {
                let denied = ["/tool_use_id", "/tool_name", "/message"].map(|pointer| text(line, pointer));
                events(self.denied_unasked(denied[0], denied[1], denied[2]).into_iter().collect())
            }
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
        self.turns.begins();
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

    /// A limit that refuses calls counts until the program says that it does not; one that is near is information.
    fn limit(&mut self, line: &Value) -> Reaction {
        let info = line.get("rate_limit_info").unwrap_or(line);
        let kind = text(info, "/rateLimitType").replace('_', " ");
        match text(info, "/status") {
            "rejected" => {
                let stated = ["resetsAt", "resets_at"].iter().find_map(|name| info.get(name));
                self.seen.limits.refuse(&kind, stated.and_then(limit_words::time_of).map(Reset::At));
                Reaction::default()
            }
            "allowed_warning" => {
                self.seen.limits.allow(&kind);
                let text = format!(
                    "a limit of the model service is near{}{kind}",
                    if kind.is_empty() { "" } else { ": " }
                );
                if !self.near.insert(kind) || self.near.len() > limits::OPEN_TOOLS {
                    return Reaction::default();
                }
                events(vec![AgentEvent::Notice { text }])
            }
            "allowed" => {
                self.seen.limits.allow(&kind);
                Reaction::default()
            }
            _ => Reaction::default(),
        }
    }

    /// Refused credentials end the turn soon. So does a limit that the program would wait for by itself for long: that can
    /// be done without it.
    fn api_retry(&mut self, line: &Value) -> Reaction {
        let status = status(line, "error_status");
        let attempt =
            line.get("attempt").and_then(Value::as_u64).and_then(|n| u32::try_from(n).ok()).unwrap_or(1);
        self.seen.retry(status, text(line, "/error"));
        let delay = line.get("retry_delay_ms").and_then(Value::as_f64).unwrap_or(0.0).max(0.0) / 1000.0;
        let is_long = status == Some(429) && delay > limits::QUOTA_PATIENCE.as_secs_f64();
        if is_long {
            self.seen.limits.refuse("", Some(Reset::After(delay.min(1e12) as u64)));
            self.seen.waits_too_long = true;
        }
        let give_up = self.seen.auth_refusals >= GIVE_UP_REFUSALS || is_long;
        Reaction { events: vec![AgentEvent::ApiRetry { status, attempt }], give_up, ..Reaction::default() }
    }

    fn assistant(&mut self, line: &Value) -> Reaction {
        self.spending.message(line);
        let said: Vec<_> = lines::blocks(line).iter().filter_map(lines::said).collect();
        if !text(line, "/error").is_empty() {
            self.seen.assistant_error = text(line, "/error").to_owned();
        }
        let of_subagent = lines::is_of_subagent(line);
        if !of_subagent {
            self.turns.begins();
        }
        for event in &said {
            match event {
                AgentEvent::Text { text } if !of_subagent => {
                    self.seen.last_text = cut(self.secrets.mask(text), limits::ENTRY_BYTES);
                }
                AgentEvent::Tool { id, name, .. } => {
                    if !of_subagent {
                        self.turns.acts();
                    }
                    self.seen.called = true;
                    if self.calls.len() < limits::OPEN_TOOLS {
                        self.calls.insert(id.clone(), name.clone());
                    }
                }
                _ => {}
            }
        }
        events(said)
    }

    /// Tools answer. A call that the program itself did not run, because nobody allowed it, is a denial that it tells
    /// nowhere else.
    fn user(&mut self, line: &Value) -> Reaction {
        let answers: Vec<_> = lines::blocks(line).iter().filter_map(lines::answered).collect();
        if !answers.is_empty() && !lines::is_of_subagent(line) {
            self.turns.answered();
        }
        // An interrupt of ours ends open calls as cancelled. They are no denials, and the person who reads the
        // transcript should not look for one.
        let refused = if self.interrupted { Vec::new() } else { lines::refused_calls(line) };
        let mut all: Vec<_> =
            refused.into_iter().filter_map(|call| self.denied_unasked(&call, "", "it was not run")).collect();
        for answer in &answers {
            if let AgentEvent::ToolResult { id, ok, .. } = answer {
                self.calls.remove(id);
                self.seen.worked |= *ok;
            }
        }
        all.extend(answers);
        events(all)
    }

    /// Returns a denial that we did not ask for, unless it was told already. What it means for the work shows in the end.
    fn denied_unasked(&mut self, call: &str, tool: &str, reason: &str) -> Option<AgentEvent> {
        if self.denied_calls.contains(call) || self.told_denials.contains(call) {
            return None;
        }
        if self.told_denials.len() < limits::OPEN_TOOLS {
            self.told_denials.insert(call.to_owned());
        }
        let known = self.calls.get(call).map(String::as_str).unwrap_or("a tool");
        let tool = if tool.is_empty() { known } else { tool };
        Some(AgentEvent::Denied { tool: tool.to_owned(), reason: reason.to_owned() })
    }

    /// The program asks us something. Everything is allowed except `git push`; what is unknown is refused by name, as
    /// an unanswered request would block it indefinitely.
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

    /// A result ends a turn. It is the last one when nothing is under way that begins another.
    fn result(&mut self, line: &Value) -> Reaction {
        let mut result = TurnResult::read(line);
        result.denials.retain(|denial| {
            !self.denied_calls.contains(&denial.call) && !push_guard::asks_to_push(&denial.command)
        });
        let denials = result.denials.iter();
        let mut all: Vec<_> = denials
            .filter_map(|denial| self.denied_unasked(&denial.call, &denial.tool, "the program denied it"))
            .collect();
        for text in [&mut result.text, &mut result.errors] {
            *text = cut(self.secrets.mask(text), limits::ENTRY_BYTES);
        }
        self.turns.result(result.is_failure());
        let left = self.turns.take_left();
        if !left.is_empty() {
            let names = cut(left.join(", "), limits::TITLE_CHARS);
            self.seen.warnings.push(format!(
                "background tasks still ran when the agent had nothing more to do, and were ended: {}",
                self.secrets.mask(&names)
            ));
        }
        self.seen.take(result);
        let usage = lines::usage(line, &mut self.cost_seen);
        self.spending.result(line, lines::cost(line, usage.as_ref()));
        all.extend(usage);
        events(all)
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
        if self.turns.is_over() && !self.over {
            (self.over, reaction.turn_over) = (true, true);
        }
        reaction
    }

    fn pending(&self) -> Pending {
        match self.turns.pending() {
            Pending::Tasks(names) => {
                Pending::Tasks(names.iter().map(|name| self.secrets.mask(name)).collect())
            }
            other => other,
        }
    }

    fn spent(&self) -> Spent {
        self.spending.spent()
    }

    fn warnings(&mut self) -> Vec<String> {
        std::mem::take(&mut self.seen.warnings)
    }

    fn interrupt(&mut self) -> Option<String> {
        self.interrupted = true;
        Some(interrupt_line())
    }

    fn nudge(&mut self, text: &str) -> Option<String> {
        // Before the prompt was taken the message would be the prompt, and after the last result a turn of its own. While
        // only background tasks are under way it may be one: nobody else can tell whether they are worth waiting for.
        let may = self.turns.is_in_turn() || matches!(self.turns.pending(), Pending::Tasks(_));
        (self.prompt.is_none() && may).then(|| {
            self.turns.ask();
            line_of(&self.message(text))
        })
    }

    fn session(&self) -> Option<String> {
        self.session.clone()
    }

    fn outcome(&mut self, exit: &Exit) -> Outcome {
        // A result that another turn has followed, or was to follow, says nothing about a program that died meanwhile.
        if !self.over && (self.turns.is_in_turn() || exit.code != Some(0)) {
            self.seen.result = None;
        }
        match judge(&self.seen, exit) {
            Ok(text) => Outcome::Completed { text: self.secrets.mask(&text) },
            Err(mut failure) => {
                failure = limited(&self.seen, failure);
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
