//! Reasons why a supervisor did not come to run its program.

use std::io;

use mosaic_core::limits;
use mosaic_core::ports::processes::ProcessError;
use thiserror::Error;

use super::layout::JobDir;

/// Reasons of a failed start.
#[derive(Debug, Error)]
pub(super) enum StartError {
    #[error("cannot make its directory: {0}")]
    Directory(#[source] io::Error),
    #[error("cannot run its supervisor: {0}")]
    Spawn(#[source] io::Error),
    #[error("it has no pipes")]
    NoPipes,
    #[error("its specification cannot be written: {0}")]
    Specification(#[from] serde_json::Error),
    #[error("its answer cannot be read: {0}")]
    Answer(#[from] io::Error),
    #[error("it ended at once; shim.err in the job directory may say why")]
    EndedAtOnce,
    #[error("no answer within {} s", limits::SHIM_START.as_secs())]
    Silent,
    /// The shim's own reason.
    #[error("{0}")]
    Refused(String),
}

impl StartError {
    /// Makes the port's error of it.
    pub(super) fn of(self, dir: &JobDir) -> ProcessError {
        ProcessError::NotStarted { job: dir.label(), why: self.to_string() }
    }
}
