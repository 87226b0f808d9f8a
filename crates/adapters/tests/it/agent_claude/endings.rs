//! Ends of a turn: limits, refusals, errors, and what each means for the next attempt.

use mosaic_core::domain::ids::Timestamp;
use mosaic_core::domain::outcome::{Failure, FailureKind, Outcome};
use mosaic_core::domain::quota::Reset;
use mosaic_core::ports::processes::Exit;
use mosaic_core::ports::runtime::AgentEvent;
use serde_json::{Value, json};

use super::world::{KEY, dialogue, exit, failed, replay, tell};

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
