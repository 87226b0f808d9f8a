//! One budget for all runs of an agent: what fix rounds, retries and earlier servers used up is gone.

use std::path::Path;

use rustix::process::Signal;
use serde_json::{Value, json};

use super::support::{Home, claude_stand_in, fixture_with_gates, script, spawn_claude, until};

/// Writes down with which cap it was started.
fn note_cap(dir: &Path) -> String {
    let caps = dir.join("caps").display().to_string();
    format!("echo \"$@\" | sed 's/.*--max-budget-usd //; s/ .*//' >> '{caps}'\n")
}

fn caps(dir: &Path) -> Vec<f64> {
    let text = std::fs::read_to_string(dir.join("caps")).unwrap_or_default();
    text.lines().map(|line| line.parse().unwrap()).collect()
}

fn result(cost: &str) -> String {
    format!(
        r#"echo '{{"type":"result","subtype":"success","is_error":false,"result":"ok","num_turns":3,"total_cost_usd":{cost},"usage":{{"input_tokens":1,"output_tokens":1}}}}'"#
    )
}

fn used_up(agent: &Value) {
    assert_eq!((&agent["status"], &agent["endReason"]), (&json!("failed"), &json!("budget")), "{agent:#}");
    assert!(agent["error"].as_str().unwrap().contains("used up"), "{agent:#}");
}

#[test]
fn fix_rounds_get_what_is_left_and_none_starts_without() {
    let (home, fixture) = (Home::new(), fixture_with_gates("tests = 'false'"));
    let turn = format!("echo x >> x.txt\n{}{}", note_cap(home.path()), result("0.7"));
    let program = claude_stand_in(home.path(), &turn);
    let server = home.serve(&[("MOSAIC_CLAUDE_BIN", &program), ("CLAUDE_API_KEY", "dummy-key-of-a-test")]);
    let budget = json!({"budget": {"usd": 2.0}, "maxFixRounds": 5});
    let id = spawn_claude(&server, &fixture, "T-1", &budget);
    let agent = server.ended(&id);
    used_up(&agent);
    assert_eq!(caps(home.path()), [2.0, 1.3, 0.6]);
    assert_eq!((&agent["spent"]["turns"], agent["spent"]["usd"].as_f64().unwrap().round()), (&json!(9), 2.0));
}

#[test]
fn a_run_that_dies_without_a_result_is_not_free() {
    let (home, fixture) = (Home::new(), fixture_with_gates("tests = 'true'"));
    // 300,000 tokens of input: a dollar and a half.
    let turn = note_cap(home.path())
        + r#"echo '{"type":"assistant","message":{"id":"m","usage":{"input_tokens":300000,"output_tokens":1},"content":[]}}'
exit 1"#;
    let program = claude_stand_in(home.path(), &turn);
    let server = home.serve(&[("MOSAIC_CLAUDE_BIN", &program), ("CLAUDE_API_KEY", "dummy-key-of-a-test")]);
    let more = json!({"budget": {"usd": 2.0}, "maxRetries": 5, "backoff": {"type": "fixed", "delay": 0}});
    let id = spawn_claude(&server, &fixture, "T-1", &more);
    used_up(&server.ended(&id));
    let caps = caps(home.path());
    assert!(caps.len() == 2 && caps[0] == 2.0 && (0.45..=0.5).contains(&caps[1]), "{caps:?}");
}

#[test]
fn what_a_run_used_up_under_a_server_that_died_counts_once() {
    let (home, fixture) = (Home::new(), fixture_with_gates("tests = 'true'"));
    let go = home.path().join("go");
    let wait = format!(
        r#"echo '{{"type":"system","subtype":"background_tasks_changed","tasks":[{{"task_id":"a"}}]}}'
{}
until [ -e '{}' ]; do sleep 0.05; done
exit 1"#,
        result("1.5"),
        go.display()
    );
    let program = claude_stand_in(home.path(), &(note_cap(home.path()) + &wait));
    let env = [("MOSAIC_CLAUDE_BIN", program.as_str()), ("CLAUDE_API_KEY", "dummy-key-of-a-test")];
    let mut server = home.serve(&env);
    let more = json!({"budget": {"usd": 2.0}, "maxRetries": 1, "backoff": {"type": "fixed", "delay": 0}});
    let id = spawn_claude(&server, &fixture, "T-1", &more);
    until("the cost in the record", || (server.agent(&id)["spent"]["usd"] == 1.5).then_some(()));
    server.signal(Signal::KILL);
    server.wait_end();
    drop(server);
    let server = home.serve(&env);
    until("adoption", || (server.agent(&id)["phase"] == "working").then_some(()));
    assert_eq!(server.agent(&id)["spent"]["usd"], 1.5);
    std::fs::write(&go, "").unwrap();
    let agent = server.ended(&id);
    assert_eq!(caps(home.path()), [2.0, 0.5], "{agent:#}");
    assert_eq!(agent["spent"]["usd"], 3.0, "{agent:#}");
}

#[test]
fn a_program_without_a_protocol_is_told_its_budget() {
    let (home, fixture) = (Home::new(), fixture_with_gates("tests = 'true'"));
    let line = script(home.path(), "agent.sh", "cat >/dev/null\necho \"$MOSAIC_BUDGET_TURNS\" > turns.txt\n");
    let server = home.serve(&[("MOSAIC_COMMAND", &line)]);
    let mut body = super::support::body(&fixture.url(), "T-1");
    (body["budget"], body["gateProfile"]) = (json!({"turns": 7}), json!("minimal"));
    let agent = server.life(&body, "completed", "done");
    let told = fixture.read_branch_file(agent["branch"].as_str().unwrap(), "turns.txt");
    assert_eq!(told.as_deref(), Some("7\n"));
}
