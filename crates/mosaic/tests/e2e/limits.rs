//! Limits of the model service that say when they end: waited for, no attempt used, nothing else of the credential started,
//! also by the next server.

use mosaic_core::domain::ids::Timestamp;
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
    let held = until("the other agent to be put off", || {
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
    until("the third agent to be put off", || {
        server.agent(&third)["delayedBecause"].is_string().then_some(())
    });
    assert_eq!(story.starts(), ["T-1"], "another attempt was begun");
    for id in [&first, &second, &third] {
        server.kill(id);
        assert_eq!(server.ended(id)["status"], "killed");
    }
}

#[test]
fn another_credential_is_not_held_up() {
    let (story, fixture) = (Story::new(), fixture_with_gates("tests = 'true'"));
    let server = story.serve("dummy-key-of-a-test");
    let first = spawn_claude(&server, &fixture, "T-1", &json!({}));
    limited(&server, &first);
    drop(server);
    let server = story.serve("another-key-of-a-test");
    let second = spawn_claude(&server, &fixture, "T-2", &json!({}));
    limited(&server, &second);
    assert_eq!(story.starts(), ["T-1", "T-2"]);
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
