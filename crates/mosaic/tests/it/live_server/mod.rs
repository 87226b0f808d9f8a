//! The real program serving a data directory, and its API: for tests that kill it, and for tests that drive a real
//! agent through it.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use mosaic_api::{SseBlock, SseReader};
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
    child: Child,
    said: Receiver<String>,
    data: PathBuf,
}

impl Server {
    /// Starts `mosaic serve` on a free port; does not wait for it. Its log goes to `server.log` beside `data`.
    pub(crate) fn start(data: &Path, env: &[(&str, String)]) -> Self {
        let path = data.with_file_name("server.log");
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let mut log = std::fs::OpenOptions::new().create(true).append(true).open(path).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_mosaic"));
        command.arg("serve").env_clear().env("PATH", std::env::var_os("PATH").unwrap());
        command
            .env("HOME", data.parent().unwrap())
            .env("MOSAIC_DATA_DIR", data)
            .env("ORCHESTRATOR_PORT", "0");
        command.env("MOSAIC_ALLOW_LOCAL_REPOSITORIES", "true").env("MOSAIC_LOG_FORMAT", "text");
        command.envs(env.iter().map(|(name, value)| (name, value)));
        let mut child =
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let (tell, said) = channel();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                std::io::Write::write_all(&mut log, format!("{line}\n").as_bytes()).unwrap();
                // Nobody listens once the address is known.
                let _ = tell.send(line);
            }
        });
        Self { child, said, data: data.to_owned() }
    }

    /// Waits until the server says where it listens; `None` when it does not by then.
    pub(crate) fn api_by(&self, deadline: Instant) -> Option<Api> {
        loop {
            let line = self.said.recv_timeout(deadline.saturating_duration_since(Instant::now())).ok()?;
            let Some(url) = line.trim().strip_prefix("API ") else { continue };
            let url = url.trim().trim_end_matches("/v1").to_owned();
            let token = std::fs::read_to_string(self.data.join("token")).unwrap().trim().to_owned();
            return Some(Api { url, token });
        }
    }

    /// Waits until the server listens.
    pub(crate) fn api(&self) -> Api {
        self.api_by(Instant::now() + START).expect("the server listens; see server.log")
    }

    /// Kills the server with SIGKILL.
    pub(crate) fn kill_9(mut self) {
        self.end();
    }

    fn end(&mut self) {
        // Fails only when it has ended by itself, which `wait` then collects.
        let _ = self.child.kill();
        self.child.wait().unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end();
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
