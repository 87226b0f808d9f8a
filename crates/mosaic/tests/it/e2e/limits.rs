//! Limits of the model service that say when they end: waited for, no attempt used, nothing else of the credential started,
//! also by the next server.

use mosaic_core::domain::ids::Timestamp;
use mosaic_testkit::valkey_server::ValkeyServer;
use rustix::process::Signal;
use serde_json::{Value, json};

use super::support::{Home, Server, claude_stand_in, fixture_with_gates, spawn_claude, until};

const REJECTED: &str = r#"echo "$MOSAIC_TASK_ID" >> STARTS
echo '{"type":"rate_limit_event","rate_limit_info":{"status":"rejected","resetsAt":'$(( $(date +%s) + 10800 ))',"rateLimitType":"five_hour"}}'
echo '{"type":"result","subtype":"success","is_error":true,"result":"You have hit your session limit","api_error_status":429}'"#;

struct Story {
    home: Home,
    program: String,
}

impl Story {
    fn new() -> Self {
        let home = Home::new();
        let starts = home.path().join("starts").display().to_string();
        let program = claude_stand_in(home.path(), &REJECTED.replace("STARTS", &format!("'{starts}'")));
        Self { home, program }
    }

    fn serve(&self, key: &str) -> Server<'_> {
        self.home.serve(&[
            ("MOSAIC_CLAUDE_BIN", &self.program),
            ("CLAUDE_API_KEY", key),
            ("MOSAIC_SLOTS", "1"),
        ])
    }

    fn starts(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.home.path().join("starts")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }
}

fn limited(server: &Server<'_>, id: &str) -> Value {
    until("the limit in the record", || {
        Some(server.agent(id))
            .filter(|agent| agent["attention"][0]["kind"] == "quota" && agent["node"].is_null())
    })
}

fn hours_left(text: &Value) -> u64 {
    let until = Timestamp::from_rfc3339(text.as_str().unwrap()).unwrap();
    (until.since(std::time::SystemTime::now().into()).as_secs() + 1800) / 3600
}

#[test]
fn a_stated_reset_is_waited_for_by_all_agents_of_the_credential_and_by_the_next_server() {
    let (story, fixture) = (Story::new(), fixture_with_gates("tests = 'true'"));
    let mut server = story.serve("dummy-key-of-a-test");
    let first = spawn_claude(&server, &fixture, "T-1", &json!({"maxRetries": 0}));
    let agent = limited(&server, &first);
    assert_eq!((&agent["phase"], hours_left(&agent["notBefore"])), (&json!("backoff"), 3), "{agent:#}");
    assert!(agent["delayedBecause"].as_str().unwrap().contains("session limit"), "{agent:#}");
    let second = spawn_claude(&server, &fixture, "T-2", &json!({}));
    let held = until("the other agent to be deferred", || {
        Some(server.agent(&second)).filter(|agent| agent["delayedBecause"].is_string())
    });
    assert_eq!((&held["attempt"], hours_left(&held["notBefore"])), (&json!(0), 3), "{held:#}");
    let state = server.http.get("/v1/state").expect(200);
    assert_eq!(
        (&state["slots"]["used"], &state["quotas"][0]["runtime"]),
        (&json!(0), &json!("claude")),
        "{state:#}"
    );
    assert_eq!(state["breakers"], json!([]), "{state:#}");
    let queue = server.http.get("/v1/queue").expect(200);
    let waiting = queue["waiting"].as_array().unwrap();
    assert!(
        waiting.len() == 2
            && waiting.iter().all(|one| one["reason"].to_string().contains("limit is reached until")),
        "{queue:#}"
    );
    let ready = server.http.get("/health/ready").expect(200);
    assert!(
        ready["checks"]["dispatcher"]["detail"].to_string().contains("limit of the model service"),
        "{ready:#}"
    );

    server.signal(Signal::KILL);
    server.wait_end();
    drop(server);
    let server = story.serve("dummy-key-of-a-test");
    let third = spawn_claude(&server, &fixture, "T-3", &json!({}));
    until("the third agent to be deferred", || {
        server.agent(&third)["delayedBecause"].is_string().then_some(())
    });
    assert_eq!(story.starts(), ["T-1"], "another attempt was begun");
    for id in [&first, &second, &third] {
        server.kill(id);
        assert_eq!(server.ended(id)["status"], "killed");
    }
}

#[test]
fn what_waits_for_the_limit_of_a_credential_is_due_at_once_when_another_is_in_force() {
    let (story, fixture) = (Story::new(), fixture_with_gates("tests = 'true'"));
    let mut server = story.serve("dummy-key-of-a-test");
    let first = spawn_claude(&server, &fixture, "T-1", &json!({"maxRetries": 0}));
    limited(&server, &first);
    let second = spawn_claude(&server, &fixture, "T-2", &json!({}));
    deferred(&server, &second);
    let doctor = String::from_utf8_lossy(&server.cli(&["doctor"]).stdout).into_owned();
    assert!(doctor.contains("limit of the model service for claude is reached until"), "{doctor}");
    let listed = String::from_utf8_lossy(&server.cli(&["ps"]).stdout).into_owned();
    assert_eq!(listed.matches("session limit").count(), 2, "{listed}");
    server.signal(Signal::KILL);
    server.wait_end();
    drop(server);
    let server = story.serve("another-key-of-a-test");
    // Both run at once; the limit that the first one meets again is the new key's.
    until("both to be tried", || {
        let starts = story.starts();
        (starts.len() >= 2).then_some(starts)
    });
    let again = limited(
        &server,
        story.starts().get(1).map_or(&first, |task| if task == "T-1" { &first } else { &second }),
    );
    assert_eq!((&again["attempt"], hours_left(&again["notBefore"])), (&json!(1), 3), "{again:#}");
    for id in [&first, &second] {
        server.kill(id);
    }
}

fn deferred(server: &Server<'_>, id: &str) -> Value {
    until("the agent to be deferred", || {
        Some(server.agent(id)).filter(|agent| agent["delayedBecause"].is_string())
    })
}

/// Puts a login into a directory as Claude Code writes it.
fn log_in(dir: &std::path::Path, account: &str) {
    let token = |kind: &str| format!("sk-ant-{kind}01-{account}-of-nobody");
    let login = json!({"claudeAiOauth": {"accessToken": token("oat"), "refreshToken": token("ort"),
        "expiresAt": 9_999_999_999_999_u64, "scopes": ["user:inference"], "subscriptionType": "max"}});
    std::fs::create_dir_all(dir).unwrap();
    std::fs::write(dir.join("next"), login.to_string()).unwrap();
    std::fs::rename(dir.join("next"), dir.join(".credentials.json")).unwrap();
}

#[test]
fn a_login_that_is_replaced_while_the_server_runs_lets_what_waited_for_its_limit_start() {
    let (story, fixture) = (Story::new(), fixture_with_gates("tests = 'true'"));
    let dir = story.home.path().join("login");
    log_in(&dir, "first");
    let login = dir.display().to_string();
    let server = story.home.serve(&[
        ("MOSAIC_CLAUDE_BIN", &story.program),
        ("MOSAIC_CLAUDE_LOGIN", &login),
        ("MOSAIC_SLOTS", "1"),
    ]);
    let first = spawn_claude(&server, &fixture, "T-1", &json!({"maxRetries": 0}));
    limited(&server, &first);
    let second = spawn_claude(&server, &fixture, "T-2", &json!({}));
    deferred(&server, &second);
    assert_eq!(story.starts(), ["T-1"]);
    log_in(&dir, "second");
    until("another attempt", || (story.starts().len() == 2).then_some(()));
    for id in [&first, &second] {
        server.kill(id);
    }
}

#[test]
fn run_says_until_when_it_waits() {
    let (story, fixture) = (Story::new(), fixture_with_gates("tests = 'true'"));
    let server = story.serve("dummy-key-of-a-test");
    let id = spawn_claude(&server, &fixture, "T-1", &json!({}));
    limited(&server, &id);
    let out = story.home.path().join("followed");
    let mut follow = story.home.mosaic(&["logs", "-f", &id]);
    let file = std::fs::File::create(&out).unwrap();
    let mut child = follow.stderr(file).stdout(std::process::Stdio::null()).spawn().unwrap();
    let said = until("what it waits for", || {
        std::fs::read_to_string(&out).ok().filter(|text| text.contains("waits until"))
    });
    assert!(said.contains("UTC (in 2h59m)") && said.contains("session limit"), "{said}");
    server.kill(&id);
    until("the end of following", || child.try_wait().unwrap());
}

/// Starts a node of a fleet with this key; `command` agents end at once.
fn node<'h>(story: &Story, home: &'h Home, name: &str, store: &ValkeyServer, key: &str) -> Server<'h> {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let url = format!("http://127.0.0.1:{port}");
    home.serve(&[
        ("VALKEY_HOST", "127.0.0.1"),
        ("VALKEY_PORT", &store.port().to_string()),
        ("MOSAIC_NODE", name),
        ("MOSAIC_NODE_URL", &url),
        ("ORCHESTRATOR_PORT", &port.to_string()),
        ("MOSAIC_LEASE_MS", "10000"),
        ("MOSAIC_CLAUDE_BIN", &story.program),
        ("CLAUDE_API_KEY", key),
        ("MOSAIC_SLOTS", "1"),
    ])
}

#[test]
fn a_limit_holds_the_agents_of_its_credential_on_every_node_of_a_shared_store() {
    let Some(store) = ValkeyServer::start() else { return };
    let (story, fixture) = (Story::new(), fixture_with_gates("tests = 'true'"));
    let homes = [Home::new(), Home::new()];
    let mut nodes = vec![
        node(&story, &homes[0], "one", &store, "shared-key-of-a-test"),
        node(&story, &homes[1], "two", &store, "shared-key-of-a-test"),
    ];
    let first = spawn_claude(&nodes[0], &fixture, "T-1", &json!({"maxRetries": 0}));
    limited(&nodes[0], &first);
    for node in &nodes {
        until("the limit on every node", || {
            let state = node.http.get("/v1/state").expect(200);
            (state["quotas"][0]["runtime"] == "claude").then_some(())
        });
    }
    let held = [
        spawn_claude(&nodes[0], &fixture, "T-2", &json!({})),
        spawn_claude(&nodes[1], &fixture, "T-3", &json!({})),
    ];
    // What came later runs: the slots are free, and it was not the queue that held the others.
    for (node, task) in nodes.iter().zip(["T-4", "T-5"]) {
        let other = super::support::body(&fixture.url(), task);
        let id = node.spawn(&other);
        let ended = node.ended(&id);
        assert_eq!(ended["endReason"], "no_changes", "{ended:#}");
    }
    for node in &nodes {
        let queue = node.http.get("/v1/queue").expect(200);
        let waiting = queue["waiting"].as_array().unwrap();
        let says = |one: &&Value| one["reason"].to_string().contains("limit is reached until");
        assert!(waiting.len() == 3 && waiting.iter().filter(says).count() == 3, "{queue:#}");
    }
    assert_eq!(story.starts(), ["T-1"]);
    // One node gets another key: everything that waited may start there.
    let mut two = nodes.pop().unwrap();
    two.signal(Signal::KILL);
    two.wait_end();
    drop(two);
    let _two = node(&story, &homes[1], "two", &store, "another-key-of-a-test");
    until("another attempt", || (story.starts().len() > 1).then_some(()));
    for id in held.iter().chain([&first]) {
        nodes[0].kill(id);
    }
}
