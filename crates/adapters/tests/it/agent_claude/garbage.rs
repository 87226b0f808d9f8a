//! Garbage: no line makes the dialogue panic, and half a stream is never a success.

use mosaic_core::domain::outcome::FailureKind;
use proptest::prelude::*;
use serde_json::Value;

use super::world::{dialogue, exit, failed, tell};

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
