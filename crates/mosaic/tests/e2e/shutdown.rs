//! Starting and stopping: drain, stop at once, a second server, settings that this build lacks.

use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use mosaic_testkit::git_fixture::Fixture;
use rustix::process::Signal;
use serde_json::json;

use super::support::{Home, Marker, Server, body, in_environment, script, until};

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
    let env = [("MOSAIC_COMMAND", line.as_str()), ("MOSAIC_DRAIN_MS", "50")];
    let Some(mut server) = first_of_a_container(&home, &env) else { return };
    assert!(server.log().contains("agents end with it"), "{}", server.log());
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
