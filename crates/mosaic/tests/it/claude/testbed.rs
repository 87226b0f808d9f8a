//! A real server that drives real Claude Code against a scripted model.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use mosaic_testkit::git_fixture::Fixture;
use mosaic_testkit::model_server::{ModelServer, Script};
use serde_json::{Value, json};

use crate::live_server::{Api, Server};

/// The key that must be seen nowhere but in requests to the model and in the agent's environment. It looks like no
/// key, so that no masking can hide that it leaked.
pub(crate) const KEY: &str = "heliotrope-canary-of-this-test";

/// Longest wait for an agent to end.
pub(crate) const SOON: Duration = Duration::from_secs(120);

/// Returns the real program, or says why the test is skipped.
pub(crate) fn claude() -> Option<PathBuf> {
    let path = std::env::var_os("MOSAIC_TEST_CLAUDE_BIN").map(PathBuf::from).filter(|path| path.is_file());
    let how = "set MOSAIC_TEST_CLAUDE_BIN to the claude program of @anthropic-ai/claude-code";
    mosaic_testkit::require::have("claude", path.is_some(), how).then_some(path).flatten()
}

/// A remote, a scripted model and a server between them.
pub(crate) struct ClaudeTestbed {
    // Dropped in this order: the server goes before what it uses.
    server: Option<Server>,
    env: Vec<(&'static str, String)>,
    pub(crate) api: Api,
    pub(crate) model: ModelServer,
    pub(crate) remote: Fixture,
}

impl ClaudeTestbed {
    /// Starts everything. The repository's tests want the word "good" in `answer.txt`.
    pub(crate) fn new(claude: &Path, scripts: Vec<Script>) -> Self {
        Self::with(claude, Some(KEY), scripts, |_| Vec::new())
    }

    /// The same with another key, and more files in the repository, which may depend on where the place is.
    pub(crate) fn with(
        claude: &Path,
        key: Option<&str>,
        scripts: Vec<Script>,
        more: impl FnOnce(&Path) -> Vec<(String, String)>,
    ) -> Self {
        let remote = Fixture::new();
        let test = "grep -q good answer.txt || { echo 'answer.txt: the word good is missing, said the crocodile'; exit 1; }\n";
        let mut files = vec![
            (".mosaic/config.toml".to_owned(), "[gates]\ntests = \"sh test.sh\"\n".to_owned()),
            ("test.sh".to_owned(), test.to_owned()),
        ];
        files.extend(more(remote.path()));
        let files: Vec<(&str, &str)> =
            files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
        remote.commit_on("main", &files);
        let model = ModelServer::start(scripts);
        let mut env = vec![
            ("MOSAIC_MODEL_UPSTREAM", model.url()),
            ("MOSAIC_CLAUDE_BIN", claude.display().to_string()),
            ("MOSAIC_KILL_GRACE_MS", "1000".into()),
            ("MOSAIC_LOG", "debug".into()),
        ];
        env.extend(key.map(|key| ("CLAUDE_API_KEY", key.to_owned())));
        let mut server = Server::start(&remote.path().join("place/data"), &env);
        let api = server.api();
        Self { server: Some(server), env, api, model, remote }
    }

    /// Kills the server and starts another one on the same data.
    pub(crate) fn replace_server(&mut self) {
        self.server.take().unwrap().kill_9();
        let mut server = Server::start(&self.remote.path().join("place/data"), &self.env);
        self.api = server.api();
        self.server = Some(server);
    }

    /// Spawns a worker whose instructions choose a script.
    pub(crate) fn spawn(&self, script: &str) -> String {
        self.api.spawn(&json!({
            "taskId": format!("T-{script}"), "agentType": "worker", "gateProfile": "minimal", "runtime": "claude", "maxRetries": 1,
            "context": {"repository": self.remote.url(), "branch": "main", "workItems": ["write the answer"], "instructions": format!("[[mock:{script}]]")},
        }))
    }

    /// Spawns and waits for the end.
    pub(crate) fn run(&self, script: &str) -> Value {
        let id = self.spawn(script);
        self.api.ended(&id, SOON)
    }

    /// Asserts that an agent completed and its branch is on the remote at the commit that it names.
    pub(crate) fn assert_pushed(&self, agent: &Value) {
        assert_eq!(agent["status"], "completed", "{agent:#}\n{:#}", self.transcript(agent));
        let tip = self.remote.tip(agent["branch"].as_str().unwrap());
        assert!(
            tip.is_some() && tip.as_deref() == agent["pushedCommit"].as_str(),
            "the branch is at {tip:?}: {agent:#}"
        );
        let text = self.remote.read_branch_file(agent["branch"].as_str().unwrap(), "answer.txt");
        assert_eq!(text.as_deref(), Some("good\n"));
    }

    /// Reads an agent's whole transcript, page by page.
    pub(crate) fn transcript(&self, agent: &Value) -> Value {
        let (mut items, mut after) = (Vec::new(), "0".to_owned());
        loop {
            let page = self.api.get(&format!(
                "/v1/agents/{}/transcript?limit=5&after={after}",
                agent["agentId"].as_str().unwrap()
            ));
            items.extend(page["items"].as_array().unwrap().iter().cloned());
            match page["nextCursor"].as_str() {
                Some(next) => next.clone_into(&mut after),
                None => return Value::Array(items),
            }
        }
    }

    /// Waits until the agent has said something.
    pub(crate) fn await_text(&self, id: &str, text: &str) {
        let deadline = Instant::now() + SOON;
        let agent = json!({"agentId": id});
        while !self.transcript(&agent).to_string().contains(text) {
            assert!(Instant::now() < deadline, "{text} was not said: {:#}", self.transcript(&agent));
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits until the agent has made a file in the place.
    pub(crate) fn await_file(&self, name: &str) -> String {
        let deadline = Instant::now() + SOON;
        loop {
            match std::fs::read_to_string(self.remote.path().join(name)) {
                Ok(text) if text.ends_with('\n') => return text,
                _ => assert!(
                    Instant::now() < deadline,
                    "{name} was not made; the model got {:?}",
                    self.model.turns()
                ),
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Returns the files of the data directory and the server's log that hold the key.
    pub(crate) fn files_with_key(&self) -> Vec<PathBuf> {
        let (mut found, mut seen, mut folders) = (Vec::new(), 0, vec![self.remote.path().join("place")]);
        while let Some(folder) = folders.pop() {
            // What goes away meanwhile holds nothing.
            for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
                let Ok(kind) = entry.file_type() else { continue };
                if kind.is_dir() {
                    folders.push(entry.path());
                } else if kind.is_file() {
                    let bytes = std::fs::read(entry.path()).unwrap_or_default();
                    seen += 1;
                    if bytes.windows(KEY.len()).any(|window| window == KEY.as_bytes()) {
                        found.push(entry.path());
                    }
                }
            }
        }
        assert!(seen > 5, "only {seen} files were looked at");
        found
    }

    /// Kills the server and returns the rest, so that nothing is written any more.
    pub(crate) fn stop(mut self) -> (Fixture, ModelServer) {
        self.server.take().unwrap().kill_9();
        (self.remote, self.model)
    }
}
