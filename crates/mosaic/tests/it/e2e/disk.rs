//! Full disks, one directory at a time: spawns are refused, what runs fails for that reason, nothing is corrupt, and once
//! there is room again everything goes on. The file systems are small ones of this test's own, in a private mount
//! namespace: each test starts itself again inside one.

use std::path::Path;
use std::process::{Command, Output};

use mosaic_testkit::git_fixture::Fixture;
use mosaic_testkit::require::have;
use serde_json::{Value, json};

use super::support::{Home, Marker, Server, body, script, until};

/// Says that a test runs inside its own namespace.
const INSIDE: &str = "MOSAIC_TEST_PRIVATE_MOUNTS";
/// A floor that fits the small file systems.
const FLOOR: (&str, &str) = ("MOSAIC_DISK_FLOOR_BYTES", "4194304");

fn run(program: &str, args: &[&str]) -> Option<Output> {
    Command::new(program).args(args).output().ok().filter(|output| output.status.success())
}

/// Tells whether this process is the one inside; runs that one otherwise.
fn inside(test: &str) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        return true;
    }
    let private = ["--mount", "--propagation", "private"];
    let can =
        run("unshare", &[&private[..], &["mount", "-t", "tmpfs", "-o", "size=1m", "none", "/mnt"]].concat());
    if have("private mounts", can.is_some(), "root and the programs unshare and mount") {
        let own = std::env::current_exe().unwrap();
        let mut again = Command::new("unshare");
        again
            .args(private)
            .arg(own)
            .args(["--exact", &format!("e2e::disk::{test}"), "--nocapture"])
            .env(INSIDE, "1");
        assert!(again.status().unwrap().success(), "see above");
    }
    false
}

/// Makes a directory a file system of 16 MB.
fn small(directory: &Path) {
    std::fs::create_dir_all(directory).unwrap();
    let place = directory.to_str().unwrap();
    run("mount", &["-t", "tmpfs", "-o", "size=16m,mode=0700", "none", place]).expect("mounted");
}

/// Writes zeros until the disk is full or this many bytes are left.
fn fill(file: &Path, leave: u64) {
    let stat = rustix::fs::statvfs(file.parent().unwrap()).unwrap();
    let free = (stat.f_bavail * stat.f_frsize).saturating_sub(leave);
    // An error is what is wanted when nothing is left.
    let _ =
        std::fs::write(file, vec![0u8; usize::try_from(free + if leave == 0 { 4096 } else { 0 }).unwrap()]);
}

fn failing(server: &Server<'_>) -> Value {
    server.http.get("/health/ready").body["failing"].clone()
}

#[test]
fn a_full_state_directory_refuses_and_loses_nothing() {
    if !inside("a_full_state_directory_refuses_and_loses_nothing") {
        return;
    }
    let (home, fixture) = (Home::new(), Fixture::new());
    small(&home.data());
    let filler = home.data().join("filler");
    let mut spawned = Vec::new();
    {
        let server = home.serve(&[FLOOR]);
        server.http.post("/v1/queue/pause", None).expect(200);
        spawned.push(server.spawn(&body(&fixture.url(), "T-1")));
        // Less than the floor is left, but the disk is not full: it is the floor that refuses and not an error of a
        // write.
        fill(&filler, 1 << 20);
        let refused = server.http.post("/agents/spawn", Some(&body(&fixture.url(), "T-2"))).expect(503);
        assert_eq!(refused["code"], "disk_low", "{refused:#}");
        assert_eq!(failing(&server), json!(["disk"]));
        std::fs::remove_file(&filler).unwrap();
        fill(&filler, 0);
        // The log of the store may have room left from before; then this is answered, and so is the next.
        let refused = until("the store to be full", || {
            let body = json!({"reason": "x".repeat(500)});
            let mut answers = [
                server.http.post("/v1/queue/resume", None),
                server.http.post("/v1/queue/pause", Some(&body)),
            ];
            answers.sort_by_key(|answer| answer.status);
            let [_, worse] = answers;
            (worse.status != 200).then_some(worse)
        });
        let code = refused.expect(503)["code"].as_str().unwrap().to_owned();
        assert!(["store_unavailable", "audit_unavailable"].contains(&code.as_str()), "{code}");
        server.http.get("/health").expect(200);
        assert_eq!(server.agent(&spawned[0])["status"], "spawning", "what there is can be read");
        std::fs::remove_file(&filler).unwrap();
        until("the store to write again", || {
            (server.http.post("/v1/queue/pause", None).status == 200).then_some(())
        });
        spawned.push(server.spawn(&body(&fixture.url(), "T-3")));
        // Killed and not stopped, so that no orderly end can mend what the full disk did to the store.
        server.signal(rustix::process::Signal::KILL);
    }
    let server = home.serve(&[FLOOR]);
    assert!(!home.data().join("quarantine").exists(), "the store is whole");
    for id in &spawned {
        assert_eq!(server.agent(id)["status"], "spawning");
    }
}

#[test]
fn an_agent_that_fills_the_disk_with_its_tree_fails_for_that_and_is_given_up_by_name() {
    if !inside("an_agent_that_fills_the_disk_with_its_tree_fails_for_that_and_is_given_up_by_name") {
        return;
    }
    let (home, fixture) = (Home::new(), Fixture::new());
    small(&home.data());
    let agent = "case $MOSAIC_TASK_ID in fills) dd if=/dev/urandom of=big bs=1M;; *) echo x > x.txt;; esac\n";
    let line = script(home.path(), "agent.sh", agent);
    let server = home.serve(&[FLOOR, ("MOSAIC_COMMAND", &line)]);
    let ended = server.life(&body(&fixture.url(), "fills"), "failed", "disk");
    let words = ended["error"].as_str().unwrap();
    assert!(words.contains("MiB free"), "{ended:#}");
    // Its work could not be received either, so its tree stays and is shown.
    assert!(ended["cleanupPending"].is_string(), "{ended:#}");
    let refused = server.http.post("/agents/spawn", Some(&body(&fixture.url(), "T-2"))).expect(503);
    assert_eq!(refused["code"], "disk_low", "{refused:#}");
    let (id, name) = (ended["agentId"].as_str().unwrap(), ended["name"].as_str().unwrap());
    assert_eq!(server.http.delete(&format!("/v1/agents/{id}")).expect(409)["code"], "unmerged_work");
    server.http.delete(&format!("/v1/agents/{id}?discard={name}")).expect(200);
    until("room again", || (failing(&server) == json!([])).then_some(()));
    server.life(&body(&fixture.url(), "T-3"), "completed", "done");
}

#[test]
fn a_full_disk_of_logs_cuts_them_with_a_marker() {
    if !inside("a_full_disk_of_logs_cuts_them_with_a_marker") {
        return;
    }
    let (home, fixture) = (Home::new(), Fixture::new());
    let logs = home.data().join("transcripts");
    small(&logs);
    let agent = "echo x > x.txt; case $MOSAIC_TASK_ID in floods) head -c 40000000 /dev/zero | tr '\\0' '\\n';; esac\n";
    let line = script(home.path(), "agent.sh", agent);
    let server = home.serve(&[FLOOR, ("MOSAIC_COMMAND", &line)]);
    let id = server.spawn(&body(&fixture.url(), "floods"));
    let ended = server.ended(&id);
    assert!(["completed", "failed"].contains(&ended["status"].as_str().unwrap()), "{ended:#}");
    let raw = std::fs::read(logs.join(&id).join("run-1.log")).unwrap();
    let end = String::from_utf8_lossy(&raw[raw.len() - 200..]).into_owned();
    assert!(end.contains("[mosaic: the rest was not kept"), "{end:?}");
    assert_eq!(failing(&server), json!(["disk"]));
    let name = ended["name"].as_str().unwrap();
    server.http.delete(&format!("/v1/agents/{id}?discard={name}")).expect(200);
    until("room again", || (failing(&server) == json!([])).then_some(()));
    server.life(&body(&fixture.url(), "T-2"), "completed", "done");
}

#[test]
fn a_limit_on_file_sizes_is_an_error_of_the_write_and_not_the_end() {
    let (home, fixture, marker) = (Home::new(), Fixture::new(), Marker::new());
    // `ulimit -f` counts blocks of 512 bytes in POSIX shells.
    let wrapped = format!("ulimit -f 2048; exec {} serve", env!("CARGO_BIN_EXE_mosaic"));
    let mut acknowledged = Vec::new();
    {
        let server =
            home.serve_by("sh", &["-c", &wrapped], &[("MOSAIC_COMMAND", &format!("sleep {marker}"))]);
        server.http.post("/v1/queue/pause", None).expect(200);
        let mut body = body(&fixture.url(), "");
        body["context"]["instructions"] = json!("x".repeat(100_000));
        let refused = (0..100).find_map(|n| {
            body["taskId"] = json!(format!("T-{n}"));
            let answer = server.http.post("/agents/spawn", Some(&body));
            match answer.status {
                201 => acknowledged.push(answer.body["agentId"].as_str().unwrap().to_owned()),
                _ => return Some(answer),
            }
            None
        });
        let refused = refused.expect("a file of the store reaches its limit").expect(503);
        assert_eq!(refused["code"], "store_unavailable", "{refused:#}");
        server.http.get("/health").expect(200);
        server.agent(&acknowledged[0]);
        server.signal(rustix::process::Signal::KILL);
    }
    assert!(!acknowledged.is_empty());
    let server = home.serve(&[]);
    assert!(!home.data().join("quarantine").exists(), "the store is whole");
    for id in &acknowledged {
        assert_eq!(server.agent(id)["status"], "spawning");
    }
}
