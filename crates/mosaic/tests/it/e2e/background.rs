//! Agents that leave something running in the background when their turn ends, by a stand-in that speaks Claude Code's
//! lines: input stays open, a restart forgets nothing, and what is not worth waiting for is named.

use mosaic_testkit::git_fixture::Fixture;
use rustix::process::Signal;
use serde_json::{Value, json};

use super::support::{Home, Server, claude_stand_in, fixture_with_gates, spawn_claude, until};

const STARTED: &str = r#"echo '{"type":"system","subtype":"background_tasks_changed","tasks":[{"task_id":"b1","task_type":"local_bash","description":"the long build"}]}'"#;
const ENDED: &str = r#"echo '{"type":"system","subtype":"background_tasks_changed","tasks":[]}'"#;
const RESULT: &str = r#"echo '{"type":"result","subtype":"success","is_error":false,"stop_reason":"end_turn","result":"waiting"}'"#;
const OVER: &str = r#"echo '{"type":"system","subtype":"informational","content":"the turn is over"}'"#;
/// Asks whether a command may run and does what the answer says, as the program does; without an answer it is denied.
const SECOND: &str = r#"echo '{"type":"system","subtype":"init","session_id":"s"}'
echo '{"type":"control_request","request_id":"ask","request":{"subtype":"can_use_tool","tool_name":"Bash","input":{"command":"make"},"tool_use_id":"t1"}}'
if read -r answer; then echo two > two.txt; else echo denied > denied.txt; fi
echo '{"type":"result","subtype":"success","is_error":false,"stop_reason":"end_turn","result":"both"}'"#;

fn ran_both_turns(fixture: &Fixture, agent: &Value) {
    assert_eq!((&agent["status"], &agent["attempt"]), (&json!("completed"), &json!(1)), "{agent:#}");
    assert_eq!(
        (&agent["result"], agent["warnings"].as_array()),
        (&json!("both"), Some(&Vec::new())),
        "{agent:#}"
    );
    let branch = agent["branch"].as_str().unwrap();
    assert_eq!(
        fixture.read_branch_file(branch, "two.txt").as_deref(),
        Some("two\n"),
        "the second turn was denied"
    );
}

fn says(server: &Server<'_>, id: &str, text: &str) -> bool {
    let page = server.http.get(&format!("/v1/agents/{id}/transcript?limit=200")).expect(200);
    page["items"].to_string().contains(text)
}

#[test]
fn the_turn_after_a_background_task_is_answered_also_by_the_next_server() {
    let (home, fixture) = (Home::new(), fixture_with_gates("tests = 'true'"));
    let go = home.path().join("go");
    let turn = format!(
        "echo one > one.txt\n{STARTED}\n{RESULT}\n{OVER}\nuntil [ -e '{}' ]; do sleep 0.05; done\n{ENDED}\n{SECOND}",
        go.display()
    );
    let program = claude_stand_in(home.path(), &turn);
    let env = [("MOSAIC_CLAUDE_BIN", program.as_str()), ("CLAUDE_API_KEY", "dummy-key-of-a-test")];
    let mut server = home.serve(&env);
    let id = spawn_claude(&server, &fixture, "T-1", &json!({}));
    until("the first turn's end", || says(&server, &id, "the turn is over").then_some(()));
    server.signal(Signal::KILL);
    server.wait_end();
    drop(server);
    let server = home.serve(&env);
    until("adoption", || (server.agent(&id)["phase"] == "working").then_some(()));
    std::fs::write(&go, "").unwrap();
    ran_both_turns(&fixture, &server.ended(&id));
}

#[test]
fn a_task_that_ended_within_the_turn_is_told_in_another_one() {
    let (home, fixture) = (Home::new(), fixture_with_gates("tests = 'true'"));
    let turn = format!("{STARTED}\n{ENDED}\n{RESULT}\n{SECOND}");
    let program = claude_stand_in(home.path(), &turn);
    let server = home.serve(&[("MOSAIC_CLAUDE_BIN", &program), ("CLAUDE_API_KEY", "dummy-key-of-a-test")]);
    let id = spawn_claude(&server, &fixture, "T-1", &json!({}));
    ran_both_turns(&fixture, &server.ended(&id));
}

#[test]
fn a_silent_task_outlasts_the_stall_ceiling_and_the_agent_is_asked_about_it() {
    let (home, fixture) = (Home::new(), fixture_with_gates("tests = 'true'"));
    // It has a process, is asked about once, and takes longer than any silence may last otherwise.
    let turn = format!(
        "{STARTED}\n{RESULT}\nsleep 1000 & build=$!\nread -r asked; echo \"$asked\" > asked.txt\n\
         sleep 8; kill $build; {ENDED}\n{SECOND}"
    );
    let program = claude_stand_in(home.path(), &turn);
    let env = [
        ("MOSAIC_CLAUDE_BIN", program.as_str()),
        ("CLAUDE_API_KEY", "dummy-key-of-a-test"),
        ("MOSAIC_STALL_MS", "12000"),
    ];
    let server = home.serve(&env);
    let id = spawn_claude(&server, &fixture, "T-1", &json!({}));
    let agent = server.ended(&id);
    ran_both_turns(&fixture, &agent);
    let asked = fixture.read_branch_file(agent["branch"].as_str().unwrap(), "asked.txt").unwrap();
    assert!(asked.contains("the long build"), "{asked}");
}

#[test]
fn an_announced_turn_that_does_not_begin_ends_the_wait_and_not_the_agent() {
    let (home, fixture) = (Home::new(), fixture_with_gates("tests = 'true'"));
    let turn = format!("echo one > one.txt\n{STARTED}\n{ENDED}\n{RESULT}");
    let program = claude_stand_in(home.path(), &turn);
    // The supervisor waits for the turn longer than any silence may last here.
    let env = [
        ("MOSAIC_CLAUDE_BIN", program.as_str()),
        ("CLAUDE_API_KEY", "dummy-key-of-a-test"),
        ("MOSAIC_STALL_MS", "6000"),
    ];
    let server = home.serve(&env);
    let id = spawn_claude(&server, &fixture, "T-1", &json!({}));
    let agent = server.ended(&id);
    assert_eq!((&agent["status"], &agent["result"]), (&json!("completed"), &json!("waiting")), "{agent:#}");
    assert!(!says(&server, &id, "its turn is interrupted"), "the agent was asked for a silence that is ours");
}

#[test]
fn a_program_that_leaves_its_tasks_alone_ends_with_a_warning_that_names_them() {
    let (home, fixture) = (Home::new(), fixture_with_gates("tests = 'true'"));
    let program = claude_stand_in(home.path(), &format!("echo one > one.txt\n{STARTED}\n{RESULT}\nexit 0"));
    let server = home.serve(&[("MOSAIC_CLAUDE_BIN", &program), ("CLAUDE_API_KEY", "dummy-key-of-a-test")]);
    let id = spawn_claude(&server, &fixture, "T-1", &json!({}));
    let agent = server.ended(&id);
    assert_eq!(agent["status"], "completed", "{agent:#}");
    assert!(agent["warnings"].to_string().contains("the long build"), "{agent:#}");
}

#[test]
fn half_a_turn_is_a_warning_in_run_status_and_gates() {
    let (home, fixture) = (Home::new(), fixture_with_gates("tests = 'true'"));
    let half = r#"echo one > one.txt
echo '{"type":"result","subtype":"success","is_error":false,"stop_reason":"max_tokens","result":"Now I will"}'"#;
    let program = claude_stand_in(home.path(), half);
    let env = [
        ("MOSAIC_CLAUDE_BIN", program.as_str()),
        ("CLAUDE_API_KEY", "dummy-key-of-a-test"),
        ("MOSAIC_TRUST", "all"),
    ];
    let server = home.serve(&env);
    let ran = server.cli(&[
        "run",
        "--repo",
        &fixture.url(),
        "--runtime",
        "claude",
        "--task",
        "half",
        "--gate",
        "minimal",
        "do it",
    ]);
    let id = server.http.get("/v1/agents").expect(200)["items"][0]["agentId"].as_str().unwrap().to_owned();
    for shown in [ran, server.cli(&["status", &id]), server.cli(&["gates", &id])] {
        let text = String::from_utf8_lossy(&shown.stdout).to_lowercase();
        assert!(
            text.contains("warning") && text.contains("max_tokens"),
            "{text}\n{}",
            String::from_utf8_lossy(&shown.stderr)
        );
    }
}
