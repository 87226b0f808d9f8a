//! Findings from the state that a running server reports, for `mosaic doctor`: agents that need a person, work that is
//! held up, and resources that could not be cleaned up.

use std::time::Duration;

use mosaic_api::{Breaker, Cordon, NodeRuntime, NodeState, Quota};

use super::finding::{Finding, Level, finding, fine};
use crate::sanitize;
use crate::view::{shown, span};

/// Reads the findings out of `GET /v1/state`.
pub(super) fn findings(state: &NodeState) -> Vec<Finding> {
    let mut found = vec![dispatch(state)];
    found.extend(state.breakers.iter().map(open_breaker));
    found.extend(state.quotas.iter().map(limited));
    found.extend(state.cordon.iter().map(out_of_service));
    found.extend(state.missing_runtimes.iter().map(missing));
    let mut count = |n: usize, id, words: &str, consequence, fix| {
        if n > 0 {
            found.push(finding(Level::Warn, "Server", id, format!("{n} {words}"), consequence, fix));
        }
    };
    count(state.attention, "D-AGENT-1", "agents need a person", "they wait", "mosaic ps --problems");
    count(
        state.stalled,
        "D-AGENT-2",
        "agents are silent",
        "they are ended in a while",
        "mosaic ps --problems",
    );
    count(
        state.cleanup_pending,
        "D-CLEAN-1",
        "ended agents left something behind",
        "it takes space; cleaning up is tried again",
        "mosaic ps -a",
    );
    found
}

fn dispatch(state: &NodeState) -> Finding {
    let used = format!("{} of {} slots", state.slots.used, state.slots.total);
    match state.dispatch.as_str() {
        "paused" => finding(
            Level::Note,
            "Server",
            "D-QUEUE-1",
            format!("dispatch is paused · {used}"),
            "nothing new is started",
            "mosaic queue resume",
        ),
        // Said by a finding of its own, with the way out.
        "held" if state.cordon.is_some() => fine("Server", format!("nothing new starts · {used}")),
        "held" => finding(
            Level::Warn,
            "Server",
            "D-ROOM-1",
            format!("nothing new starts: {} · {used}", shown(&state.admission.reason)),
            "what waits keeps its place",
            "",
        ),
        "stopped" => finding(
            Level::Note,
            "Server",
            "D-QUEUE-2",
            format!("dispatch is stopped: {} · {used}", shown(&state.admission.reason)),
            "nothing new is started",
            "mosaic status",
        ),
        _ => fine("Server", format!("dispatch is running · {used}")),
    }
}

fn open_breaker(breaker: &Breaker) -> Finding {
    let next = match breaker.retry_in_ms {
        Some(ms) => format!("one agent is tried in {}", span(Duration::from_millis(ms))),
        None => "one agent is being tried".to_owned(),
    };
    let (about, why) = (breaker_about(breaker), sanitize::first_line(&breaker.why, 120));
    let text = format!("breaker open for {about}: {why}; {next}");
    finding(Level::Warn, "Server", "D-BREAKER-1", text, "this node takes none of its agents", "mosaic queue")
}

/// Says what a breaker is about.
pub(crate) fn breaker_about(breaker: &Breaker) -> String {
    match breaker.part.as_str() {
        "fetch" => format!("fetching from {}", shown(&breaker.repository)),
        "push" => format!("pushing to {}", shown(&breaker.repository)),
        _ => format!("running {}", shown(&breaker.runtime)),
    }
}

fn limited(quota: &Quota) -> Finding {
    let text = format!(
        "the limit of the model service for {} is reached until {}: {}",
        sanitize::line(&quota.runtime),
        sanitize::line(&quota.until),
        sanitize::first_line(&quota.why, 160)
    );
    let fix = "wait, or start the server with another credential";
    finding(Level::Note, "Server", "D-QUOTA-1", text, "agents of this credential start after it", fix)
}

fn out_of_service(cordon: &Cordon) -> Finding {
    let (by, reason) = (sanitize::line(&cordon.by), shown(&cordon.reason));
    let itself = by == "mosaic";
    let who = if itself { "itself".to_owned() } else { by };
    let text = format!("this node is out of service, by {who}: {reason}");
    let level = if itself { Level::Warn } else { Level::Note };
    let fix = if itself { "mend it, and it comes back by itself" } else { "mosaic nodes uncordon NAME" };
    finding(level, "Server", "D-NODE-1", text, "it takes nothing new; other nodes do", fix)
}

fn missing(runtime: &NodeRuntime) -> Finding {
    let text = format!(
        "the runtime {} cannot be used: {}",
        sanitize::line(&runtime.name),
        sanitize::first_line(runtime.error.as_deref().unwrap_or_default(), 160)
    );
    finding(Level::Warn, "Server", "D-NODE-2", text, "its agents run on other nodes, or fail", "mosaic nodes")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::state;
    use serde_json::json;

    #[test]
    fn a_quiet_server_is_one_good_line_and_trouble_is_named() {
        let quiet = state(json!({"slots": {"used": 1, "total": 4}}));
        let texts = |state: &NodeState| findings(state).into_iter().map(|f| f.text).collect::<Vec<_>>();
        assert_eq!(texts(&quiet), ["dispatch is running · 1 of 4 slots"]);
        let mut admission = quiet.json().pointer("/admission").unwrap().clone();
        admission["reason"] = json!("memory: 9 MiB available");
        let narrow =
            state(json!({"dispatch": "held", "admission": admission, "slots": {"used": 0, "total": 4}}));
        assert_eq!(texts(&narrow), ["nothing new starts: memory: 9 MiB available · 0 of 4 slots"]);
        let trouble = state(json!({
            "dispatch": "held", "admission": admission, "slots": {"used": 0, "total": 4},
            "breakers": [{"part": "fetch", "repository": "https://x/r.git", "state": "open", "retryInMs": 61_000, "trialAgentId": null, "why": "no network"}],
            "quotas": [{"runtime": "claude", "until": "2026-11-30T15:00:00.000Z", "why": "session limit"}],
            "cordon": {"by": "mosaic", "reason": "no runtime can be used here", "at": "", "drain": false},
            "missingRuntimes": [{"name": "claude", "error": "no such file\nat all"}],
            "attention": 1, "stalled": 1, "cleanupPending": 2,
        }));
        assert_eq!(
            texts(&trouble),
            [
                "nothing new starts · 0 of 4 slots",
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
