//! Recorded streams and the events that they become.

use mosaic_core::domain::outcome::{FailureKind, Outcome};
use mosaic_core::domain::quota::Reset;
use mosaic_core::ports::runtime::{AgentEvent, Pending, Reaction};
use serde_json::{Value, json};

use super::world::{dialogue, exit, failed, replay, tell};

fn usage(events: &[AgentEvent]) -> Vec<(u64, u64, Option<f64>)> {
    let usage = events.iter().filter_map(|event| match event {
        AgentEvent::Usage { input_tokens, output_tokens, cost_usd } => {
            Some((*input_tokens, *output_tokens, *cost_usd))
        }
        _ => None,
    });
    usage.collect()
}

#[test]
fn a_recorded_commit_is_completed_with_its_events() {
    let (mut dialogue, events, _) = replay("commit");
    let kinds: Vec<_> =
        events.iter().map(|e| serde_json::to_value(e).expect("serialises")["kind"].clone()).collect();
    assert_eq!(kinds, ["started", "tool", "toolResult", "tool", "toolResult", "text", "usage"]);
    assert!(
        matches!(&events[1], AgentEvent::Tool { name, title, .. } if name == "Write" && title == "./hello.txt")
    );
    assert_eq!(usage(&events), [(37908, 126, Some(0.154152))]);
    assert_eq!(dialogue.session().as_deref(), Some("b8ebaf99-ca9a-4e64-805c-75280724f2f4"));
    assert_eq!(
        dialogue.outcome(&exit(0)),
        Outcome::Completed { text: "I wrote hello.txt and committed it.".into() }
    );
}

#[test]
fn a_message_is_steered_into_the_turn_and_into_nothing_else() {
    let mut dialogue = dialogue();
    dialogue.start();
    assert_eq!(dialogue.nudge("go on"), None, "it would have come before the prompt");
    let acknowledged = json!({"type": "control_response",
        "response": {"subtype": "success", "request_id": "mosaic-initialize", "response": {}}});
    assert_eq!(tell(&mut *dialogue, &acknowledged).replies.len(), 1);
    let line = dialogue.nudge("go\non").expect("a turn runs");
    let said: Value = serde_json::from_str(&line).expect("one line of JSON");
    assert!(line.ends_with('\n') && line.matches('\n').count() == 1);
    assert_eq!((&said["type"], &said["message"]["role"]), (&json!("user"), &json!("user")));
    assert_eq!(said["message"]["content"][0]["text"], "go\non");
    tell(
        &mut *dialogue,
        &json!({"type": "result", "subtype": "success", "is_error": false, "result": "done"}),
    );
    assert_eq!(dialogue.nudge("go on"), None, "it would have begun another turn");
}

#[test]
fn parallel_calls_with_partial_messages_are_not_doubled() {
    let (mut dialogue, events, _) = replay("partial_parallel");
    let count = |check: &dyn Fn(&AgentEvent) -> bool| events.iter().filter(|event| check(event)).count();
    assert_eq!(count(&|event| matches!(event, AgentEvent::Tool { .. })), 2);
    assert_eq!(count(&|event| matches!(event, AgentEvent::ToolResult { ok: true, .. })), 2);
    assert_eq!(count(&|event| matches!(event, AgentEvent::Text { text } if text == "Both done.")), 1);
    assert_eq!(dialogue.outcome(&exit(0)), Outcome::Completed { text: "Both done.".into() });
}

#[test]
fn a_recorded_denial_is_no_success() {
    let (mut dialogue, events, _) = replay("denied");
    assert_eq!(events.iter().filter(|event| matches!(event, AgentEvent::Denied { .. })).count(), 2);
    let failure = failed(dialogue.outcome(&exit(0)));
    assert_eq!(failure.kind, FailureKind::Denied);
    assert!(failure.message.contains("Write, Bash"), "{}", failure.message);
}

/// Feeds a recorded stream line by line; returns at how many results the input was closed, and what was pending at each.
fn results(name: &str) -> (Vec<Pending>, usize) {
    let path = format!("{}/tests/data/streams/claude_2.1.330_{name}.jsonl", env!("CARGO_MANIFEST_DIR"));
    let bytes = std::fs::read(path).expect("the recording is there");
    let (mut dialogue, mut pending, mut closed_after) = (dialogue(), Vec::new(), 0);
    for line in bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        assert_eq!(closed_after, 0, "a line came after the input was closed");
        let reaction = dialogue.line(line);
        let value: Value = serde_json::from_slice(line).expect("recorded JSON");
        if value["type"] == "result" {
            pending.push(dialogue.pending());
        }
        if reaction.turn_over {
            closed_after = pending.len();
            if name.ends_with("without_states") {
                break;
            }
        }
    }
    assert_eq!(dialogue.outcome(&exit(0)), Outcome::Completed { text: "done".into() });
    assert_eq!(dialogue.warnings(), Vec::<String>::new());
    (pending, closed_after)
}

#[test]
fn a_result_is_the_last_one_only_when_nothing_is_under_way() {
    let build = Pending::Tasks(vec!["build".to_owned()]);
    // The second result is not the last before the program says that it is idle.
    assert_eq!(results("background"), (vec![build.clone(), Pending::Turn], 2));
    // The task ended during the turn, after the model was asked for the last time: its end begins another turn.
    assert_eq!(results("background_ends_in_turn"), (vec![Pending::Turn, Pending::Turn], 2));
    assert_eq!(results("background_without_states"), (vec![build, Pending::Nothing], 2));
}

#[test]
fn a_program_that_dies_after_a_result_that_was_not_the_last_has_failed() {
    let waiting = || {
        let mut dialogue = dialogue();
        tell(
            &mut *dialogue,
            &json!({"type": "system", "subtype": "background_tasks_changed",
            "tasks": [{"task_id": "a", "description": "build"}]}),
        );
        tell(
            &mut *dialogue,
            &json!({"type": "result", "subtype": "success", "is_error": false, "result": "x"}),
        );
        dialogue
    };
    assert_eq!(failed(waiting().outcome(&exit(1))).kind, FailureKind::Crash);
    // It went by itself: what it left behind is told, and its result counts.
    assert_eq!(waiting().outcome(&exit(0)), Outcome::Completed { text: "x".into() });
    let mut again = waiting();
    tell(&mut *again, &json!({"type": "system", "subtype": "init", "session_id": "s"}));
    assert_eq!(failed(again.outcome(&exit(0))).kind, FailureKind::NoResult, "its second turn has no result");
}

#[test]
fn a_limit_that_is_near_is_information_once() {
    let mut dialogue = dialogue();
    let near = json!({"type": "rate_limit_event", "rate_limit_info": {"status": "allowed_warning", "rateLimitType": "seven_day"}});
    assert!(
        matches!(&tell(&mut *dialogue, &near).events[..], [AgentEvent::Notice { text }] if text.contains("seven day"))
    );
    assert_eq!(tell(&mut *dialogue, &near), Reaction::default());
    let result = json!({"type": "result", "subtype": "success", "is_error": false, "result": "The rate limit is exceeded no more"});
    tell(&mut *dialogue, &result);
    assert!(matches!(dialogue.outcome(&exit(0)), Outcome::Completed { .. }));
}

#[test]
fn a_long_pause_of_the_program_is_waited_for_without_it() {
    let mut dialogue = dialogue();
    let retry = |delay: u64| json!({"type": "system", "subtype": "api_retry", "attempt": 1, "error_status": 429, "retry_delay_ms": delay});
    assert!(!tell(&mut *dialogue, &retry(5000)).give_up);
    assert!(tell(&mut *dialogue, &retry(3_600_000)).give_up);
    let aborted = json!({"type": "result", "subtype": "error_during_execution", "is_error": true, "terminal_reason": "aborted_streaming"});
    tell(&mut *dialogue, &aborted);
    let failure = failed(dialogue.outcome(&exit(0)));
    assert_eq!((failure.kind, failure.reset), (FailureKind::RateLimited, Some(Reset::After(3600))));
}

#[test]
fn a_stopped_answer_is_shown_and_the_run_goes_on() {
    let (mut dialogue, events, _) = replay("refusal");
    assert!(
        events
            .iter()
            .any(|event| matches!(event, AgentEvent::Notice { text } if text.contains("safeguards")))
    );
    assert_eq!(dialogue.outcome(&exit(0)), Outcome::Completed { text: "Done.".into() });
}

#[test]
fn cost_is_told_as_the_difference() {
    let mut dialogue = dialogue();
    let mut result = |total: f64, since: Option<f64>| {
        let mut line = json!({"type": "result", "subtype": "success", "total_cost_usd": total, "usage": {"input_tokens": 1}});
        if let Some(cost) = since {
            line["model_usage_since_last_result"] = json!({"m": {"costUSD": cost}});
        }
        usage(&tell(&mut *dialogue, &line).events)[0].2
    };
    assert_eq!(result(0.25, None), Some(0.25));
    assert_eq!(result(0.75, None), Some(0.5));
    assert_eq!(result(9.0, Some(0.125)), Some(0.125), "a resumed session's total holds what was told before");
    let unknown =
        tell(&mut *dialogue, &json!({"type": "result", "subtype": "success", "usage": {"input_tokens": 1}}));
    assert_eq!(usage(&unknown.events), [(1, 0, None)]);
}
