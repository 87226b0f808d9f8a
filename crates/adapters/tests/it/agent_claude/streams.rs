//! Claude Code's dialogue fed with recorded streams, hand-made lines and garbage.

use std::path::PathBuf;

use mosaic_adapters::agent_claude::{ClaudeOptions, ClaudeRuntime};
use mosaic_core::domain::ids::{AgentId, Timestamp};
use mosaic_core::domain::outcome::{Failure, FailureKind, Outcome};
use mosaic_core::domain::quota::Reset;
use mosaic_core::domain::spec::{AgentType, Budget};
use mosaic_core::limits;
use mosaic_core::ports::processes::Exit;
use mosaic_core::ports::runtime::{AgentEvent, Dialogue, LaunchRequest, Opening, Pending, Reaction, Runtime};
use mosaic_testkit::fakes::sandbox::handle;
use proptest::prelude::*;
use serde_json::{Value, json};

const KEY: &str = "sk-test-canary-0123456789";

fn options() -> ClaudeOptions {
    ClaudeOptions { program: Some("/bin/sh".into()), api_key: Some(KEY.into()), ..ClaudeOptions::default() }
}

fn request(config: PathBuf) -> LaunchRequest {
    LaunchRequest {
        agent: AgentId(uuid::Uuid::new_v4()),
        task: "T-1".parse().expect("valid"),
        agent_type: AgentType::Worker,
        prompt: "Do it.\nNow.".into(),
        system: "rules".into(),
        tree: "/tree".into(),
        sandbox: handle("/agent/home", config),
        model: None,
        budget: Budget::default(),
        resume: None,
        new_session: "5e55e55e-0000-4000-8000-000000000001".into(),
    }
}

fn dialogue() -> Box<dyn Dialogue> {
    let session = Some("5e55e55e-0000-4000-8000-000000000001".to_owned());
    ClaudeRuntime::new(options()).dialogue(&Opening {
        prompt: "Do it.\nNow.".to_owned(),
        session,
        lent: None,
    })
}

fn exit(code: i32) -> Exit {
    Exit {
        code: Some(code),
        signal: None,
        timed_out: false,
        leaked: 0,
        output_bytes: 0,
        stderr_tail: String::new(),
        ..Exit::default()
    }
}

fn failed(outcome: Outcome) -> Failure {
    match outcome {
        Outcome::Failed(failure) => failure,
        Outcome::Completed { text } => panic!("completed with {text:?}"),
    }
}

fn tell(dialogue: &mut dyn Dialogue, line: &Value) -> Reaction {
    dialogue.line(line.to_string().as_bytes())
}

/// Feeds a recorded stream until the dialogue gives up; returns the dialogue, its events, and whether it gave up.
fn replay(name: &str) -> (Box<dyn Dialogue>, Vec<AgentEvent>, bool) {
    let path = format!("{}/tests/data/streams/claude_2.1.330_{name}.jsonl", env!("CARGO_MANIFEST_DIR"));
    let bytes = std::fs::read(path).expect("the recording is there");
    let mut dialogue = dialogue();
    let mut events = Vec::new();
    for line in bytes.split(|byte| *byte == b'\n') {
        let reaction = dialogue.line(line);
        events.extend(reaction.events);
        if reaction.give_up {
            return (dialogue, events, true);
        }
    }
    (dialogue, events, false)
}

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

/// Returns how a turn ends in which these lines come.
fn ended_with(lines: &[Value], code: i32) -> Failure {
    let mut dialogue = dialogue();
    for line in lines {
        tell(&mut *dialogue, line);
    }
    failed(dialogue.outcome(&exit(code)))
}

#[test]
fn a_stated_reset_is_understood_wherever_it_stands() {
    let at = |seconds: u64| Some(Reset::At(Timestamp(seconds * 1000)));
    let event = |status: &str| json!({"type": "rate_limit_event", "rate_limit_info": {"status": status, "resetsAt": 1_796_050_800, "rateLimitType": "five_hour"}});
    let result = |status: Value, words: &str| json!({"type": "result", "subtype": "success", "is_error": true, "api_error_status": status, "result": words});
    let words = "You've hit your session limit";
    for lines in [
        vec![event("rejected"), result(json!(429), words)],
        vec![event("rejected"), result(Value::Null, words)],
        // Some versions call it a success.
        vec![
            event("rejected"),
            json!({"type": "result", "subtype": "success", "is_error": false, "result": words}),
        ],
        // It died before it could say more.
        vec![event("rejected")],
        vec![result(json!(429), "limit reached|1796050800")],
        vec![result(Value::Null, "Claude AI usage limit reached|1796050800")],
        vec![
            json!({"type": "result", "subtype": "success", "is_error": false, "result": "Claude AI usage limit reached|1796050800"}),
        ],
    ] {
        let failure = ended_with(&lines, 1);
        assert_eq!((failure.kind, failure.reset), (FailureKind::RateLimited, at(1_796_050_800)), "{lines:?}");
    }
    // Its last words were on standard error.
    let last = Exit { stderr_tail: "usage limit reached|1796050800".into(), ..exit(1) };
    let failure = failed(dialogue().outcome(&last));
    assert_eq!((failure.kind, failure.reset), (FailureKind::RateLimited, at(1_796_050_800)));
    // Without a time, or once calls are let through again, it is an ordinary failure.
    let failure = ended_with(&[result(json!(429), "slow down")], 1);
    assert_eq!((failure.kind, failure.reset), (FailureKind::RateLimited, None));
    let failure = ended_with(&[event("rejected"), event("allowed"), result(json!(500), "x")], 1);
    assert_eq!((failure.kind, failure.reset), (FailureKind::ModelServer, None));
    let failure = ended_with(&[event("rejected"), result(json!(401), "x")], 1);
    assert_eq!((failure.kind, failure.reset), (FailureKind::Auth, None));
}

#[test]
fn of_several_limits_the_one_that_ends_last_counts() {
    let event = |status: &str, kind: &str, at: u64| json!({"type": "rate_limit_event", "rate_limit_info": {"status": status, "resetsAt": at, "rateLimitType": kind}});
    let result = json!({"type": "result", "subtype": "success", "is_error": true, "api_error_status": 429, "result": "You've hit your limit"});
    let (late, early) = (1_996_050_800, 1_996_000_000);
    for lines in [
        vec![event("rejected", "seven_day", late), event("rejected", "five_hour", early)],
        vec![event("rejected", "five_hour", early), event("rejected", "seven_day", late)],
        vec![event("rejected", "seven_day", late), event("allowed", "five_hour", early)],
        vec![event("rejected", "seven_day", late), event("allowed_warning", "five_hour", early)],
    ] {
        let failure = ended_with(&[lines.as_slice(), std::slice::from_ref(&result)].concat(), 1);
        assert_eq!(failure.reset, Some(Reset::At(Timestamp(late * 1000))), "{lines:?}");
    }
    let all = [event("rejected", "seven_day", late), event("allowed", "seven_day", late), result];
    assert_eq!(ended_with(&all, 1).reset, None);
}

#[test]
fn the_agents_last_words_count_where_the_result_has_none() {
    let said = json!({"type": "assistant", "error": "rate_limit", "message": {"content": [{"type": "text", "text": "You've hit your session limit · resets 3:05pm (UTC)"}]}});
    let result = json!({"type": "result", "subtype": "success", "is_error": true, "api_error_status": 429, "result": ""});
    let failure = ended_with(&[said, result], 1);
    assert_eq!((failure.kind, failure.reset), (FailureKind::RateLimited, Some(Reset::Minute(15 * 60 + 5))));
    let refused = json!({"type": "result", "subtype": "success", "is_error": true, "api_error_status": 400,
        "result": "You have reached your specified API usage limits. You will regain access on 2031-12-03 at 10:57 UTC."});
    let failure = ended_with(&[refused], 1);
    assert_eq!(
        (failure.kind, failure.reset),
        (FailureKind::RateLimited, Some(Reset::At(Timestamp(1_954_061_820_000))))
    );
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
fn the_agent_can_be_asked_about_its_background_tasks() {
    let mut dialogue = dialogue();
    tell(
        &mut *dialogue,
        &json!({"type": "control_response",
        "response": {"subtype": "success", "request_id": "mosaic-initialize", "response": {}}}),
    );
    tell(
        &mut *dialogue,
        &json!({"type": "system", "subtype": "background_tasks_changed",
        "tasks": [{"task_id": "a", "description": format!("a server with {KEY}")}]}),
    );
    tell(&mut *dialogue, &json!({"type": "result", "subtype": "success", "is_error": false, "result": "x"}));
    assert_eq!(dialogue.pending(), Pending::Tasks(vec!["a server with [masked]".to_owned()]));
    assert!(dialogue.nudge("still needed?").is_some());
}

#[test]
fn a_turn_that_did_not_end_by_itself_is_told_in_fitting_words() {
    let result = |stop: Value| {
        let mut dialogue = dialogue();
        tell(
            &mut *dialogue,
            &json!({"type": "result", "subtype": "success", "is_error": false,
            "result": "half", "stop_reason": stop}),
        );
        assert_eq!(dialogue.outcome(&exit(0)), Outcome::Completed { text: "half".into() });
        dialogue.warnings()
    };
    for stop in [json!("end_turn"), Value::Null, json!(""), json!(7)] {
        assert_eq!(result(stop), Vec::<String>::new());
    }
    let cases = [
        ("tool_use", "wanted to use a tool"),
        ("max_tokens", "cut at its longest length"),
        ("refusal", "refused"),
        ("pause_turn", "paused"),
        ("model_context_window_exceeded", "context was full"),
        ("of_next_year", "did not end its turn by itself (of_next_year)"),
    ];
    for (stop, words) in cases {
        let warnings = result(json!(stop));
        assert!(warnings.len() == 1 && warnings[0].contains(words), "{stop}: {warnings:?}");
        assert!(warnings[0].contains(stop), "{warnings:?}");
    }
}

#[test]
fn a_denial_that_nobody_asked_for_is_told_once_and_the_work_goes_on() {
    let mut dialogue = dialogue();
    let worked = json!({"type": "user", "message": {"role": "user", "content": [
        {"type": "tool_result", "tool_use_id": "t0", "content": "ok"}]}});
    tell(&mut *dialogue, &worked);
    tell(
        &mut *dialogue,
        &json!({"type": "assistant", "message": {"content": [
        {"type": "tool_use", "id": "t1", "name": "Bash", "input": {"command": "make"}}]}}),
    );
    // As the program answers a call by itself when its input is closed; nothing else tells of it.
    let answer = json!({"type": "user", "message": {"role": "user", "content": [
        {"type": "tool_result", "tool_use_id": "t1", "is_error": true, "content": "The user doesn't want to take this action"}]},
        "tool_result_meta": [{"id": "t1", "non_execution_kind": "cancelled"}, {"id": 7}, "odd"]});
    let denied = |reaction: &Reaction| -> Vec<String> {
        let told = reaction.events.iter().filter_map(|event| match event {
            AgentEvent::Denied { tool, .. } => Some(tool.clone()),
            _ => None,
        });
        told.collect()
    };
    assert_eq!(denied(&tell(&mut *dialogue, &answer)), ["Bash"]);
    let result = json!({"type": "result", "subtype": "success", "is_error": false, "result": "done", "permission_denials": [
        {"tool_name": "Bash", "tool_use_id": "t1"}, {"tool_name": "Write", "tool_use_id": "t2"}]});
    assert_eq!(denied(&tell(&mut *dialogue, &result)), ["Write"]);
    assert_eq!(dialogue.outcome(&exit(0)), Outcome::Completed { text: "done".into() });
}

#[test]
fn caps_are_budget() {
    for (name, words) in [("max_turns", "(3)"), ("max_budget", "($0.3)")] {
        let failure = failed(replay(name).0.outcome(&exit(1)));
        assert_eq!(failure.kind, FailureKind::Budget);
        assert!(failure.message.contains(words), "{}", failure.message);
    }
}

#[test]
fn refused_credentials_are_given_up_at_the_second_refusal() {
    let (mut dialogue, events, gave_up) = replay("401_retries");
    assert!(gave_up);
    let retries: Vec<_> =
        events.iter().filter(|event| matches!(event, AgentEvent::ApiRetry { .. })).collect();
    assert_eq!(retries.len(), 2);
    let failure = failed(dialogue.outcome(&Exit { code: None, signal: Some(15), ..exit(0) }));
    assert_eq!(failure.kind, FailureKind::Auth);
    assert!(failure.message.contains("CLAUDE_API_KEY"), "{}", failure.message);
    // Interrupted for that, it still says a last word.
    dialogue.line(br#"{"type":"result","subtype":"error_during_execution","is_error":true,"terminal_reason":"aborted_streaming"}"#);
    assert_eq!(failed(dialogue.outcome(&exit(1))).kind, FailureKind::Auth);
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
fn the_user_message_waits_for_the_acknowledged_hook() {
    let mut dialogue = dialogue();
    let start = dialogue.start();
    let first: Value = serde_json::from_str(&start[0]).expect("JSON");
    assert_eq!(start.len(), 1);
    assert_eq!(first["request"]["subtype"], "initialize");
    assert_eq!(first["request"]["hooks"]["PreToolUse"][0]["matcher"], "Bash");
    let ack = |id: &Value| json!({"type": "control_response", "response": {"subtype": "success", "request_id": id}});
    assert_eq!(tell(&mut *dialogue, &ack(&"other".into())), Reaction::default());
    let reaction = tell(&mut *dialogue, &ack(&first["request_id"]));
    assert_eq!(reaction.replies.len(), 1);
    assert!(reaction.replies[0].ends_with('\n') && reaction.replies[0].matches('\n').count() == 1);
    let user: Value = serde_json::from_str(&reaction.replies[0]).expect("JSON");
    assert_eq!(user["message"]["content"][0]["text"], "Do it.\nNow.");
    assert_eq!(tell(&mut *dialogue, &ack(&first["request_id"])), Reaction::default(), "it is sent once");
}

#[test]
fn a_push_is_denied_by_hook_and_by_permission_and_is_no_failure() {
    let mut dialogue = dialogue();
    let hook = |command: &str| {
        json!({"type": "control_request", "request_id": "r", "request": {"subtype": "hook_callback", "callback_id": "x",
            "tool_use_id": "call", "input": {"tool_name": "Bash", "tool_input": {"command": command}}}})
    };
    let answer = |reaction: &Reaction| {
        serde_json::from_str::<Value>(&reaction.replies[0]).expect("JSON")["response"]["response"].clone()
    };
    let allowed = tell(&mut *dialogue, &hook("git commit -m 'git push'"));
    assert_eq!((answer(&allowed), allowed.events.len()), (json!({}), 0));
    let denied = tell(&mut *dialogue, &hook("git -C x push"));
    assert_eq!(answer(&denied)["hookSpecificOutput"]["permissionDecision"], "deny");
    assert!(matches!(&denied.events[..], [AgentEvent::Denied { tool, .. }] if tool == "Bash"));

    let ask = |command: &str| {
        json!({"type": "control_request", "request_id": "r", "request": {"subtype": "can_use_tool", "tool_name": "Bash",
            "tool_use_id": "call2", "input": {"command": command}}})
    };
    let allowed = answer(&tell(&mut *dialogue, &ask("ls")));
    assert_eq!(allowed, json!({"behavior": "allow", "updatedInput": {"command": "ls"}}));
    assert_eq!(answer(&tell(&mut *dialogue, &ask("git push")))["behavior"], "deny");

    tell(
        &mut *dialogue,
        &json!({"type": "result", "subtype": "success", "is_error": false, "result": "ok", "permission_denials": [
        {"tool_name": "Bash", "tool_use_id": "call", "tool_input": {}}, {"tool_name": "Bash", "tool_use_id": "call2"}]}),
    );
    assert_eq!(dialogue.outcome(&exit(0)), Outcome::Completed { text: "ok".into() });
}

#[test]
fn an_unknown_request_is_answered_so_that_nothing_waits() {
    let mut dialogue = dialogue();
    let reaction = tell(
        &mut *dialogue,
        &json!({"type": "control_request", "request_id": "q", "request": {"subtype": "new_thing"}}),
    );
    let reply: Value = serde_json::from_str(&reaction.replies[0]).expect("JSON");
    assert_eq!(
        (&reply["response"]["subtype"], &reply["response"]["request_id"]),
        (&json!("error"), &json!("q"))
    );
}

#[test]
fn error_results_have_their_kinds() {
    use FailureKind as K;
    let api = |status: Value, words: &str| {
        json!({"type": "result", "subtype": "success", "is_error": true, "terminal_reason": "api_error",
            "api_error_status": status, "result": words})
    };
    let cases = [
        (api(json!(401), "x"), K::Auth),
        (api(json!(403), "x"), K::Auth),
        (api(json!(400), "Credit balance is too low"), K::Billing),
        (api(json!(402), "x"), K::Billing),
        (api(json!(429), "x"), K::RateLimited),
        (api(json!(500), "x"), K::ModelServer),
        (api(json!(529), "Overloaded"), K::ModelServer),
        (api(json!(400), "messages: bad"), K::BadInput),
        (api(json!(404), "model: nosuch"), K::BadInput),
        (api(Value::Null, "API Error: Connection error."), K::Network),
        (api(Value::Null, "Invalid API key · Please run /login"), K::Auth),
        (
            json!({"type": "result", "subtype": "success", "is_error": true, "terminal_reason": "prompt_too_long"}),
            K::BadInput,
        ),
        (
            json!({"type": "result", "subtype": "error_during_execution", "is_error": true, "errors": ["boom"]}),
            K::Crash,
        ),
        (json!({"type": "result", "subtype": "error_of_next_year", "is_error": true}), K::Crash),
        (json!({"type": "result"}), K::Crash),
    ];
    for (line, kind) in cases {
        let mut dialogue = dialogue();
        assert!(tell(&mut *dialogue, &line).turn_over);
        assert_eq!(failed(dialogue.outcome(&exit(1))).kind, kind, "{line}");
    }
}

#[test]
fn no_result_is_a_failure_with_what_is_known() {
    assert_eq!(failed(dialogue().outcome(&exit(0))).kind, FailureKind::NoResult);
    let crash = failed(dialogue().outcome(&Exit { stderr_tail: format!("bad {KEY} end"), ..exit(3) }));
    assert_eq!(crash.kind, FailureKind::Crash);
    assert!(
        crash.message.contains("exit status 3") && crash.message.contains("bad [masked] end"),
        "{}",
        crash.message
    );
    let killed = failed(dialogue().outcome(&Exit { code: None, signal: Some(9), ..exit(0) }));
    assert!(killed.kind == FailureKind::Crash && killed.message.contains("signal 9"), "{}", killed.message);
    assert_eq!(failed(dialogue().outcome(&Exit { timed_out: true, ..exit(0) })).kind, FailureKind::Timeout);
    let missing = Exit { code: None, start_error: Some("no such file".into()), ..exit(0) };
    assert_eq!(failed(dialogue().outcome(&missing)).kind, FailureKind::ProgramMissing);
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

#[test]
fn the_key_is_masked_and_long_text_cut() {
    let mut dialogue = dialogue();
    let text = format!("key {KEY} {}", "x".repeat(2 * limits::ENTRY_BYTES));
    let line = json!({"type": "user", "message": {"content": [{"type": "tool_result", "tool_use_id": "t", "content": [{"type": "text", "text": text}]}]}});
    let events = tell(&mut *dialogue, &line).events;
    let [AgentEvent::ToolResult { text, .. }] = &events[..] else { panic!("{events:?}") };
    assert!(text.starts_with("key [masked] x") && text.len() <= limits::ENTRY_BYTES);
    let raw = dialogue.line(format!("panic: {KEY}").as_bytes()).events;
    assert_eq!(raw, [AgentEvent::Output { text: "panic: [masked]".into() }]);
}

#[tokio::test]
async fn the_plan_has_the_flags_and_no_key_in_its_arguments() {
    let dir = tempfile::tempdir().expect("a directory");
    let runtime =
        ClaudeRuntime::new(ClaudeOptions { upstream: Some("http://127.0.0.1:9".into()), ..options() });
    let mut request = request(dir.path().into());
    request.budget = Budget { usd: Some(1.5), turns: Some(7) };
    request.model = Some("opus".into());
    let plan = runtime.plan(&request).await.expect("a plan");
    let line = plan.command.join(" ");
    for part in [
        "-p",
        "--setting-sources user",
        "--strict-mcp-config",
        "--permission-mode bypassPermissions",
        "--model opus",
        "--max-turns 7",
        "--max-budget-usd 1.5",
        "--session-id 5e55e55e-0000-4000-8000-000000000001",
    ] {
        assert!(line.contains(part), "{part} is missing in {line}");
    }
    assert!(!line.contains(KEY));
    let has = |name: &str, value: &str| plan.env.contains(&(name.to_owned(), value.to_owned()));
    assert!(has("ANTHROPIC_API_KEY", KEY) && has("ANTHROPIC_BASE_URL", "http://127.0.0.1:9"));
    assert!(has("CLAUDE_CONFIG_DIR", &dir.path().display().to_string()));
    assert_eq!(plan.session.as_deref(), Some(request.new_session.as_str()));

    request.resume = Some("old".into());
    let lost = runtime.plan(&request).await.expect("a plan");
    assert!(!lost.command.contains(&"--resume".to_owned()), "its record is gone: {:?}", lost.command);
    assert_eq!(lost.session.as_deref(), Some(request.new_session.as_str()));
    std::fs::create_dir_all(dir.path().join("projects/-tree/old.jsonl")).expect("made");
    let odd = runtime.plan(&request).await.expect("a plan");
    assert!(!odd.command.contains(&"--resume".to_owned()), "that is no record");
    std::fs::create_dir_all(dir.path().join("projects/-other")).expect("made");
    std::fs::write(dir.path().join("projects/-other/old.jsonl"), "{}").expect("written");
    let again = runtime.plan(&request).await.expect("a plan");
    assert!(
        again.command.join(" ").contains("--resume old")
            && !again.command.contains(&"--session-id".to_owned())
    );
    assert_eq!(again.session.as_deref(), Some("old"));
    request.model = Some("--dangerous".into());
    assert_eq!(runtime.plan(&request).await.expect_err("refused").kind, FailureKind::BadInput);
}

#[tokio::test]
async fn without_key_or_login_nothing_is_launched() {
    let dir = tempfile::tempdir().expect("a directory");
    let without = ClaudeOptions { api_key: None, ..options() };
    let request = request(dir.path().join("config"));
    let failure = ClaudeRuntime::new(without.clone()).plan(&request).await.expect_err("no key");
    assert_eq!(failure.kind, FailureKind::Auth);
    assert!(failure.message.contains("CLAUDE_API_KEY") && failure.message.contains("MOSAIC_CLAUDE_LOGIN"));

    let with_login = ClaudeRuntime::new(ClaudeOptions { login_dir: Some(dir.path().into()), ..without });
    assert_eq!(with_login.plan(&request).await.expect_err("no login file").kind, FailureKind::Auth);
    std::fs::write(dir.path().join(".credentials.json"), r#"{"a":{"accessToken":"token-canary-123"}}"#)
        .expect("written");
    std::fs::create_dir(dir.path().join("elsewhere")).expect("made");
    std::os::unix::fs::symlink(dir.path().join("elsewhere"), dir.path().join("config")).expect("planted");
    with_login.plan(&request).await.expect_err("a planted link is not followed");
    assert_eq!(std::fs::read_dir(dir.path().join("elsewhere")).expect("listed").count(), 0);
    std::fs::remove_file(dir.path().join("config")).expect("removed");
    std::fs::create_dir(dir.path().join("config")).expect("made");
    let plan = with_login.plan(&request).await.expect("a plan");
    assert!(!plan.env.iter().any(|(name, _)| name == "ANTHROPIC_API_KEY"));
    let passed_on = dir.path().join("config/.credentials.json");
    assert!(std::fs::read_to_string(&passed_on).expect("passed on").contains("token-canary-123"));
    let mode =
        std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&passed_on).expect("there").permissions());
    assert_eq!(mode & 0o777, 0o600);
    let shown = with_login.dialogue(&Opening::default()).line(b"token-canary-123").events;
    assert_eq!(shown, [AgentEvent::Output { text: "[masked]".into() }]);
}

#[tokio::test]
async fn a_missing_program_is_named_with_what_to_do() {
    let dir = tempfile::tempdir().expect("a directory");
    let nowhere =
        ClaudeRuntime::new(ClaudeOptions { program: None, path_env: "/nonexistent".into(), ..options() });
    assert!(nowhere.probe().await.expect_err("missing").to_string().contains("MOSAIC_CLAUDE_BIN"));
    let failure = nowhere.plan(&request(dir.path().into())).await.expect_err("missing");
    assert!(!failure.kind.is_retryable() && failure.message.contains("MOSAIC_CLAUDE_BIN"));
}

fn some_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[a-z_]{0,12}".prop_map(Value::from),
        prop::sample::select(vec![
            "system",
            "init",
            "api_retry",
            "assistant",
            "user",
            "result",
            "control_request",
            "hook_callback",
            "can_use_tool",
            "control_response",
            "text",
            "tool_use",
            "tool_result",
            "success"
        ])
        .prop_map(Value::from),
    ];
    let key = prop::sample::select(vec![
        "type",
        "subtype",
        "message",
        "content",
        "request",
        "response",
        "request_id",
        "input",
        "tool_input",
        "command",
        "usage",
        "errors",
        "permission_denials",
        "is_error",
        "result",
        "total_cost_usd",
        "error_status",
        "id",
    ]);
    leaf.prop_recursive(4, 48, 8, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((key.clone(), inner), 0..8)
                .prop_map(|fields| fields.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()),
        ]
    })
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(lines in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 0..20), code in any::<i32>()) {
        let mut dialogue = dialogue();
        for line in &lines {
            dialogue.line(line);
        }
        dialogue.outcome(&exit(code));
    }

    #[test]
    fn no_json_makes_it_panic(lines in prop::collection::vec(some_json(), 0..20), code in any::<i32>()) {
        let mut dialogue = dialogue();
        for line in &lines {
            tell(&mut *dialogue, line);
        }
        dialogue.outcome(&exit(code));
    }

    #[test]
    fn a_cut_off_stream_is_never_completed(at in 0usize..8000) {
        let path = format!("{}/tests/data/streams/claude_2.1.330_commit.jsonl", env!("CARGO_MANIFEST_DIR"));
        let bytes = std::fs::read(path).expect("the recording is there");
        let last = bytes[..bytes.len() - 1].iter().rposition(|byte| *byte == b'\n').expect("several lines");
        let mut dialogue = dialogue();
        for line in bytes[..at.min(last)].split(|byte| *byte == b'\n') {
            dialogue.line(line);
        }
        prop_assert_eq!(failed(dialogue.outcome(&exit(0))).kind, FailureKind::NoResult);
    }
}
