//! Requests of the program: hooks, permissions, background tasks.

use mosaic_core::domain::outcome::Outcome;
use mosaic_core::ports::runtime::{AgentEvent, Pending, Reaction};
use serde_json::{Value, json};

use super::world::{KEY, dialogue, exit, tell};

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
