//! One node of two cannot do what the other can: no task fails or waits for it, and the node says so wherever people look.

use std::path::Path;

use mosaic_testkit::git_fixture::Fixture;
use mosaic_testkit::git_http_server::{GitHttpServer, Mood};
use mosaic_testkit::valkey_server::ValkeyServer;
use serde_json::{Value, json};

use super::support::{Home, Server, body, script, until};

const TASKS: usize = 12;

/// Starts a node with two slots, whose agents write a file.
fn node<'h>(home: &'h Home, name: &str, store: u16, more: &[(&str, &str)]) -> Server<'h> {
    node_by(home, None, name, store, more)
}

/// Starts such a node from a program of its own.
fn node_by<'h>(
    home: &'h Home,
    program: Option<&Path>,
    name: &str,
    store: u16,
    more: &[(&str, &str)],
) -> Server<'h> {
    let line = script(home.path(), "agent.sh", "cat > /dev/null\necho $MOSAIC_TASK_ID > made\n");
    let store = store.to_string();
    let mut env = vec![
        ("VALKEY_HOST", "127.0.0.1"),
        ("VALKEY_PORT", store.as_str()),
        ("MOSAIC_NODE", name),
        ("MOSAIC_SLOTS", "2"),
        ("MOSAIC_LEASE_MS", "6000"),
        ("MOSAIC_COMMAND", line.as_str()),
    ];
    env.extend(more);
    match program {
        Some(program) => home.serve_with(program, &env),
        None => home.serve(&env),
    }
}

/// Waits until the node knows the other one.
fn know_each_other(servers: [&Server<'_>; 2]) {
    for server in servers {
        until("both nodes", || {
            let state = server.http.get("/v1/state").expect(200);
            (state["nodes"]["alive"] == 2).then_some(())
        });
    }
}

/// Spawns tasks without retries through the bad node; all must be completed by the good one, each at its first attempt.
fn the_good_one_does_all(bad: &Server<'_>, repository: &str) -> Vec<Value> {
    let ids: Vec<String> = (0..TASKS).map(|n| bad.spawn(&body(repository, &format!("T-{n}")))).collect();
    let ended: Vec<Value> = ids.iter().map(|id| bad.ended(id)).collect();
    // The tasks have no retries, so a try of the bad node that counted as an attempt would have ended its task as
    // failed.
    for agent in &ended {
        assert_eq!(
            (&agent["status"], &agent["attempt"]),
            (&json!("completed"), &json!(1)),
            "{agent:#}\n{}",
            bad.log()
        );
    }
    ended
}

fn described(server: &Server<'_>, name: &str) -> Value {
    let nodes = server.http.get("/v1/nodes").expect(200);
    let all = nodes["nodes"].as_array().unwrap();
    all.iter().find(|node| node["node"] == name).cloned().unwrap_or(Value::Null)
}

/// A remote over http that wants credentials, and a file with the right ones.
fn private_remote(fixture: &Fixture, dir: &Path) -> (GitHttpServer, String) {
    let remote = GitHttpServer::start(fixture.path(), Mood::Private);
    let url = remote.url("x").replace("http://", "http://bot:secret@");
    let file = dir.join("credentials");
    std::fs::write(&file, format!("{}\n", url.trim_end_matches("/x"))).unwrap();
    rustix::fs::chmod(&file, rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR).unwrap();
    (remote, file.display().to_string())
}

#[test]
fn a_node_without_credentials_delays_and_fails_nothing_and_says_so() {
    let Some(store) = ValkeyServer::start() else { return };
    let (homes, fixture) = ([Home::new(), Home::new()], Fixture::new());
    let (remote, file) = private_remote(&fixture, homes[0].path());
    let repository = remote.url("remote.git");
    // With more slots than the good one it leaves nothing to that: two tasks fail there before the first failure is known.
    let bad = node(&homes[0], "bad", store.port(), &[("MOSAIC_SLOTS", "40")]);
    let good = node(&homes[1], "good", store.port(), &[("MOSAIC_GIT_CREDENTIALS_FILE", &file)]);
    know_each_other([&bad, &good]);
    for agent in the_good_one_does_all(&bad, &repository) {
        assert_eq!(agent["homeNode"].as_str().unwrap_or("good"), "good", "{agent:#}");
    }
    let cordoned = until("the bad node to take itself out of service", || {
        Some(described(&good, "bad")).filter(|node| node["health"] == "cordoned")
    });
    assert_eq!(cordoned["cordon"]["by"], "mosaic", "{cordoned:#}");
    let reason = cordoned["cordon"]["reason"].as_str().unwrap().to_owned();
    assert!(reason.contains("fetching from"), "{reason}");
    assert_eq!(cordoned["breakers"][0]["repository"], json!(repository), "{cordoned:#}");
    let own = described(&good, "good");
    assert_eq!((&own["health"], &own["breakers"]), (&json!("taking"), &json!([])), "{own:#}");
    let ready = bad.http.get("/health/ready").expect(200);
    assert!(ready["checks"]["fleet"]["detail"].as_str().unwrap().contains(&reason), "{ready:#}");
    for words in [["nodes"].as_slice(), &["status"], &["doctor"]] {
        let told = bad.cli(words);
        let text = String::from_utf8_lossy(&told.stdout).into_owned();
        assert!(
            text.contains("fetching from"),
            "{words:?}: {text}\n{}",
            String::from_utf8_lossy(&told.stderr)
        );
    }
    bad.cli(&["nodes", "uncordon", "bad"]);
    until("the bad node to take work again", || {
        (described(&good, "bad")["health"] == "taking").then_some(())
    });
}

#[test]
fn a_node_without_the_agents_program_starts_nothing() {
    let Some(store) = ValkeyServer::start() else { return };
    let (homes, fixture) = ([Home::new(), Home::new()], Fixture::new());
    let good = node(&homes[1], "good", store.port(), &[]);
    let bad = node(&homes[0], "bad", store.port(), &[("MOSAIC_COMMAND", "/nonexistent/agent")]);
    know_each_other([&bad, &good]);
    the_good_one_does_all(&bad, &fixture.url());
    let cordoned = until("the bad node to be out of service", || {
        Some(described(&good, "bad")).filter(|node| node["health"] == "cordoned")
    });
    assert!(cordoned["cordon"]["reason"].as_str().unwrap().contains("/nonexistent/agent"), "{cordoned:#}");
    let moved = bad.http.log(0).1.into_iter().filter(|(kind, _)| kind == "agent.moved").count();
    assert_eq!(moved, 0, "it took what it cannot run");
}

#[test]
fn tasks_that_fail_by_themselves_delay_no_other_task_of_their_repository() {
    let Some(store) = ValkeyServer::start() else { return };
    let (homes, fixture) = ([Home::new(), Home::new()], Fixture::new());
    let failing =
        "cat > /dev/null\ncase $MOSAIC_TASK_ID in F-*) exit 3;; esac\necho $MOSAIC_TASK_ID > made\n";
    let line = script(homes[0].path(), "failing.sh", failing);
    let servers = [
        node(&homes[0], "a", store.port(), &[("MOSAIC_COMMAND", &line)]),
        node(&homes[1], "b", store.port(), &[("MOSAIC_COMMAND", &line)]),
    ];
    know_each_other([&servers[0], &servers[1]]);
    let spawn = |task: String| servers[0].spawn(&body(&fixture.url(), &task));
    let failing: Vec<String> = (0..5).map(|n| spawn(format!("F-{n}"))).collect();
    let good: Vec<String> = (0..TASKS).map(|n| spawn(format!("T-{n}"))).collect();
    for id in &failing {
        assert_eq!(servers[0].ended(id)["endReason"], "agent_error");
    }
    for id in &good {
        let agent = servers[1].ended(id);
        assert_eq!((&agent["status"], &agent["attempt"]), (&json!("completed"), &json!(1)), "{agent:#}");
    }
    for server in &servers {
        let state = server.http.get("/v1/state").expect(200);
        assert_eq!((&state["breakers"], &state["cordon"]), (&json!([]), &Value::Null), "{state:#}");
    }
    let log = servers[0].http.log(0).1;
    let taken = log.iter().filter(|(kind, _)| kind == "agent.moved" || kind == "breaker.opened").count();
    assert_eq!(taken, 0, "{log:?}");
}

#[test]
fn a_node_without_disk_starts_nothing_and_says_so() {
    let Some(store) = ValkeyServer::start() else { return };
    let (homes, fixture) = ([Home::new(), Home::new()], Fixture::new());
    let bad = node(&homes[0], "bad", store.port(), &[("MOSAIC_DISK_FLOOR_BYTES", "9000000000000000000")]);
    let good = node(&homes[1], "good", store.port(), &[]);
    know_each_other([&bad, &good]);
    for agent in the_good_one_does_all(&good, &fixture.url()) {
        assert_eq!(agent["homeNode"].as_str().unwrap_or("good"), "good", "{agent:#}");
    }
    let cordoned = until("the node without disk to be out of service", || {
        Some(described(&good, "bad")).filter(|node| node["health"] == "cordoned")
    });
    assert_eq!(cordoned["cordon"]["by"], "mosaic", "{cordoned:#}");
    assert!(
        cordoned["cordon"]["reason"].as_str().unwrap().contains("free where the state is kept"),
        "{cordoned:#}"
    );
}

#[test]
fn a_node_whose_supervisors_do_not_start_leaves_the_work_to_others_and_says_so() {
    let Some(store) = ValkeyServer::start() else { return };
    let (homes, fixture) = ([Home::new(), Home::new()], Fixture::new());
    // The program that a supervisor is started from is gone, as after an upgrade that went wrong.
    let program = homes[0].path().join("mosaic-gone");
    std::fs::copy(env!("CARGO_BIN_EXE_mosaic"), &program).unwrap();
    let bad = node_by(&homes[0], Some(&program), "bad", store.port(), &[]);
    std::fs::remove_file(&program).unwrap();
    let good = node(&homes[1], "good", store.port(), &[]);
    know_each_other([&bad, &good]);
    the_good_one_does_all(&good, &fixture.url());
    let cordoned = until("the bad node to be out of service", || {
        Some(described(&good, "bad")).filter(|node| node["health"] == "cordoned")
    });
    assert_eq!(cordoned["cordon"]["by"], "mosaic", "{cordoned:#}");
}
