//! Two builds of a fleet on one store: what an older one cannot read is not written while it is alive, what it does not know
//! it leaves out, and builds that cannot share a store do not.

use std::io::{Read, Write};
use std::net::TcpStream;

use mosaic_testkit::git_fixture::Fixture;
use mosaic_testkit::require::have;
use mosaic_testkit::valkey_server::ValkeyServer;
use serde_json::{Value, json};

use super::support::{Home, Server, body, script, until};

/// Milliseconds after which what has ended would have been archived twice over: see `ARCHIVE_PERIOD`.
const ARCHIVED_BY_THEN: u64 = 11_000;

/// Sends one command, whatever is in its words, and returns the text of a bulk answer.
fn send(store: &ValkeyServer, words: &[&str]) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", store.port())).unwrap();
    let mut command = format!("*{}\r\n", words.len());
    for word in words {
        command.push_str(&format!("${}\r\n{word}\r\n", word.len()));
    }
    stream.write_all(command.as_bytes()).unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(!answer.starts_with('-'), "{words:?}: {answer}");
    answer.split_once("\r\n").map_or(String::new(), |(_, text)| text.trim_end_matches("\r\n").to_owned())
}

fn settings<'a>(name: &'a str, port: &'a str, line: &'a str) -> Vec<(&'a str, &'a str)> {
    vec![
        ("VALKEY_HOST", "127.0.0.1"),
        ("VALKEY_PORT", port),
        ("MOSAIC_NODE", name),
        ("MOSAIC_SLOTS", "2"),
        ("MOSAIC_LEASE_MS", "6000"),
        ("MOSAIC_ARCHIVE_AFTER_MS", "0"),
        ("MOSAIC_COMMAND", line),
    ]
}

fn agent(home: &Home) -> String {
    script(home.path(), "agent.sh", "cat > /dev/null\necho $MOSAIC_TASK_ID > made\n")
}

fn node_of(server: &Server<'_>, name: &str) -> Value {
    let all = server.http.get("/v1/nodes").expect(200);
    all["nodes"].as_array().unwrap().iter().find(|node| node["node"] == name).cloned().unwrap_or(Value::Null)
}

/// Writes what an older node says with a heartbeat: no archives, no format, no health.
fn older_beats(store: &ValkeyServer, left: bool) -> u64 {
    let now: u64 = send(store, &["EVAL", "return redis.call('TIME')[1]", "0"]).parse().unwrap();
    let info = json!({"node": "old", "instance": "old", "url": null, "version": "0.0.9", "slots": 0, "running": 0,
        "startedAt": 1, "draining": false});
    // In the order in which scripts look for it.
    let record = format!("{{\"seenAt\":{},\"left\":{left},\"info\":{info}}}", now * 1000);
    send(store, &["HSET", "orchestrator:nodes", "old", &record]);
    now * 1000
}

#[test]
fn nothing_is_archived_while_a_build_that_reads_no_archives_is_alive() {
    let Some(store) = ValkeyServer::start() else { return };
    let (home, fixture) = (Home::new(), Fixture::new());
    let (port, line) = (store.port().to_string(), agent(&home));
    older_beats(&store, false);
    let server = home.serve(&settings("new", &port, &line));
    until("the older node to be seen", || {
        older_beats(&store, false);
        (node_of(&server, "old")["alive"] == true).then_some(())
    });
    let id = server.spawn(&body(&fixture.url(), "T-1"));
    server.ended(&id);
    let key = format!("orchestrator:agent:{id}");
    let since = older_beats(&store, false);
    until("two rounds of archiving", || {
        let now = older_beats(&store, false);
        assert!(send(&store, &["GET", &key]).starts_with("{\"version\":"), "it was archived");
        (now >= since + ARCHIVED_BY_THEN).then_some(())
    });
    assert_eq!(send(&store, &["HGET", &format!("bull:orchestrator-tasks:{id}"), "name"]), "spawn");
    older_beats(&store, true);
    until("the record to be archived", || {
        send(&store, &["GET", &key]).starts_with("{\"agentId\":").then_some(())
    });
    assert_eq!(server.agent(&id)["status"], "completed");
}

#[test]
fn a_record_with_fields_of_a_newer_build_is_read_and_run() {
    let Some(store) = ValkeyServer::start() else { return };
    let (home, fixture) = (Home::new(), Fixture::new());
    let (port, line) = (store.port().to_string(), agent(&home));
    let server = home.serve(&settings("old", &port, &line));
    server.http.post("/v1/queue/pause", Some(&json!({}))).expect(200);
    let id = server.spawn(&body(&fixture.url(), "T-1"));
    let key = format!("orchestrator:agent:{id}");
    let record = send(&store, &["GET", &key]);
    // One field in the record that scripts read, one in the specification, one in the whole record.
    let newer = record.replacen("\"record\":{", "\"later\":[1],\"record\":{\"mood\":{\"is\":\"fine\"},", 1);
    let newer = newer.replacen("\"spec\":{", "\"spec\":{\"wish\":true,", 1);
    assert!(newer.contains("mood") && newer.contains("wish"), "{record}");
    send(&store, &["SET", &key, &newer]);
    assert_eq!(server.agent(&id)["status"], "spawning");
    server.http.post("/v1/queue/resume", Some(&json!({}))).expect(200);
    let ended = server.ended(&id);
    assert_eq!((&ended["status"], &ended["attempt"]), (&json!("completed"), &json!(1)), "{ended:#}");
    assert_eq!(send(&store, &["EXISTS", "orchestrator:quarantine"]), "", "something was set aside");
}

#[test]
fn a_build_does_not_start_on_a_store_of_a_newer_format() {
    let Some(store) = ValkeyServer::start() else { return };
    let home = Home::new();
    let (port, line) = (store.port().to_string(), agent(&home));
    send(&store, &["SET", "orchestrator:format", "2"]);
    let out = home.run(&settings("old", &port, &line), &["serve"]);
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(!out.status.success(), "{said}");
    assert!(said.contains("the store is of format 2, and this build reads up to 1"), "{said}");
    assert_eq!(send(&store, &["HLEN", "orchestrator:nodes"]), "", "it joined all the same");
}

/// `MOSAIC_TEST_OLDER_BIN` names the program of an older build.
#[test]
fn two_builds_run_the_work_of_one_store_and_read_each_other() {
    let older = std::env::var_os("MOSAIC_TEST_OLDER_BIN").unwrap_or_default();
    let how = "MOSAIC_TEST_OLDER_BIN names its program; .ci/nightly mixed builds one";
    if !have("older-build", !older.is_empty(), how) {
        return;
    }
    let Some(store) = ValkeyServer::start() else { return };
    let (homes, fixture) = ([Home::new(), Home::new()], Fixture::new());
    let (port, line) = (store.port().to_string(), agent(&homes[0]));
    let old = homes[0].serve_with(older.as_ref(), &settings("old", &port, &line));
    let new = homes[1].serve(&settings("new", &port, &line));
    until("both nodes", || (node_of(&old, "new")["alive"] == true).then_some(()));
    let spawn = |n: usize| {
        let by = if n.is_multiple_of(2) { &old } else { &new };
        by.spawn(&body(&fixture.url(), &format!("T-{n}")))
    };
    let ids: Vec<String> = (0..12).map(spawn).collect();
    for id in &ids {
        for server in [&old, &new] {
            let ended = server.ended(id);
            assert_eq!((&ended["status"], &ended["attempt"]), (&json!("completed"), &json!(1)), "{ended:#}");
        }
    }
    assert_eq!(send(&store, &["EXISTS", "orchestrator:quarantine"]), "", "something was set aside");
}
