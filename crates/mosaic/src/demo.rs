//! `mosaic demo`. A stand-in with the final signature.

use std::process::ExitCode;

use crate::cli::DemoArgs;
use crate::config::Config;
use crate::exit::Exit;
use crate::session::say;

/// Runs the demo.
pub(crate) fn demo(_config: &Config, _args: &DemoArgs, _json: bool) -> ExitCode {
    say("error: this build has no demo");
    Exit::Error.into()
}
