//! A server of one test's own, and the program run beside it.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use mosaic_testkit::program::{self, Access, Program};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{Http, PATIENCE, until};

/// A directory for everything of one test: the data directory, a home, logs. Outlives the servers in it.
pub(crate) struct Home {
    dir: TempDir,
}

impl Home {
    pub(crate) fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.path().join("data")
    }

    /// Returns the program in an empty environment, with its state in this directory.
    pub(crate) fn mosaic(&self, args: &[&str]) -> Command {
        self.program(Path::new(env!("CARGO_BIN_EXE_mosaic")), args)
    }

    fn program(&self, program: &Path, args: &[&str]) -> Command {
        let mut command = program::command(program, self.path(), &self.data());
        command.args(args).current_dir(self.path());
        command
    }

    /// Starts a server in this directory.
    pub(crate) fn serve(&self, env: &[(&str, &str)]) -> Server<'_> {
        Server::start(self, self.mosaic(&["serve"]), env)
    }

    /// Starts another build of the server in this directory.
    pub(crate) fn serve_with(&self, program: &Path, env: &[(&str, &str)]) -> Server<'_> {
        Server::start(self, self.program(program, &["serve"]), env)
    }

    /// Starts a server in this directory by another program, which becomes it.
    pub(crate) fn serve_by(&self, program: &str, args: &[&str], env: &[(&str, &str)]) -> Server<'_> {
        Server::start(self, self.program(Path::new(program), args), env)
    }

    /// Starts a server in this directory whose standard error is this.
    pub(crate) fn serve_telling(&self, stderr: Stdio, env: &[(&str, &str)]) -> Server<'_> {
        Server::start_telling(self, self.mosaic(&["serve"]), env, stderr)
    }

    /// Runs the program to its end.
    pub(crate) fn run(&self, env: &[(&str, &str)], args: &[&str]) -> Output {
        self.mosaic(args).envs(env.iter().copied()).output().unwrap()
    }
}

/// A running server. Dropping it ends it at once.
pub(crate) struct Server<'h> {
    home: &'h Home,
    program: Program,
    pub(crate) url: String,
    pub(crate) token: String,
    pub(crate) http: Http,
    log: PathBuf,
}

impl<'h> Server<'h> {
    fn start(home: &'h Home, command: Command, env: &[(&str, &str)]) -> Self {
        let log = File::create(home.path().join("server.log")).unwrap();
        Self::start_telling(home, command, env, log.into())
    }

    fn start_telling(home: &'h Home, mut command: Command, env: &[(&str, &str)], stderr: Stdio) -> Self {
        let log = home.path().join("server.log");
        command.env("ORCHESTRATOR_PORT", "0").env("MOSAIC_ALLOW_LOCAL_REPOSITORIES", "true");
        command.env("MOSAIC_KILL_GRACE_MS", "500");
        command.env("MOSAIC_RUNTIME", "command").env("MOSAIC_COMMAND", "cat");
        // After the defaults, so that the settings of a test replace them.
        command.envs(env.iter().copied()).stdout(Stdio::null());
        command.stderr(stderr);
        let mut program = Program::start(command, &home.data()).unwrap();
        let Some(Access { url, token }) = program.listens_by(Instant::now() + PATIENCE) else {
            panic!("the server does not listen ({:?}): {}", program.ended(), logged(&log));
        };
        let http = Http::new(&url, Some(&token).filter(|t| !t.is_empty()).map(String::as_str));
        Self { home, program, url, token, http, log }
    }

    pub(crate) fn home(&self) -> &Home {
        self.home
    }

    pub(crate) fn pid(&self) -> u32 {
        self.program.pid()
    }

    /// Returns what it logged.
    pub(crate) fn log(&self) -> String {
        logged(&self.log)
    }

    /// Waits until the server's log has these words. A thread of its own writes the log, so lines reach the file after the server went on.
    #[track_caller]
    pub(crate) fn until_logged(&self, words: &str) {
        let end = Instant::now() + PATIENCE;
        while !self.log().contains(words) {
            assert!(Instant::now() < end, "the log does not say {words:?}:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Runs the program against this server.
    pub(crate) fn cli(&self, args: &[&str]) -> Output {
        self.home.run(&[], args)
    }

    /// Spawns and returns the agent's id.
    #[track_caller]
    pub(crate) fn spawn(&self, body: &Value) -> String {
        let answer = self.http.post("/agents/spawn", Some(body)).expect(201);
        answer["agentId"].as_str().unwrap().to_owned()
    }

    /// Waits until the agent has ended and returns everything about it.
    #[track_caller]
    pub(crate) fn ended(&self, id: &str) -> Value {
        for _ in 0..3 {
            let agent = self.http.get(&format!("/v1/agents/{id}?wait=50s&until=terminal")).expect(200);
            if matches!(agent["status"].as_str(), Some("completed" | "failed" | "killed")) {
                return agent;
            }
        }
        panic!("{id} does not end\n{}", self.log());
    }

    /// Spawns, waits for the end, and checks how it ended.
    #[track_caller]
    pub(crate) fn life(&self, body: &Value, status: &str, reason: &str) -> Value {
        let id = self.spawn(body);
        let agent = self.ended(&id);
        let how = (agent["status"].as_str().unwrap(), agent["endReason"].as_str().unwrap());
        assert_eq!(how, (status, reason), "{agent:#}\n{}", self.log());
        agent
    }

    /// Reads everything about an agent.
    #[track_caller]
    pub(crate) fn agent(&self, id: &str) -> Value {
        self.http.get(&format!("/v1/agents/{id}")).expect(200)
    }

    /// Waits until the agent is in this phase.
    #[track_caller]
    pub(crate) fn phase(&self, id: &str, phase: &str) -> Value {
        until(&format!("phase {phase} of {id}"), || {
            Some(self.agent(id)).filter(|agent| agent["phase"] == phase)
        })
    }

    pub(crate) fn kill(&self, id: &str) -> Value {
        self.http.post(&format!("/agents/{id}/kill"), Some(&json!({}))).expect(200)
    }

    pub(crate) fn signal(&self, signal: Signal) {
        self.program.signal(signal);
    }

    /// Signals the one child of the process that was started, which is the server when that one is its container.
    pub(crate) fn signal_first_child(&self, signal: Signal) {
        let children = format!("/proc/{0}/task/{0}/children", self.pid());
        let child = std::fs::read_to_string(children).unwrap();
        let pid = Pid::from_raw(child.split_whitespace().next().unwrap().parse().unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    /// Waits until it has ended.
    pub(crate) fn wait_end(&mut self) -> ExitStatus {
        until("the server to end", || self.program.ended())
    }
}

impl Drop for Server<'_> {
    fn drop(&mut self) {
        if self.program.ended().is_some() {
            return;
        }
        // Agents would outlive it, and the test.
        let _ = self.http.try_post("/agents/kill-all", &json!({}));
        self.signal(Signal::TERM);
        self.signal(Signal::TERM);
        if self.program.wait_by(Instant::now() + PATIENCE).is_none() {
            // The test fails; agents that are left end with their tree at the next look of a person.
            self.program.kill_9();
            assert!(std::thread::panicking(), "the server did not end\n{}", self.log());
        }
    }
}

/// Returns what a server logged into this file.
fn logged(log: &Path) -> String {
    String::from_utf8_lossy(&std::fs::read(log).unwrap_or_default()).into_owned()
}
