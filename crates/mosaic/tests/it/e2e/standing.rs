//! Conduct of the server towards strangers and its terminal: a closed terminal ends it as orderly as SIGTERM does, its
//! memory is closed to other programs of its user, and readiness names no directory to a caller that shows no token.

use std::process::Command;

use mosaic_testkit::git_fixture::Fixture;
use mosaic_testkit::require;
use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, prlimit};
use serde_json::json;

use super::support::{Home, Marker, body, script, until};

const PROGRAM: &str = env!("CARGO_BIN_EXE_mosaic");

#[test]
fn a_closed_terminal_ends_the_server_in_order_and_no_agent() {
    let (home, fixture, marker) = (Home::new(), Fixture::new(), Marker::new());
    let line = script(home.path(), "agent.sh", &format!("cat > /dev/null\necho x > x.txt\nsleep {marker}\n"));
    let mut server = home.serve(&[("MOSAIC_COMMAND", &line)]);
    let id = server.spawn(&body(&fixture.url(), "T-1"));
    server.phase(&id, "working");
    until("the agent's program", || (!marker.alive().is_empty()).then_some(()));
    server.signal(Signal::HUP);
    assert_eq!(server.wait_end().code(), Some(0), "{}", server.log());
    drop(server);
    assert_eq!(marker.alive().len(), 1, "the agent ended with the terminal");
    let server = home.serve(&[("MOSAIC_COMMAND", &line)]);
    assert_eq!(server.kill(&id)["status"], "killed");
    assert_eq!(marker.alive(), Vec::<String>::new());
}

#[test]
fn a_server_without_descriptors_ends_no_agent_and_learns_later_how_each_ended() {
    let (home, fixture, marker) = (Home::new(), Fixture::new(), Marker::new());
    let go = home.path().join("go");
    let wait = format!("until test -e {}; do sleep 0.05; done", go.display());
    let text = format!("cat > /dev/null\nsleep {marker} & {wait}\necho x > x.txt\nkill $!\n");
    let line = script(home.path(), "agent.sh", &text);
    let server = home.serve(&[("MOSAIC_COMMAND", &line), ("MOSAIC_SLOTS", "3")]);
    let ids = ["T-1", "T-2", "T-3"].map(|task| server.spawn(&body(&fixture.url(), task)));
    until("the agents' programs", || (marker.alive().len() == ids.len()).then_some(()));
    let pid = Pid::from_raw(i32::try_from(server.pid()).unwrap());
    let most = getrlimit(Resource::Nofile).maximum;
    let few = Rlimit { current: Some(10), maximum: most };
    let before = prlimit(pid, Resource::Nofile, few).unwrap();
    server.until_logged("cannot be looked at now");
    std::fs::write(&go, "").unwrap();
    until("the programs' ends", || marker.alive().is_empty().then_some(()));
    prlimit(pid, Resource::Nofile, before).unwrap();
    for id in ids {
        let agent = server.ended(&id);
        assert_eq!((&agent["status"], &agent["attempt"]), (&json!("completed"), &json!(1)), "{agent:#}");
    }
}

#[test]
fn a_server_that_was_told_to_outlive_its_terminal_does() {
    let (home, fixture) = (Home::new(), Fixture::new());
    let env = [("MOSAIC_COMMAND", "sh -c 'echo x > x.txt'")];
    let server = home.serve_by("nohup", &[PROGRAM, "serve"], &env);
    server.signal(Signal::HUP);
    server.life(&body(&fixture.url(), "T-1"), "completed", "done");
}

#[test]
fn other_programs_of_the_servers_user_cannot_read_its_memory_or_environment() {
    if !require::have("mounts", rustix::process::geteuid().is_root(), "root, to be another user") {
        return;
    }
    let home = Home::new();
    // Whatever other user there is: `nobody` where that has its usual number.
    let user = ["--reuid=65534", "--regid=65534", "--clear-groups"];
    let own = Command::new("chown").args(["-R", "65534:65534"]).arg(home.path()).status().unwrap();
    assert!(own.success());
    let args: Vec<&str> = user.into_iter().chain([PROGRAM, "serve"]).collect();
    let server = home.serve_by(
        "setpriv",
        &args,
        &[("MOSAIC_GIT_TOKEN", "a-token-of-the-operator"), ("MOSAIC_GIT_TOKEN_HOST", "git.example.com")],
    );
    let read = |pid: u32, file: &str| {
        let path = format!("/proc/{pid}/{file}");
        Command::new("setpriv").args(user).args(["head", "-c", "1", &path]).output().unwrap().status.success()
    };
    let mut other = Command::new("setpriv").args(user).args(["sleep", "600"]).spawn().unwrap();
    until("a program whose environment that user can read", || read(other.id(), "environ").then_some(()));
    for file in ["environ", "mem", "maps", "auxv"] {
        assert!(!read(server.pid(), file), "{file} of the server was read");
    }
    other.kill().unwrap();
    other.wait().unwrap();
}

#[test]
fn readiness_names_no_directory_to_whoever_shows_no_token() {
    let home = Home::new();
    let server = home.serve(&[("MOSAIC_DISK_FLOOR_BYTES", "1000000000000000")]);
    let place = home.data().display().to_string();
    let answer = server.http.anonymous().get("/health/ready");
    assert_eq!((answer.status, &answer.body["failing"]), (503, &json!(["disk"])), "{}", answer.text);
    assert!(!answer.text.contains(&place) && !answer.text.contains("MiB"), "{}", answer.text);
    let known = server.http.get("/health/ready");
    assert!(known.text.contains("MiB free"), "{}", known.text);
}

#[test]
fn a_live_diff_starts_no_job_of_an_agent_that_is_frozen_or_under_the_kill_switch() {
    let (home, fixture, marker) = (Home::new(), Fixture::new(), Marker::new());
    let line = script(home.path(), "agent.sh", &format!("cat > /dev/null\necho x > x.txt\nsleep {marker}\n"));
    let server = home.serve(&[("MOSAIC_COMMAND", &line)]);
    let id = server.spawn(&body(&fixture.url(), "T-1"));
    server.phase(&id, "working");
    until("the agent's program", || (!marker.alive().is_empty()).then_some(()));
    let runs = || std::fs::read_dir(home.data().join("agents").join(&id).join("runs")).unwrap().count();
    let before = runs();
    server.http.post(&format!("/v1/agents/{id}/freeze"), None).expect(200);
    let answer = server.http.get(&format!("/v1/agents/{id}/diff"));
    assert!(answer.text.contains("frozen"), "{} {}", answer.status, answer.text);
    assert_eq!(runs(), before, "a job of a frozen agent was started");
    server.http.post(&format!("/v1/agents/{id}/thaw"), None).expect(200);
    let diff = server.http.get(&format!("/v1/agents/{id}/diff")).expect(200);
    assert_eq!(diff["live"], true, "{diff:#}");
    server.http.post("/v1/killswitch/engage", Some(&json!({}))).expect(200);
    let under = server.http.get(&format!("/v1/agents/{id}/diff"));
    assert_ne!(under.body["live"], true, "{}", under.text);
    assert_eq!(marker.alive(), Vec::<String>::new());
}
