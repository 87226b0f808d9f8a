//! Reasons why the program of Claude Code cannot be used, each with what to do about it.

use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;

use mosaic_core::limits;
use thiserror::Error;

/// Advice about a missing program.
const INSTALL: &str = "install Claude Code or set MOSAIC_CLAUDE_BIN to the path of its program";

/// Reasons why the program cannot be used.
#[derive(Debug, Error)]
pub(super) enum ProgramError {
    #[error("{} is no program that can be run; {INSTALL}", .0.display())]
    NotRunnable(PathBuf),
    #[error("claude is not in PATH; {INSTALL}")]
    NotInPath,
    #[error("{} --version said nothing within {} s; check the installation", .0.display(), limits::PROBE.as_secs())]
    Silent(PathBuf),
    #[error("{} --version could not be run: {cause}; check MOSAIC_CLAUDE_BIN", program.display())]
    NotStarted {
        program: PathBuf,
        #[source]
        cause: io::Error,
    },
    #[error("{} --version failed with {status}; check the installation", program.display())]
    Failed { program: PathBuf, status: ExitStatus },
}
