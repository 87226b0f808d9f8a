//! Errors of keeping, reporting and releasing what agents left: whatever failed stays as it is and is tried again.

use std::io;

use thiserror::Error;

use crate::domain::outcome::Failure;
use crate::ports::processes::ProcessError;
use crate::ports::sandbox::SandboxError;
use crate::ports::store::StoreError;

/// Reasons why something that an agent left could not be kept, reported or released.
#[derive(Debug, Error)]
pub(crate) enum CleanupError {
    /// Processes could not be stopped, or their records not be removed.
    #[error(transparent)]
    Processes(#[from] ProcessError),
    /// The sandbox could not release what it holds.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    /// Git could not keep or remove something.
    #[error("{0}")]
    Git(String),
    /// Nothing can be said about what the tree holds.
    #[error("{0}")]
    UnknownTree(String),
    /// The record could not be read.
    #[error("its record cannot be read: {0}")]
    Record(#[source] StoreError),
    /// The report could not be written.
    #[error("what is kept of it cannot be reported: {0}")]
    Report(#[source] StoreError),
    /// Transcripts could not be removed.
    #[error("transcripts could not be removed: {0}")]
    Transcripts(#[source] io::Error),
}

impl From<Failure> for CleanupError {
    fn from(failure: Failure) -> Self {
        Self::Git(failure.message)
    }
}
