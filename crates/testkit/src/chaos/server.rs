//! A serving process that may be killed or kill itself.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::api::Api;
use super::testbed::Testbed;
use super::{Outcome, while_};

/// A serving child process. Dropping it kills it.
pub(crate) struct Server {
    child: Child,
    said: Receiver<String>,
    token: std::path::PathBuf,
    api: Option<Api>,
}

impl Server {
    /// Starts the program on a free port with these further variables; does not wait for it. What it says is appended
    /// to the place's `server.log`.
    pub(crate) fn start(program: &Path, place: &Testbed, env: &[(&str, String)]) -> Outcome<Self> {
        let mut log = place.server_log()?;
        let mut command = Command::new(program);
        command.arg("serve").env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.envs(place.env()).envs(env.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(while_("the server cannot be started"))?;
        let lines = BufReader::new(child.stderr.take().ok_or("the server has no standard error")?).lines();
        let (tell, said) = channel();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                // A log that cannot be written only makes a fault harder to read.
                let _ = log.write_all(format!("{line}\n").as_bytes());
                // Nobody listens once the address is known.
                let _ = tell.send(line);
            }
        });
        let data = env.iter().find(|(name, _)| *name == "MOSAIC_DATA_DIR");
        let data = data.map_or_else(|| place.data(), |(_, dir)| std::path::PathBuf::from(dir));
        Ok(Self { child, said, token: data.join("token"), api: None })
    }

    /// Waits until the server says where it listens; `None` when it does not by then, or has ended.
    pub(crate) fn api_by(&mut self, deadline: Instant) -> Option<Api> {
        while self.api.is_none() {
            let line = self.said.recv_timeout(deadline.saturating_duration_since(Instant::now())).ok()?;
            let Some(url) = line.trim().strip_prefix("API ") else { continue };
            let address = url.trim().trim_start_matches("http://").trim_end_matches("/v1");
            let token = std::fs::read_to_string(&self.token).ok()?.trim().to_owned();
            self.api = Some(Api { address: address.parse().ok()?, token });
        }
        self.api.clone()
    }

    /// Returns its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Returns how it ended, when it has.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Sends it SIGTERM.
    pub(crate) fn terminate(&self) {
        // It may have ended by itself, which whoever waits then sees.
        let _ = kill_process(Pid::from_child(&self.child), Signal::TERM);
    }

    /// Waits for its end; `None` when it does not end in time.
    pub(crate) fn wait_by(&mut self, deadline: Instant) -> Option<ExitStatus> {
        while Instant::now() < deadline {
            if let Some(status) = self.ended() {
                return Some(status);
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        None
    }

    /// Kills it with SIGKILL, and returns when that was.
    pub(crate) fn kill_9(&mut self) -> Instant {
        // Fails only when it has ended by itself, which `wait` then collects.
        let _ = self.child.kill();
        let at = Instant::now();
        let _ = self.child.wait();
        at
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill_9();
    }
}
