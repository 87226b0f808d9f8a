//! Starting and stopping: drain, stop at once, a second server, settings that this build lacks.

use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;
use std::time::{Duration, Instant};

use mosaic_testkit::git_fixture::Fixture;
use rustix::process::Signal;
use serde_json::json;

use super::support::{Home, Marker, PATIENCE, Server, body, in_environment, rounds, script, until};

/// Starts a server as the first process of a process namespace, as a container does.
fn first_of_a_container<'h>(home: &'h Home, env: &[(&str, &str)]) -> Option<Server<'h>> {
    let unshare = ["--pid", "--fork", "--mount-proc", "--kill-child"];
    let allowed =
        Command::new("unshare").args(unshare).arg("true").status().is_ok_and(|status| status.success());
    let how = "unshare of util-linux, as root";
    mosaic_testkit::require::have("namespaces", allowed, how).then(|| {
        let wrapper = home.path().join("container.sh");
        let text = format!(
            "#!/bin/sh\nexec unshare {} {} \"$@\"\n",
            unshare.join(" "),
            env!("CARGO_BIN_EXE_mosaic")
        );
        std::fs::write(&wrapper, text).unwrap();
        std::fs::set_permissions(&wrapper, std::fs::Permissions::from_mode(0o755)).unwrap();
        home.serve_with(&wrapper, env)
    })
}

#[test]
fn in_a_container_what_is_still_running_after_the_drain_is_given_back_with_its_work() {
    let (home, fixture) = (Home::new(), Fixture::new());
    let seen = home.path().join("seen");
    let agent = format!(
        "if [ -e '{0}' ]; then ls > second.txt; exit 0; fi\necho one > one.txt\ntouch '{0}'\nwhile :; do sleep 1; done\n",
        seen.display()
    );
    let line = script(home.path(), "agent.sh", &agent);
    // The first run never ends by itself, so this drain is certain to be over before it.
    let env = [("MOSAIC_COMMAND", line.as_str()), ("MOSAIC_DRAIN_MS", "50")];
    let Some(mut server) = first_of_a_container(&home, &env) else { return };
    server.until_logged("agents end with it");
    let id = server.spawn(&body(&fixture.url(), "T-1"));
    until("the agent", || seen.exists().then_some(()));
    server.phase(&id, "working");
    server.signal_first_child(Signal::TERM);
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
fn the_second_sigterm_ends_the_server_at_once_and_no_agent() {
    let (home, fixture, marker) = (Home::new(), Fixture::new(), Marker::new());
    let line = format!("sh -c 'trap \"\" TERM; while :; do sleep {marker}; done'");
    let env = [("MOSAIC_COMMAND", line.as_str()), ("MOSAIC_KILL_GRACE_MS", "100")];
    let mut server = home.serve(&env);
    let id = server.spawn(&body(&fixture.url(), "T-1"));
    until("the agent", || (!marker.alive().is_empty()).then_some(()));
    server.signal(Signal::TERM);
    server.signal(Signal::TERM);
    assert_eq!(server.wait_end().code(), Some(0), "{}", server.log());
    drop(server);
    assert!(!marker.alive().is_empty(), "the agent ended with its server");
    let server = home.serve(&env);
    assert_eq!(server.kill(&id)["status"], "killed");
    assert_eq!(marker.alive(), Vec::<String>::new());
}

/// Asks a server for its readiness until it no longer answers. Returns each status with its time since the signal.
fn readiness(server: &Server<'_>, signalled: Instant) -> Vec<(Duration, Option<u16>)> {
    let mut seen = Vec::new();
    let end = signalled + PATIENCE;
    while Instant::now() < end {
        let status = server.http.try_get("/health/ready").ok().map(|answer| answer.status);
        seen.push((signalled.elapsed(), status));
        if status.is_none() {
            return seen;
        }
    }
    panic!("the server still answers: {:?}", seen.last());
}

/// `MOSAIC_TERM_QUEUED` says how many tasks wait.
#[test]
fn sigterm_under_load_ends_readiness_at_once_and_loses_nothing() {
    let (home, fixture) = (Home::new(), Fixture::new());
    let go = home.path().join("go");
    let agent = format!(
        "cat > /dev/null\necho \"$MOSAIC_TASK_ID\" >> '{0}.starts'\nwhile [ ! -e '{0}' ]; do sleep 0.02; done\necho x > x.txt\n",
        go.display()
    );
    let line = script(home.path(), "agent.sh", &agent);
    // Four slots for four agents that are held, so all others are certain to be in the queue at the signal.
    let env = [("MOSAIC_COMMAND", line.as_str()), ("MOSAIC_SLOTS", "4")];
    let mut server = home.serve(&env);
    let queued = rounds("MOSAIC_TERM_QUEUED", 8);
    let mut ids: Vec<String> =
        (0..4 + queued).map(|n| server.spawn(&body(&fixture.url(), &format!("T-{n}")))).collect();
    for id in &ids[..4] {
        server.phase(id, "working");
    }
    // Somebody goes on spawning while it stops: what is acknowledged counts, what is refused is told why.
    let (more, seen) = std::thread::scope(|scope| {
        let http = &server.http;
        let url = fixture.url();
        let spawner = scope.spawn(move || {
            let mut more = Vec::new();
            for n in 0.. {
                let Ok(answer) = http.try_post("/agents/spawn", &body(&url, &format!("L-{n}"))) else {
                    break;
                };
                match answer.status {
                    201 => more.push(answer.body["agentId"].as_str().unwrap().to_owned()),
                    _ => assert_eq!(answer.expect(503)["code"], "shutting_down"),
                }
                std::thread::sleep(Duration::from_millis(5));
            }
            more
        });
        server.signal(Signal::TERM);
        let seen = readiness(&server, Instant::now());
        (spawner.join().unwrap(), seen)
    });
    assert_eq!(server.wait_end().code(), Some(0), "{}", server.log());
    let unready = seen.iter().position(|(_, status)| *status != Some(200)).unwrap();
    println!("SIGTERM: not ready after {:.1?}, gone after {:.1?}", seen[unready].0, seen.last().unwrap().0);
    assert!(seen[unready].0 < Duration::from_secs(1), "{seen:?}");
    assert!(seen[unready..].iter().all(|(_, status)| *status != Some(200)), "it was ready again: {seen:?}");
    drop(server);

    ids.extend(more);
    let server = home.serve(&env);
    std::fs::write(&go, "").unwrap();
    for id in &ids {
        let agent = server.ended(id);
        assert_eq!((&agent["status"], &agent["attempt"]), (&json!("completed"), &json!(1)), "{agent:#}");
    }
    let starts = std::fs::read_to_string(format!("{}.starts", go.display())).unwrap();
    assert_eq!(starts.lines().count(), ids.len(), "an agent was started again");
    println!("SIGTERM: {} of {} acknowledged tasks completed under the next server", ids.len(), ids.len());
}

#[test]
fn in_a_container_readiness_ends_while_what_runs_gets_its_time() {
    let (home, fixture) = (Home::new(), Fixture::new());
    let go = home.path().join("go");
    let agent =
        format!("cat > /dev/null\nwhile [ ! -e '{}' ]; do sleep 0.02; done\necho x > x.txt\n", go.display());
    let line = script(home.path(), "agent.sh", &agent);
    let env = [("MOSAIC_COMMAND", line.as_str()), ("MOSAIC_DRAIN_MS", "60000"), ("MOSAIC_SLOTS", "1")];
    let Some(mut server) = first_of_a_container(&home, &env) else { return };
    let id = server.spawn(&body(&fixture.url(), "T-1"));
    server.phase(&id, "working");
    let waiting = server.spawn(&body(&fixture.url(), "T-2"));
    server.signal_first_child(Signal::TERM);
    let began = Instant::now();
    until("readiness to end", || (server.http.get("/health/ready").status == 503).then_some(()));
    println!("SIGTERM in a container: not ready after {:.1?}", began.elapsed());
    assert!(began.elapsed() < Duration::from_secs(1));
    assert_eq!(server.http.get("/health").expect(200)["status"], "draining");
    let refused = server.http.post("/agents/spawn", Some(&body(&fixture.url(), "T-3"))).expect(503);
    assert_eq!(refused["code"], "shutting_down");
    assert_eq!(server.agent(&id)["status"], "running");
    std::fs::write(&go, "").unwrap();
    assert_eq!(server.wait_end().code(), Some(0), "{}", server.log());
    drop(server);
    let server = home.serve(&env);
    assert_eq!(server.agent(&id)["status"], "completed");
    assert_eq!(server.ended(&waiting)["status"], "completed");
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
    for (name, value) in [("SANDBOX_ENABLED", "true"), ("MOSAIC_SANDBOX", "docker")] {
        let output = home.run(&[(name, value), ("ORCHESTRATOR_PORT", "0")], &["serve"]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{name}: {said}");
        assert!(said.contains(name) && said.contains("unset "), "{said}");
        assert!(!home.data().join("server.json").exists(), "{name} did not stop the start");
    }
}

/// Numbers of signals that would end a program by default and that no sender means as an order to end: USR1, USR2, ALRM, XCPU, XFSZ,
/// VTALRM, PROF, IO, PWR and the real-time ones.
fn harmless() -> impl Iterator<Item = i32> {
    [10, 12, 14, 24, 25, 26, 27, 29, 30].into_iter().chain(34..=64)
}

#[test]
fn signals_that_order_nothing_end_no_server_and_no_agent() {
    let (home, fixture, marker) = (Home::new(), Fixture::new(), Marker::new());
    let mut server = home.serve(&[("MOSAIC_COMMAND", &format!("sh -c 'cat > /dev/null; sleep {marker}'"))]);
    let id = server.spawn(&body(&fixture.url(), "T-1"));
    until("the agent", || (!marker.alive().is_empty()).then_some(()));
    for number in harmless() {
        let order = format!("kill -{number} {}", server.pid());
        let sent = std::process::Command::new("sh").args(["-c", &order]).status().unwrap();
        assert!(sent.success(), "signal {number} could not be sent");
        // One that ends a program ends all its threads before any of them goes on.
        server.http.get("/health").expect(200);
    }
    let agent = server.agent(&id);
    assert_eq!(
        (&agent["status"], &agent["attempt"]),
        (&json!("running"), &json!(1)),
        "{agent:#}\n{}",
        server.log()
    );
    server.kill(&id);
    server.signal(Signal::TERM);
    assert_eq!(server.wait_end().code(), Some(0), "{}", server.log());
}
