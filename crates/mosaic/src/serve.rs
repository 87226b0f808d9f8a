//! `mosaic serve` and the server inside `mosaic run`. Stand-ins with the final signatures.

use std::path::PathBuf;
use std::process::ExitCode;

use crate::cli::ServeArgs;
use crate::config::Config;
use crate::exit::Exit;
use crate::session::say;

/// How the server inside `mosaic run` behaves.
#[derive(Debug, Clone)]
pub(crate) struct LocalOptions {
    /// The one local repository that is allowed.
    pub(crate) allowed_repository: PathBuf,
    /// Whose gate commands are run; in `Ask` those whose digest is in `<data dir>/trusted`.
    pub(crate) trust: crate::config::Trust,
}

/// A server inside this process.
#[derive(Debug)]
pub(crate) struct LocalServer {
    url: String,
    token: String,
}

impl LocalServer {
    /// Returns its address.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Returns its token.
    pub(crate) fn token(&self) -> &str {
        &self.token
    }

    /// Stops it; running agents are killed with their work kept.
    pub(crate) fn stop(self) {}
}

/// Starts a server inside this process.
pub(crate) fn start_local(_config: &Config, options: LocalOptions) -> anyhow::Result<LocalServer> {
    anyhow::bail!("this build cannot serve {} ({:?})", options.allowed_repository.display(), options.trust)
}

/// Serves until told to stop.
pub(crate) fn serve(_config: &Config, _args: &ServeArgs) -> ExitCode {
    say("error: this build has no server");
    Exit::Error.into()
}
