//! Starting and stopping: drain, stop at once, a second server, settings that this build lacks.

use std::time::{Duration, Instant};

use mosaic_testkit::git_fixture::Fixture;
use rustix::process::Signal;
use serde_json::json;

use super::support::{Home, Marker, body, in_environment, script, until};

#[test]
fn the_first_sigterm_lets_running_agents_finish() {
    let (home, fixture, marker) = (Home::new(), Fixture::new(), Marker::new());
    let go = home.path().join("go");
    let agent = format!(
        "echo {marker} > up.txt\ntouch '{0}.up'\nuntil [ -e '{0}' ]; do sleep 0.05; done\n",
        go.display()
    );
    let line = script(home.path(), "agent.sh", &agent);
    let env = [("MOSAIC_COMMAND", line.as_str()), ("MOSAIC_SLOTS", "1"), ("MOSAIC_DRAIN_MS", "60000")];
    let mut server = home.serve(&env);
    let id = server.spawn(&body(&fixture.url(), "T-1"));
    until("the agent", || go.with_extension("up").exists().then_some(()));
    let waiting = server.spawn(&body(&fixture.url(), "T-2"));
    server.signal(Signal::TERM);
    let ready =
        until("readiness to end", || Some(server.http.get("/health/ready")).filter(|r| r.status == 503));
    assert_eq!(ready.body["failing"], json!(["dispatcher"]), "{}", ready.text);
    assert_eq!(server.http.get("/health").expect(200)["status"], "draining");
    let refused = server.http.post("/agents/spawn", Some(&body(&fixture.url(), "T-3"))).expect(503);
    assert_eq!(refused["code"], "shutting_down");
    assert_eq!(server.agent(&id)["status"], "running");
    std::fs::write(&go, "").unwrap();
    let ended = server.wait_end();
    assert_eq!(ended.code(), Some(0), "{}", server.log());
    assert!(!home.data().join("server.json").exists());
    drop(server);

    let server = home.serve(&env);
    let done = server.agent(&id);
    assert_eq!((&done["status"], &done["attempt"]), (&json!("completed"), &json!(1)), "{done:#}");
    let other = server.ended(&waiting);
    assert_eq!((&other["status"], &other["attempt"]), (&json!("completed"), &json!(1)), "{other:#}");
}

#[test]
fn what_is_still_running_after_the_drain_is_given_back_with_its_work() {
    let (home, fixture) = (Home::new(), Fixture::new());
    let seen = home.path().join("seen");
    let agent = format!(
        "if [ -e '{0}' ]; then ls > second.txt; exit 0; fi\necho one > one.txt\ntouch '{0}'\nwhile :; do sleep 1; done\n",
        seen.display()
    );
    let line = script(home.path(), "agent.sh", &agent);
    let env = [("MOSAIC_COMMAND", line.as_str()), ("MOSAIC_DRAIN_MS", "50")];
    let mut server = home.serve(&env);
    let id = server.spawn(&body(&fixture.url(), "T-1"));
    until("the agent", || seen.exists().then_some(()));
    server.signal(Signal::TERM);
    assert_eq!(server.wait_end().code(), Some(0), "{}", server.log());
    assert_eq!(in_environment(&format!("MOSAIC_AGENT_ID={id}")), Vec::<String>::new());
    drop(server);

    let server = home.serve(&env);
    let done = server.ended(&id);
    assert_eq!(
        (&done["status"], &done["attempt"]),
        (&json!("completed"), &json!(1)),
        "{done:#}\n{}",
        server.log()
    );
    let branch = done["branch"].as_str().unwrap();
    assert_eq!(fixture.read_branch_file(branch, "one.txt").as_deref(), Some("one\n"));
    let second = fixture.read_branch_file(branch, "second.txt").unwrap();
    assert!(second.contains("one.txt"), "the second run did not go on from the kept work: {second}");
}

#[test]
fn the_second_sigterm_ends_it_at_once() {
    let (home, fixture, marker) = (Home::new(), Fixture::new(), Marker::new());
    let line = format!("sh -c 'trap \"\" TERM; while :; do sleep {marker}; done'");
    let env = [
        ("MOSAIC_COMMAND", line.as_str()),
        ("MOSAIC_DRAIN_MS", "86400000"),
        ("MOSAIC_KILL_GRACE_MS", "600000"),
    ];
    let mut server = home.serve(&env);
    let id = server.spawn(&body(&fixture.url(), "T-1"));
    until("the agent", || (!marker.alive().is_empty()).then_some(()));
    server.signal(Signal::TERM);
    until("the drain", || (server.http.get("/health/ready").status == 503).then_some(()));
    let began = Instant::now();
    server.signal(Signal::TERM);
    assert_eq!(server.wait_end().code(), Some(0), "{}", server.log());
    assert!(began.elapsed() < Duration::from_secs(20), "it took {:?}", began.elapsed());
    assert_eq!(marker.alive(), Vec::<String>::new());
    drop(server);
    let server = home.serve(&env);
    assert_eq!(server.kill(&id)["status"], "killed");
}

#[test]
fn a_killed_server_loses_nothing_and_the_next_one_goes_on() {
    let (home, fixture, marker) = (Home::new(), Fixture::new(), Marker::new());
    let go = home.path().join("go");
    let agent = format!(
        "[ -e '{0}' ] && {{ echo x > x.txt; exit 0; }}\nsetsid -f sleep {marker}\nwhile :; do sleep {marker}; done\n",
        go.display()
    );
    let line = script(home.path(), "agent.sh", &agent);
    let env = [("MOSAIC_COMMAND", line.as_str()), ("MOSAIC_SLOTS", "1")];
    let mut server = home.serve(&env);
    let first = server.spawn(&body(&fixture.url(), "T-1"));
    let second = server.spawn(&body(&fixture.url(), "T-2"));
    until("the agent", || (marker.alive().len() >= 2).then_some(()));
    server.signal(Signal::KILL);
    server.wait_end();
    assert!(!marker.alive().is_empty(), "agents outlive the server");
    std::fs::write(&go, "").unwrap();
    drop(server);
    let server = home.serve(&env);
    for id in [&first, &second] {
        let done = server.ended(id);
        assert_eq!(
            (&done["status"], &done["attempt"]),
            (&json!("completed"), &json!(1)),
            "{done:#}\n{}",
            server.log()
        );
    }
    assert_eq!(marker.alive(), Vec::<String>::new());
}

#[test]
fn a_second_server_on_the_same_directory_names_the_first() {
    let home = Home::new();
    let server = home.serve(&[]);
    let second = home.run(&[("ORCHESTRATOR_PORT", "0")], &["serve"]);
    assert_eq!(second.status.code(), Some(6));
    let said = String::from_utf8_lossy(&second.stderr);
    assert!(said.contains(&server.url) && said.contains(&server.pid().to_string()), "{said}");
    assert_eq!(server.http.get("/health").status, 200);
}

#[test]
fn settings_that_this_build_lacks_stop_the_start_by_name() {
    let home = Home::new();
    for (name, value) in [
        ("VALKEY_HOST", "localhost"),
        ("VALKEY_PORT", "6379"),
        ("COORDINATOR_URL", "http://127.0.0.1:9"),
        ("SANDBOX_ENABLED", "true"),
        ("MOSAIC_SANDBOX", "docker"),
    ] {
        let output = home.run(&[(name, value), ("ORCHESTRATOR_PORT", "0")], &["serve"]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{name}: {said}");
        assert!(said.contains(name) && said.contains("unset "), "{said}");
        assert!(!home.data().join("server.json").exists(), "{name} did not stop the start");
    }
}
