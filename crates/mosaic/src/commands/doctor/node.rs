//! What a running server says about itself, for `mosaic doctor`: agents that need a person, work that is held up, and
//! what could not be cleaned up.

use std::time::Duration;

use serde_json::Value;

use super::{Finding, Level, finding, fine};
use crate::plain;
use crate::view::{View, span};

/// Reads the findings out of `GET /v1/state`.
pub(super) fn findings(state: &Value) -> Vec<Finding> {
    let view = View::new(state);
    let mut found = vec![dispatch(state)];
    for breaker in view.list("breakers") {
        found.push(open_breaker(&View::new(breaker)));
    }
    found.extend(view.list("quotas").iter().map(|one| limited(&View::new(one))));
    if let Some(cordon) = state.get("cordon").filter(|cordon| cordon.is_object()) {
        found.push(out_of_service(&View::new(cordon)));
    }
    found.extend(view.list("missingRuntimes").iter().map(|one| missing(&View::new(one))));
    let mut count = |field: &str, id, words: &str, consequence, fix| {
        let n = view.number(field);
        if n > 0 {
            found.push(finding(Level::Warn, "Server", id, format!("{n} {words}"), consequence, fix));
        }
    };
    count("attention", "D-AGENT-1", "agents need a person", "they wait", "mosaic ps --problems");
    count("stalled", "D-AGENT-2", "agents are silent", "they are ended in a while", "mosaic ps --problems");
    count(
        "cleanupPending",
        "D-CLEAN-1",
        "ended agents left something behind",
        "it takes space; cleaning up is tried again",
        "mosaic ps -a",
    );
    found
}

fn dispatch(state: &Value) -> Finding {
    let slots = state.get("slots").map(View::new);
    let figure = |name: &str| slots.as_ref().map_or(0, |slots| slots.number(name));
    let used = format!("{} of {} slots", figure("used"), figure("total"));
    let reason = state.get("admission").map(|a| View::new(a).shown("reason")).unwrap_or_default();
    match View::new(state).text("dispatch") {
        "paused" => finding(
            Level::Note,
            "Server",
            "D-QUEUE-1",
            format!("dispatch is paused · {used}"),
            "nothing new is started",
            "mosaic queue resume",
        ),
        "held" => finding(
            Level::Warn,
            "Server",
            "D-ROOM-1",
            format!("dispatch is held up by {reason} · {used}"),
            "nothing new is started until there is room",
            "",
        ),
        "stopped" => finding(
            Level::Note,
            "Server",
            "D-QUEUE-2",
            format!("dispatch is stopped · {used}"),
            "nothing new is started",
            "mosaic status",
        ),
        _ => fine("Server", format!("dispatch is running · {used}")),
    }
}

fn open_breaker(breaker: &View<'_>) -> Finding {
    let next = match breaker.value().get("retryInMs").and_then(Value::as_u64) {
        Some(ms) => format!("one agent is tried in {}", span(Duration::from_millis(ms))),
        None => "one agent is being tried".to_owned(),
    };
    let (repository, runtime) = (breaker.shown("repository"), breaker.shown("runtime"));
    let about = match breaker.text("part") {
        "fetch" => format!("fetching from {repository}"),
        "push" => format!("pushing to {repository}"),
        _ => format!("running {runtime}"),
    };
    let text = format!("breaker open for {about}: {}; {next}", plain::first_line(breaker.text("why"), 120));
    finding(Level::Warn, "Server", "D-BREAKER-1", text, "this node takes none of its agents", "mosaic queue")
}

fn limited(quota: &View<'_>) -> Finding {
    let text = format!(
        "the limit of the model service for {} is reached until {}: {}",
        quota.shown("runtime"),
        quota.shown("until"),
        plain::first_line(quota.text("why"), 160)
    );
    let fix = "wait, or start the server with another credential";
    finding(Level::Note, "Server", "D-QUOTA-1", text, "agents of this credential start after it", fix)
}

fn out_of_service(cordon: &View<'_>) -> Finding {
    let (by, reason) = (cordon.shown("by"), cordon.shown("reason"));
    let itself = by == "mosaic";
    let who = if itself { "itself".to_owned() } else { by };
    let text = format!("this node is out of service, by {who}: {reason}");
    let level = if itself { Level::Warn } else { Level::Note };
    let fix = if itself { "mend it, and it comes back by itself" } else { "mosaic nodes uncordon NAME" };
    finding(level, "Server", "D-NODE-1", text, "it takes nothing new; other nodes do", fix)
}

fn missing(runtime: &View<'_>) -> Finding {
    let text = format!(
        "the runtime {} cannot be used: {}",
        runtime.shown("name"),
        plain::first_line(runtime.text("error"), 160)
    );
    finding(Level::Warn, "Server", "D-NODE-2", text, "its agents run on other nodes, or fail", "mosaic nodes")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_quiet_server_is_one_good_line_and_trouble_is_named() {
        let quiet =
            json!({"dispatch": "running", "slots": {"used": 1, "total": 4}, "breakers": [], "attention": 0});
        let texts = |state: &Value| findings(state).into_iter().map(|f| f.text).collect::<Vec<_>>();
        assert_eq!(texts(&quiet), ["dispatch is running · 1 of 4 slots"]);
        let trouble = json!({
            "dispatch": "held", "admission": {"reason": "memory: 9 MiB available"}, "slots": {"used": 0, "total": 4},
            "breakers": [{"part": "fetch", "repository": "https://x/r.git", "state": "open", "retryInMs": 61_000, "why": "no network"}],
            "quotas": [{"runtime": "claude", "until": "2026-11-30T15:00:00.000Z", "why": "session limit"}],
            "cordon": {"by": "mosaic", "reason": "no runtime can be used here"},
            "missingRuntimes": [{"name": "claude", "error": "no such file\nat all"}],
            "attention": 1, "stalled": 1, "cleanupPending": 2,
        });
        assert_eq!(
            texts(&trouble),
            [
                "dispatch is held up by memory: 9 MiB available · 0 of 4 slots",
                "breaker open for fetching from https://x/r.git: no network; one agent is tried in 1m01s",
                "the limit of the model service for claude is reached until 2026-11-30T15:00:00.000Z: session limit",
                "this node is out of service, by itself: no runtime can be used here",
                "the runtime claude cannot be used: no such file",
                "1 agents need a person",
                "1 agents are silent",
                "2 ended agents left something behind",
            ]
        );
    }
}
