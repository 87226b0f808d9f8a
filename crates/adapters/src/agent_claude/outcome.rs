//! The outcome of a finished run of Claude Code. "Success" in its words is not success in ours: an API error and a
//! denied tool both come with `subtype: success`, the latter even with exit 0. The cases were seen in real runs.

use std::collections::BTreeMap;
use std::time::SystemTime;

use mosaic_core::domain::ids::Timestamp;
use mosaic_core::domain::outcome::{Failure, FailureKind as K, cut};
use mosaic_core::domain::quota::Reset;
use mosaic_core::limits;
use mosaic_core::ports::processes::Exit;

use super::limit_words;
use super::lines::TurnResult;

/// So often refused credentials are tried; the program itself would go on for minutes.
pub(super) const GIVE_UP_REFUSALS: u32 = 2;

/// Facts that were gathered from the lines of one run.
#[derive(Debug, Default)]
pub(super) struct RunObservations {
    pub(super) result: Option<TurnResult>,
    pub(super) last_text: String,
    /// `error` of the last assistant line that had one, such as `billing_error`.
    pub(super) assistant_error: String,
    pub(super) auth_refusals: u32,
    /// The last `api_retry`: status and words.
    pub(super) last_retry: Option<(Option<u16>, String)>,
    /// Limits of the model service that refuse calls now.
    pub(super) limits: Refusing,
    /// The program would have waited for that limit by itself.
    pub(super) waits_too_long: bool,
    /// Why the run was given up by us.
    pub(super) refused: String,
    /// A tool was called.
    pub(super) called: bool,
    /// A tool call worked.
    pub(super) worked: bool,
    /// Warnings for a person, although the turns were no failures.
    pub(super) warnings: Vec<String>,
}

/// Limits that refuse calls, each by its kind, with its end if that was said: a service has several at once.
#[derive(Debug, Default)]
pub(super) struct Refusing(BTreeMap<String, Option<Reset>>);

impl Refusing {
    /// A limit refuses calls until the program says that it does not.
    pub(super) fn refuse(&mut self, kind: &str, until: Option<Reset>) {
        if self.0.len() < limits::OPEN_TOOLS || self.0.contains_key(kind) {
            self.0.insert(kind.to_owned(), until);
        }
    }

    /// A limit lets calls through again. One that has no name is all of them.
    pub(super) fn allow(&mut self, kind: &str) {
        if kind.is_empty() {
            self.0.clear();
        } else {
            self.0.remove(kind);
            self.0.remove("");
        }
    }

    fn is_any(&self) -> bool {
        !self.0.is_empty()
    }

    /// Returns when the last of them ends, of those that said it.
    fn end(&self) -> Option<Reset> {
        let now = Timestamp::from(SystemTime::now());
        self.0.values().copied().flatten().max_by_key(|reset| reset.at(now))
    }
}

impl RunObservations {
    /// Returns the words of a result, or, where it has none, those of the agent's last text.
    fn words<'a>(&'a self, result: &'a TurnResult) -> &'a str {
        let words = result.words();
        if words.is_empty() { &self.last_text } else { words }
    }

    pub(super) fn retry(&mut self, status: Option<u16>, words: &str) {
        if matches!(status, Some(401 | 403)) {
            self.auth_refusals += 1;
        }
        self.last_retry = Some((status, words.to_owned()));
    }

    /// Takes a turn's result; the newest one decides.
    pub(super) fn take(&mut self, result: TurnResult) {
        if let Some(warning) = unfinished(&result).filter(|warning| !self.warnings.contains(warning)) {
            self.warnings.push(warning);
        }
        self.result = Some(result);
    }
}

/// Says that a turn which is called a success did not come to its own end, as its `stop_reason` tells.
fn unfinished(result: &TurnResult) -> Option<String> {
    let how = match result.stop_reason.as_str() {
        _ if result.is_failure() => return None,
        "" | "end_turn" => return None,
        "max_tokens" => "the model's answer was cut at its longest length (max_tokens)".to_owned(),
        "model_context_window_exceeded" => {
            "the model's context was full (model_context_window_exceeded)".to_owned()
        }
        "refusal" => "the model refused to go on (refusal)".to_owned(),
        "pause_turn" => "the model paused in the middle of its turn (pause_turn)".to_owned(),
        "tool_use" => "the program ended while the model wanted to use a tool (tool_use)".to_owned(),
        other => format!(
            "the model did not end its turn by itself ({})",
            cut(other.to_owned(), limits::TITLE_CHARS)
        ),
    };
    Some(format!("{how}, so the work may be incomplete; look at the last lines of the transcript"))
}

/// The message of versions of 2025 that a limit is reached; the limit's end follows after a bar.
const OLD_LIMIT: &str = "Claude AI usage limit reached";

/// Returns when the limit ends that a run met, as an event or the words of its end say.
fn stated(seen: &RunObservations, words: &str) -> Option<Reset> {
    seen.limits.end().or_else(|| limit_words::reset(words))
}

/// Adds to a failure when the limit ends that caused it. A program that dies after its calls were refused was limited too.
pub(super) fn limited(seen: &RunObservations, failure: Failure) -> Failure {
    let died = matches!(failure.kind, K::Crash | K::NoResult) && seen.result.is_none();
    let says_so =
        died && limit_words::is_limit(&failure.message) && limit_words::reset(&failure.message).is_some();
    let by_limit = failure.kind == K::RateLimited
        || says_so
        || (seen.limits.is_any()
            && matches!(failure.kind, K::Crash | K::NoResult | K::Network | K::ModelServer));
    if !by_limit {
        return failure;
    }
    let words = seen.result.as_ref().map_or_else(
        || failure.message.clone(),
        |result| format!("{} {} {}", result.errors, result.text, failure.message),
    );
    Failure { kind: K::RateLimited, reset: stated(seen, &words), ..failure }
}

/// Returns the agent's last text, or why the turn failed.
pub(super) fn judge(seen: &RunObservations, exit: &Exit) -> Result<String, Failure> {
    if let Some(why) = &exit.start_error {
        return Err(Failure::new(
            K::ProgramMissing,
            format!("the agent's program could not be started: {why}"),
        ));
    }
    // A turn that we gave up is interrupted, and then says so in its result: our reason is the one that counts.
    let given_up = seen.auth_refusals >= GIVE_UP_REFUSALS || !seen.refused.is_empty() || seen.waits_too_long;
    if let Some(result) = seen.result.as_ref().filter(|result| !(given_up && result.is_aborted())) {
        return by_result(seen, result);
    }
    if seen.auth_refusals >= GIVE_UP_REFUSALS {
        let status = seen.last_retry.as_ref().and_then(|(status, _)| *status).unwrap_or(401);
        return Err(auth(&format!("answered {status}")));
    }
    if seen.waits_too_long {
        return Err(Failure::new(K::RateLimited, "the model service limits the rate and wants a long pause"));
    }
    if exit.timed_out {
        return Err(Failure::new(K::Timeout, "the agent ran past its time limit and was stopped"));
    }
    if !seen.refused.is_empty() {
        return Err(Failure::new(K::Crash, format!("the agent's program did not work: {}", seen.refused)));
    }
    Err(without_result(seen, exit))
}

fn without_result(seen: &RunObservations, exit: &Exit) -> Failure {
    let mut message = match (exit.code, exit.signal) {
        (Some(0), _) => {
            "the agent's program ended without a result line; its turn counts as failed".to_owned()
        }
        (Some(code), _) => format!("the agent's program ended with exit status {code} and no result"),
        (None, Some(signal)) => format!("the agent's program was ended by signal {signal} before its result"),
        (None, None) => "the agent's program ended in an unknown way and without a result".to_owned(),
    };
    if let Some((status, words)) = &seen.last_retry {
        let status = status.map_or("no answer".to_owned(), |status| status.to_string());
        message.push_str(&format!("; its last call to the model got {status} ({words})"));
    }
    let tail = exit.stderr_tail.trim();
    if !tail.is_empty() {
        message.push_str(&format!("; it said: {tail}"));
    }
    Failure::new(if exit.code == Some(0) { K::NoResult } else { K::Crash }, message)
}

fn by_result(seen: &RunObservations, result: &TurnResult) -> Result<String, Failure> {
    if result.is_failure() {
        return Err(error_result(seen, result));
    }
    // Some versions call it a success that nothing was done for a limit.
    let said = if result.text.is_empty() { &seen.last_text } else { &result.text };
    let nothing_else = !seen.called && said.len() < limits::TITLE_CHARS && limit_words::reset(said).is_some();
    if limit_words::is_limit(said) && (seen.limits.is_any() || said.starts_with(OLD_LIMIT) || nothing_else) {
        return Err(Failure::new(K::RateLimited, format!("the model service limits the rate: {said}")));
    }
    // A denial is a warning: the agent may have found another way, and the gates judge what it made. Unless nothing at
    // all was done.
    if result.denials.is_empty() || seen.worked || !seen.called {
        let text = if result.text.is_empty() { &seen.last_text } else { &result.text };
        return Ok(text.clone());
    }
    let tools: Vec<_> = result.denials.iter().map(|denial| denial.tool.as_str()).collect();
    let message = format!(
        "the agent was denied everything it asked for ({}); look at the transcript",
        tools.join(", ")
    );
    Err(Failure::new(K::Denied, message))
}

fn error_result(seen: &RunObservations, result: &TurnResult) -> Failure {
    let words = result.words();
    match (result.subtype.as_str(), result.terminal_reason.as_str()) {
        ("error_max_turns", _) | (_, "max_turns") => {
            return Failure::new(
                K::Budget,
                format!("the cap on turns was reached: {words}; spawn again with a larger budget"),
            );
        }
        ("error_max_budget_usd", _) | (_, "budget_exhausted") => {
            return Failure::new(
                K::Budget,
                format!("the cap on cost was reached: {words}; spawn again with a larger budget"),
            );
        }
        (_, "prompt_too_long") => {
            return Failure::new(
                K::BadInput,
                format!("the prompt is too long for the model: {words}; split the task"),
            );
        }
        // The words are then a diagnosis for the program's own makers.
        _ if result.is_aborted() => {
            return Failure::new(K::Crash, "the turn was interrupted");
        }
        _ => {}
    }
    if let Some(failure) = api_failure(seen, result) {
        return failure;
    }
    Failure::new(K::Crash, format!("the turn ended with an error ({}): {}", result.subtype, or_none(words)))
}

/// Reads a failed call to the model service from its status and, where there is none, from its words.
fn api_failure(seen: &RunObservations, result: &TurnResult) -> Option<Failure> {
    let words = or_none(seen.words(result));
    let lower = words.to_lowercase();
    let says = |needles: &[&str]| needles.iter().any(|needle| lower.contains(needle));
    let status = result.api_error_status;
    let is_limited = limit_words::is_limit(words) && stated(seen, words).is_some();
    if is_limited {
        return Some(Failure::new(K::RateLimited, format!("the model service limits the rate: {words}")));
    }
    if seen.assistant_error == "billing_error" || status == Some(402) || says(&["credit balance", "billing"])
    {
        let message = format!(
            "the model service refused for the account's credit: {words}; add credit, then retry the agent"
        );
        return Some(Failure::new(K::Billing, message));
    }
    if says(&["prompt is too long"]) {
        return Some(Failure::new(
            K::BadInput,
            format!("the prompt is too long for the model: {words}; split the task"),
        ));
    }
    let auth_words = ["invalid api key", "please run /login", "not logged in", "failed to authenticate"];
    Some(match status {
        Some(401 | 403) => auth(words),
        Some(429) => Failure::new(K::RateLimited, format!("the model service limits the rate: {words}")),
        Some(code @ 500..=599) => {
            Failure::new(K::ModelServer, format!("the model service failed with {code}: {words}"))
        }
        Some(code @ (408 | 409)) => {
            Failure::new(K::Network, format!("the model service answered {code}: {words}"))
        }
        Some(code) => {
            Failure::new(K::BadInput, format!("the model service refused the request with {code}: {words}"))
        }
        None if seen.assistant_error == "authentication_failed" || says(&auth_words) => auth(words),
        None if seen.assistant_error == "rate_limit"
            || seen.limits.is_any()
            || limit_words::is_limit(words) =>
        {
            Failure::new(K::RateLimited, format!("the model service limits the rate: {words}"))
        }
        None if result.terminal_reason == "api_error" || result.subtype == "success" => Failure::new(
            K::Network,
            format!(
                "the model service could not be reached: {words}; check MOSAIC_MODEL_UPSTREAM and the network"
            ),
        ),
        None => return None,
    })
}

fn auth(words: &str) -> Failure {
    Failure::new(
        K::Auth,
        format!(
            "the model service refused the credentials: {words}; set CLAUDE_API_KEY to a valid key (or log in with the \
             claude program and pass the login on with MOSAIC_CLAUDE_LOGIN), then retry the agent"
        ),
    )
}

fn or_none(words: &str) -> &str {
    if words.is_empty() { "no reason given" } else { words }
}
