//! Faults of a setup, in words for people.

use std::io;

use mosaic_core::domain::outcome::{Failure, FailureKind};
use thiserror::Error;

use crate::gates_local::cache::LockError;

/// Reason why a tree could not be made ready.
#[derive(Debug, Error)]
pub(super) enum SetupError {
    /// Commands begin with programs that are not here.
    #[error("{} not in PATH on this machine: {}; install what is missing, or change the definition on the base branch", if .0.len() == 1 { "a program is" } else { "programs are" }, list(.0))]
    ToolMissing(Vec<(String, String)>),
    /// The command did not end well.
    #[error(
        "the repository's setup `{command}` {how}; mend it on the base branch or this machine and spawn again. Its log is \
         kept as {log}{tail}"
    )]
    Failed {
        /// The command.
        command: String,
        /// Description of its end.
        how: String,
        /// Name of its log.
        log: String,
        /// End of what it printed, on lines of its own.
        tail: String,
    },
    /// It ended well and made something that cannot be kept.
    #[error("what the repository's setup made cannot be kept: {0}")]
    Cache(#[source] io::Error),
    /// Another task runs the same setup.
    #[error(transparent)]
    Lock(LockError),
    /// Everything was stopped.
    #[error("the file STOP in the data directory ended everything that ran")]
    Stopped,
    /// The supervisor failed, or the lease ran out: nothing was found out about the setup.
    #[error("the repository's setup could not be run: {0}")]
    NotRun(String),
}

fn list(missing: &[(String, String)]) -> String {
    missing.iter().map(|(what, tool)| format!("{what} needs `{tool}`")).collect::<Vec<_>>().join(", ")
}

impl From<SetupError> for Failure {
    fn from(error: SetupError) -> Self {
        let kind = match &error {
            SetupError::ToolMissing(_) | SetupError::Failed { .. } => FailureKind::Setup,
            SetupError::Cache(e) | SetupError::Lock(LockError::Io(e))
                if matches!(e.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) =>
            {
                FailureKind::Disk
            }
            SetupError::Cache(_) | SetupError::Lock(_) | SetupError::NotRun(_) => FailureKind::Internal,
            SetupError::Stopped => FailureKind::Stopped,
        };
        Self::new(kind, error.to_string())
    }
}
