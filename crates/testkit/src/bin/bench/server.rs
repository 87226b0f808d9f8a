//! One `mosaic serve` with a data directory of its own, stopped when the value is dropped.

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use mosaic_testkit::program::{Program, serve};

use crate::Outcome;
use crate::http::Client;

/// Longest wait for the server to listen.
const START: Duration = Duration::from_secs(30);
/// Longest wait for the server to stop.
const STOP: Duration = Duration::from_secs(60);

/// A running server.
pub(crate) struct Server {
    program: Program,
    address: SocketAddr,
    token: String,
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
        let (data, home) = (dir.join("data"), dir.join("home"));
        std::fs::create_dir_all(&home)?;
        let log = std::fs::File::create(dir.join("server.log"))?;
        let mut command = serve(mosaic, &home, &data);
        command
            .env("MOSAIC_SLOTS", slots.to_string())
            .env("MOSAIC_RUNTIME", "command")
            .env("MOSAIC_COMMAND", agent)
            .env("MOSAIC_LOG", "warn");
        command.envs(more.iter().copied()).stdout(log.try_clone()?).stderr(log);
        let began = Instant::now();
        let mut program = Program::start(command, &data)?;
        match first_answer(&mut program, began) {
            Ok((address, token)) => Ok(Self { program, address, token, start: began.elapsed() }),
            Err(e) => {
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
        self.program.data()
    }

    /// The server's process id.
    pub(crate) fn pid(&self) -> u32 {
        self.program.pid()
    }

    /// Stops the server and waits for its end.
    pub(crate) fn stop(mut self) -> Outcome<()> {
        self.end()
    }

    fn end(&mut self) -> Outcome<()> {
        if self.program.ended().is_some() {
            return Ok(());
        }
        self.program.signal(rustix::process::Signal::TERM);
        if self.program.wait_by(Instant::now() + STOP).is_none() {
            self.program.kill_9();
            return Err("the server did not stop in time and was killed".into());
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

/// Waits for the server's file, then for its first healthy answer.
fn first_answer(program: &mut Program, began: Instant) -> Outcome<(SocketAddr, String)> {
    let Some(access) = program.listens_by(began + START) else {
        return Err(match program.ended() {
            Some(status) => format!("it ended with {status}").into(),
            None => "it does not listen".into(),
        });
    };
    let address = access.url.strip_prefix("http://").unwrap_or(&access.url).parse()?;
    match Client::connect(address, "")?.send("GET", "/health", "")? {
        (200, _) => Ok((address, access.token)),
        (status, _) => Err(format!("/health is answered with {status}").into()),
    }
}
