//! Agents that hang without a word: seen while it lasts, ended within the ceiling, nothing left. And what is seen of
//! agents meanwhile.

use std::time::{Duration, Instant};

use mosaic_testkit::git_fixture::Fixture;
use serde_json::{Value, json};

use super::support::{Home, Server, body, script, until};

const CEILING: Duration = Duration::from_secs(4);

fn resources(server: &Server<'_>, id: &str) -> Value {
    server.http.get(&format!("/v1/agents/{id}/resources")).expect(200)
}

/// Returns the kinds that were logged of an agent, with the stage of what was noticed.
fn log(server: &Server<'_>, id: &str) -> Vec<String> {
    let found = server.cli(&["logs", id, "--json"]);
    assert!(found.status.success());
    let lines = String::from_utf8_lossy(&found.stdout).into_owned();
    lines.lines().filter(|line| line.contains("no output for")).map(str::to_owned).collect()
}

#[test]
fn a_silent_agent_is_seen_and_ended_within_its_ceiling() {
    let (home, fixture) = (Home::new(), Fixture::new());
    let mark = home.path().join("silent").display().to_string();
    for (task, agent, seen) in [
        ("hang", format!("cat >/dev/null\ntouch '{mark}'\nexec sleep 1000\n"), "its processes do nothing"),
        ("spin", format!("cat >/dev/null\ntouch '{mark}'\nwhile :; do :; done\n"), "its processes work"),
    ] {
        let _ = std::fs::remove_file(&mark);
        let line = script(home.path(), "agent.sh", &agent);
        let ceiling = CEILING.as_millis().to_string();
        let server = home.serve(&[("MOSAIC_COMMAND", &line), ("MOSAIC_STALL_MS", &ceiling)]);
        let id = server.spawn(&body(&fixture.url(), task));
        until("the agent to fall silent", || std::path::Path::new(&mark).exists().then_some(()));
        let begun = Instant::now();
        let stalled = until("attention", || {
            Some(server.agent(&id))
                .filter(|a| a["attention"][0]["kind"] == "stalled" || a["status"] == "failed")
        });
        assert_eq!(
            (&stalled["status"], &stalled["phase"]),
            (&json!("running"), &json!("waiting")),
            "{stalled:#}"
        );
        let state = server.http.get("/v1/state").expect(200);
        assert_eq!((&state["attention"], &state["stalled"]), (&json!(1), &json!(1)), "{state:#}");
        let used = resources(&server, &id);
        assert_eq!((&used["live"], &used["now"]["processes"]), (&json!(true), &json!(1)), "{used:#}");
        let ended = server.ended(&id);
        let took = begun.elapsed();
        assert_eq!(
            (&ended["status"], &ended["endReason"]),
            (&json!("failed"), &json!("stalled")),
            "{ended:#}"
        );
        let error = ended["error"].as_str().unwrap();
        assert!(error.contains(seen) && error.contains("no output for"), "{task}: {error}");
        eprintln!("{task}: ended {took:?} after it fell silent, ceiling {CEILING:?}");
        // Grace, release, and the look that comes late are beyond the ceiling.
        assert!(took < CEILING + Duration::from_secs(5), "{task} was ended after {took:?}");
        assert!(
            log(&server, &id).len() >= 3,
            "the stages are not in the transcript: {:?}",
            log(&server, &id)
        );
        let gone = resources(&server, &id);
        assert_eq!((&gone["live"], &gone["now"]), (&json!(false), &Value::Null));
    }
}

#[test]
fn a_decision_is_raised_listed_and_answered_by_command_line_and_http() {
    let (home, fixture) = (Home::new(), Fixture::new());
    let line = script(home.path(), "agent.sh", "cat >/dev/null\nexec sleep 1000\n");
    // Far more time than the answers below need, or the ceiling would end the agent before the operator does.
    let server = home.serve(&[("MOSAIC_COMMAND", &line), ("MOSAIC_STALL_MS", "20000")]);
    let id = server.spawn(&body(&fixture.url(), "asks"));
    let open = until("a decision", || {
        let list = server.http.get("/v1/attention").expect(200);
        list["items"].as_array().unwrap().first().cloned()
    });
    assert_eq!((&open["agentId"], &open["kind"]), (&json!(id), &json!("stalled")), "{open:#}");
    let decision = open["id"].as_str().unwrap();
    let listed = server.cli(&["attention", "--json"]);
    let listed: Value = serde_json::from_slice(&listed.stdout).unwrap();
    assert_eq!(listed["items"][0]["id"], open["id"], "{listed:#}");
    // The same decision of another time: it is closed, and nothing is done for it.
    let late = format!("{id}.stalled.1");
    let refused = server.http.post(&format!("/v1/attention/{late}/answer"), Some(&json!({"answer": "kill"})));
    assert_eq!((refused.status, &refused.body["code"]), (409, &json!("attention_closed")));
    let refused = server.cli(&["answer", &late, "kill"]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && said.contains("mosaic attention"), "{said}");
    assert!(!said.contains("/v1/attention"), "{said}");
    assert_eq!(server.agent(&id)["status"], "running");
    let answered = server.cli(&["answer", decision, "kill", "--reason", "it hangs"]);
    assert!(answered.status.success(), "{}", String::from_utf8_lossy(&answered.stderr));
    let ended = server.ended(&id);
    assert_eq!((&ended["status"], &ended["endReason"]), (&json!("killed"), &json!("operator")), "{ended:#}");
    assert!(ended["error"].as_str().is_some_and(|error| error.contains("it hangs")), "{ended:#}");
    assert_eq!(server.http.get("/v1/attention").expect(200)["items"], json!([]));
}

#[test]
fn what_an_agent_uses_is_shown_and_an_unchanged_state_is_not_sent_twice() {
    let (home, fixture) = (Home::new(), Fixture::new());
    let line = script(home.path(), "agent.sh", "cat >/dev/null\necho here\nsleep 1000 & sleep 1000\n");
    let server = home.serve(&[("MOSAIC_COMMAND", &line), ("MOSAIC_STALL_MS", "20000")]);
    let id = server.spawn(&body(&fixture.url(), "busy"));
    let used = until("two samples", || {
        Some(resources(&server, &id)).filter(|r| r["samples"].as_array().unwrap().len() > 1)
    });
    assert_eq!(used["now"]["processes"], 3, "{used:#}");
    assert!(used["now"]["memoryBytes"].as_u64().unwrap() > 100_000 && used["lastEventAt"].is_string());
    assert!(used["now"]["diskBytes"].as_u64().unwrap() > 0, "{used:#}");
    let status = server.cli(&["status", &id]);
    let text = String::from_utf8_lossy(&status.stdout).into_owned();
    assert!(text.lines().any(|l| l.starts_with("Process") && l.contains("2 children")), "{text}");
    let doctor = server.cli(&["doctor", "--json"]);
    let text = String::from_utf8_lossy(&doctor.stdout).into_owned();
    assert!(text.contains("dispatch is running · 1 of"), "{text}");
    server.kill(&id);
}

#[test]
fn a_machine_without_room_starts_nothing_and_says_so() {
    let (home, fixture) = (Home::new(), Fixture::new());
    // More than any machine has.
    let server = home.serve(&[("MOSAIC_MEMORY_FLOOR_BYTES", "1000000000000000")]);
    let id = server.spawn(&body(&fixture.url(), "waits"));
    let state = until("the dispatcher to look", || {
        Some(server.http.get("/v1/state").expect(200)).filter(|state| state["dispatch"] == "held")
    });
    assert!(state["admission"]["reason"].as_str().unwrap().starts_with("memory: "), "{state:#}");
    let queue = server.http.get("/v1/queue").expect(200);
    assert_eq!(queue["waiting"][0]["reason"], state["admission"]["reason"], "{queue:#}");
    let ready = server.http.get("/health/ready").expect(200);
    assert!(ready["checks"]["dispatcher"]["detail"].as_str().unwrap().contains("memory: "), "{ready:#}");
    assert_eq!(server.agent(&id)["attempt"], 0);
    server.kill(&id);
}
