//! The real program serving a data directory, and its API: for tests that kill it, and for tests that drive a real
//! agent through it.

use std::io::{BufReader, Read as _};
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use mosaic_api::{SseBlock, SseReader};
use mosaic_testkit::program::{Access, Program, serve};
use serde_json::Value;
use ureq::http::Request;

/// Longest wait for one answer.
const ANSWER: Duration = Duration::from_secs(30);
/// Largest event, in bytes.
const EVENT_BYTES: u64 = 64 * 1024 * 1024;
/// Longest wait for a server to say where it listens.
const START: Duration = Duration::from_secs(60);

/// A serving child process. Dropping it kills it; its agents' supervisors are then on their own.
pub(crate) struct Server {
    program: Program,
}

impl Server {
    /// Starts `mosaic serve` on a free port; does not wait for it. Its log goes to `server.log` beside `data`.
    pub(crate) fn start(data: &Path, env: &[(&str, String)]) -> Self {
        let home = data.parent().unwrap();
        std::fs::create_dir_all(home).unwrap();
        let log =
            std::fs::OpenOptions::new().create(true).append(true).open(home.join("server.log")).unwrap();
        let mut command = serve(Path::new(env!("CARGO_BIN_EXE_mosaic")), home, data);
        command.env("MOSAIC_LOG_FORMAT", "text").envs(env.iter().map(|(name, value)| (name, value)));
        command.stdout(Stdio::null()).stderr(log);
        Self { program: Program::start(command, data).unwrap() }
    }

    /// Waits until the server listens.
    pub(crate) fn api(&mut self) -> Api {
        let access = self.program.listens_by(Instant::now() + START);
        let Access { url, token } = access.expect("the server listens; see server.log");
        Api { url, token }
    }

    /// Kills the server with SIGKILL.
    pub(crate) fn kill_9(mut self) {
        self.program.kill_9();
    }
}

/// The API of a server.
#[derive(Clone)]
pub(crate) struct Api {
    url: String,
    token: String,
}

impl Api {
    /// Sends a request; an error means that no whole answer came.
    pub(crate) fn send(
        &self,
        method: &str,
        path: &str,
        key: Option<&str>,
        body: Option<&Value>,
    ) -> Result<(u16, Value), String> {
        let agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(ANSWER))
            .build()
            .new_agent();
        let mut request = Request::builder().method(method).uri(format!("{}{path}", self.url));
        request = request
            .header("authorization", format!("Bearer {}", self.token))
            .header("content-type", "application/json");
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        let request = request.body(body.map(Value::to_string).unwrap_or_default()).unwrap();
        let answer = agent.run(request).map_err(|e| e.to_string())?;
        let status = answer.status().as_u16();
        let mut text = String::new();
        answer.into_body().into_reader().read_to_string(&mut text).map_err(|e| e.to_string())?;
        Ok((status, serde_json::from_str(&text).map_err(|e| format!("{e}: {text}"))?))
    }

    /// Reads a resource that exists.
    pub(crate) fn get(&self, path: &str) -> Value {
        let (status, body) = self.send("GET", path, None, None).unwrap();
        assert_eq!(status, 200, "GET {path}: {body}");
        body
    }

    /// Admits an agent and returns its id.
    pub(crate) fn spawn(&self, body: &Value) -> String {
        let (status, answer) = self.send("POST", "/agents/spawn", None, Some(body)).unwrap();
        assert!(status < 300, "spawn: {status} {answer}");
        answer["agentId"].as_str().unwrap().to_owned()
    }

    /// Follows the event log from its first entry until `enough` says so of (number, kind, data); false when the time
    /// is over before.
    pub(crate) fn follow(&self, within: Duration, mut enough: impl FnMut(u64, &str, &Value) -> bool) -> bool {
        let deadline = Instant::now() + within;
        let agent = ureq::Agent::config_builder().timeout_global(Some(within)).build().new_agent();
        let request = Request::builder()
            .uri(format!("{}/v1/events?after=0", self.url))
            .header("accept", "text/event-stream");
        let request = request.header("authorization", format!("Bearer {}", self.token)).body(()).unwrap();
        let answer = agent.run(request).expect("the event stream opens");
        let mut events = SseReader::new(BufReader::new(answer.into_body().into_reader()), EVENT_BYTES);
        while Instant::now() <= deadline {
            match events.next_block() {
                Ok(SseBlock::Event(event)) => {
                    let data: Value = serde_json::from_str(&event.data).unwrap();
                    if enough(event.id.parse().unwrap(), &event.event, &data["data"]) {
                        return true;
                    }
                }
                Ok(SseBlock::Nothing) => {}
                Ok(SseBlock::End) | Err(_) => break,
            }
        }
        false
    }

    /// Waits until an agent has ended and returns it.
    pub(crate) fn ended(&self, id: &str, within: Duration) -> Value {
        let ended = self.follow(within, |_, kind, data| is_terminal(kind) && data["agentId"] == id);
        let agent = self.get(&format!("/v1/agents/{id}"));
        assert!(ended, "it did not end within {within:?}: {agent:#}");
        agent
    }
}

/// Tells whether an event says that an agent has ended.
pub(crate) fn is_terminal(kind: &str) -> bool {
    matches!(kind, "agent.completed" | "agent.failed" | "agent.killed")
}

/// Returns the live processes that carry one of these texts in their environment or arguments.
pub(crate) fn processes_with(texts: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if !name.bytes().all(|b| b.is_ascii_digit()) {
            continue;
        }
        // What cannot be read is gone, or somebody else's.
        let read = |file: &str| {
            std::fs::read(entry.path().join(file))
                .map(|b| String::from_utf8_lossy(&b).into_owned())
                .unwrap_or_default()
        };
        let (args, env) = (read("cmdline"), read("environ"));
        if texts.iter().any(|text| args.contains(text) || env.contains(text)) {
            found.push(format!("{name}: {}", args.replace('\0', " ")));
        }
    }
    found
}
