//! One `mosaic serve` with a data directory of its own, stopped when the value is dropped.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::Outcome;
use crate::http::Client;

/// Longest wait for the server to listen.
const START: Duration = Duration::from_secs(30);
/// Longest wait for the server to stop.
const STOP: Duration = Duration::from_secs(60);

/// A running server.
pub(crate) struct Server {
    child: Child,
    address: SocketAddr,
    token: String,
    data: PathBuf,
    /// From the start of the program to its first answer.
    pub(crate) start: Duration,
}

impl Server {
    /// Starts the program with an empty store below `dir`, `slots` agents at once, and `agent` as the agents' program
    /// line; waits for its first answer.
    pub(crate) fn start(mosaic: &Path, dir: &Path, slots: usize, agent: &str) -> Outcome<Self> {
        Self::start_with(mosaic, dir, slots, agent, &[])
    }

    /// Starts the program as [`Self::start`] does, with more settings.
    pub(crate) fn start_with(
        mosaic: &Path,
        dir: &Path,
        slots: usize,
        agent: &str,
        more: &[(&str, &str)],
    ) -> Outcome<Self> {
        let data = dir.join("data");
        let home = dir.join("home");
        std::fs::create_dir_all(&home)?;
        let log = std::fs::File::create(dir.join("server.log"))?;
        let mut command = Command::new(mosaic);
        command.arg("serve").env_clear().envs(std::env::var_os("PATH").map(|path| ("PATH", path)));
        command
            .env("HOME", &home)
            .env("MOSAIC_DATA_DIR", &data)
            .env("ORCHESTRATOR_PORT", free_port()?.to_string());
        command
            .env("MOSAIC_SLOTS", slots.to_string())
            .env("MOSAIC_RUNTIME", "command")
            .env("MOSAIC_COMMAND", agent);
        command.env("MOSAIC_ALLOW_LOCAL_REPOSITORIES", "true").env("MOSAIC_LOG", "warn");
        command.envs(more.iter().copied()).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let began = Instant::now();
        let mut child = command.spawn()?;
        match first_answer(&mut child, &data, began) {
            Ok((address, token)) => Ok(Self { child, address, token, data, start: began.elapsed() }),
            Err(e) => {
                // Nothing of a server that did not start may stay behind.
                let _ = child.kill();
                let _ = child.wait();
                let log = std::fs::read_to_string(dir.join("server.log")).unwrap_or_default();
                Err(format!("the server did not start: {e}\n{log}").into())
            }
        }
    }

    /// Opens another connection.
    pub(crate) fn client(&self) -> Outcome<Client> {
        Client::connect(self.address, &self.token)
    }

    /// The data directory.
    pub(crate) fn data(&self) -> &Path {
        &self.data
    }

    /// The server's process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Stops the server and waits for its end.
    pub(crate) fn stop(mut self) -> Outcome<()> {
        self.end()
    }

    fn end(&mut self) -> Outcome<()> {
        if self.child.try_wait()?.is_some() {
            return Ok(());
        }
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
        let until = Instant::now() + STOP;
        while self.child.try_wait()?.is_none() {
            if Instant::now() > until {
                self.child.kill()?;
                self.child.wait()?;
                return Err("the server did not stop in time and was killed".into());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Err(e) = self.end() {
            eprintln!("warning: {e}");
        }
    }
}

/// Finds a port that nobody uses. Should somebody take it before the server does, the server does not start.
fn free_port() -> std::io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

/// Waits for the server's file, then for its first healthy answer.
fn first_answer(child: &mut Child, data: &Path, began: Instant) -> Outcome<(SocketAddr, String)> {
    let file = data.join("server.json");
    loop {
        if let Some(address) = std::fs::read(&file).ok().and_then(|bytes| address(&bytes))
            && let Ok(mut client) = Client::connect(address, "")
            && let Ok((200, _)) = client.send("GET", "/health", "")
        {
            let token = std::fs::read_to_string(data.join("token"))?;
            return Ok((address, token.trim().to_owned()));
        }
        if let Some(status) = child.try_wait()? {
            return Err(format!("it ended with {status}").into());
        }
        if began.elapsed() > START {
            return Err("it does not listen".into());
        }
        std::thread::sleep(Duration::from_micros(500));
    }
}

fn address(bytes: &[u8]) -> Option<SocketAddr> {
    let file: Value = serde_json::from_slice(bytes).ok()?;
    file["url"].as_str()?.strip_prefix("http://")?.trim_end_matches('/').parse().ok()
}
