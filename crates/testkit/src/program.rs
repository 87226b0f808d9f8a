//! The real program as a server: started in an environment made from empty, awaited until it listens, killed when it is
//! dropped. Every harness that serves for real starts it here: the program's own tests, the chaos suite, the benchmarks.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde::Deserialize;

/// Pause between two looks at a child or at its file: small against everything that is measured of a start.
const LOOK: Duration = Duration::from_millis(1);
/// Variables of the tests' own environment that a server gets: where programs are, and where coverage is written.
const PASSED: [&str; 2] = ["PATH", "LLVM_PROFILE_FILE"];

/// Access to a server: its address and the operator's token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Access {
    /// Address of the API, such as `http://127.0.0.1:3001`.
    pub url: String,
    /// The token; empty when the server wants none.
    pub token: String,
}

/// The part of `server.json` that a client needs.
#[derive(Deserialize)]
struct ServerFile {
    url: String,
}

/// A serving child process. Dropping it kills it; its agents' supervisors are then on their own.
#[derive(Debug)]
pub struct Program {
    child: Child,
    data: PathBuf,
    /// Content of the server's file before this start: a server that was killed leaves its file.
    before: Option<Vec<u8>>,
    access: Option<Access>,
}

/// Makes a command in an environment from empty, with this home and this data directory.
pub fn command(program: &Path, home: &Path, data: &Path) -> Command {
    let mut command = Command::new(program);
    command.env_clear().stdin(Stdio::null());
    command.envs(PASSED.iter().filter_map(|name| Some((name, std::env::var_os(name)?))));
    command.env("HOME", home).env("MOSAIC_DATA_DIR", data);
    command
}

/// Makes a command that serves on a free port and takes local repositories.
pub fn serve(program: &Path, home: &Path, data: &Path) -> Command {
    let mut command = command(program, home, data);
    command.arg("serve").env("ORCHESTRATOR_PORT", "0").env("MOSAIC_ALLOW_LOCAL_REPOSITORIES", "true");
    command
}

impl Program {
    /// Starts a command that serves this data directory; does not wait for it.
    pub fn start(mut command: Command, data: &Path) -> io::Result<Self> {
        let before = std::fs::read(data.join("server.json")).ok();
        Ok(Self { child: command.spawn()?, data: data.to_owned(), before, access: None })
    }

    /// Waits until the server says where it listens; `None` when it does not by then, or has ended.
    pub fn listens_by(&mut self, deadline: Instant) -> Option<Access> {
        while self.access.is_none() {
            // Looked at first: a server that ended after it had listened is one that listened.
            let ended = self.ended().is_some();
            self.access = self.look();
            if self.access.is_none() && (ended || Instant::now() >= deadline) {
                return None;
            }
            if self.access.is_none() {
                std::thread::sleep(LOOK);
            }
        }
        self.access.clone()
    }

    fn look(&self) -> Option<Access> {
        let there = std::fs::read(self.data.join("server.json")).ok()?;
        if self.before.as_ref() == Some(&there) {
            return None;
        }
        let ServerFile { url } = serde_json::from_slice(&there).ok()?;
        let token = std::fs::read_to_string(self.data.join("token")).unwrap_or_default();
        Some(Access { url: url.trim_end_matches('/').to_owned(), token: token.trim().to_owned() })
    }

    /// Returns the data directory that it serves.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// Returns its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Returns how it ended, when it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Sends it a signal. It may have ended by itself, which the caller that waits then sees.
    pub fn signal(&self, signal: Signal) {
        let _ = kill_process(Pid::from_child(&self.child), signal);
    }

    /// Waits for its end; `None` when it does not end in time.
    pub fn wait_by(&mut self, deadline: Instant) -> Option<ExitStatus> {
        loop {
            let ended = self.ended();
            if ended.is_some() || Instant::now() >= deadline {
                return ended;
            }
            std::thread::sleep(LOOK);
        }
    }

    /// Kills it with SIGKILL, and returns when that was.
    pub fn kill_9(&mut self) -> Instant {
        // Fails only when it has ended by itself, which `wait` then collects.
        let _ = self.child.kill();
        let at = Instant::now();
        let _ = self.child.wait();
        at
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.kill_9();
    }
}
