//! A serving process that may be killed or kill itself.

use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Instant;

use rustix::process::Signal;

use super::api::Api;
use super::testbed::Testbed;
use super::{Outcome, while_};
use crate::program::{Program, serve};

/// A serving child process. Dropping it kills it.
pub(crate) struct Server {
    program: Program,
}

impl Server {
    /// Starts the program on a free port with these further variables; does not wait for it. Its messages are appended
    /// to the place's `server.log`.
    pub(crate) fn start(program: &Path, place: &Testbed, env: &[(&str, String)]) -> Outcome<Self> {
        let data = env.iter().find(|(name, _)| *name == "MOSAIC_DATA_DIR");
        let data = data.map_or_else(|| place.data(), |(_, dir)| dir.into());
        // The home is among the variables of the place.
        let mut command = serve(program, &data, &data);
        command.envs(place.env()).envs(env.iter().map(|(name, value)| (name, value)));
        command.stdout(Stdio::null()).stderr(place.server_log()?);
        let program = Program::start(command, &data).map_err(while_("the server cannot be started"))?;
        Ok(Self { program })
    }

    /// Waits until the server says where it listens; `None` when it does not by then, or has ended.
    pub(crate) fn api_by(&mut self, deadline: Instant) -> Option<Api> {
        let access = self.program.listens_by(deadline)?;
        Some(Api { address: access.url.strip_prefix("http://")?.parse().ok()?, token: access.token })
    }

    /// Returns its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.program.pid()
    }

    /// Returns how it ended, when it has.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.program.ended()
    }

    /// Sends it SIGTERM.
    pub(crate) fn terminate(&self) {
        self.program.signal(Signal::TERM);
    }

    /// Waits for its end; `None` when it does not end in time.
    pub(crate) fn wait_by(&mut self, deadline: Instant) -> Option<ExitStatus> {
        self.program.wait_by(deadline)
    }

    /// Kills it with SIGKILL, and returns when that was.
    pub(crate) fn kill_9(&mut self) -> Instant {
        self.program.kill_9()
    }
}
