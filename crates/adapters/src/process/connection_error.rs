//! Errors of a server's connection to a shim.

use std::io;

use mosaic_core::ports::processes::ProcessError;
use thiserror::Error;

use super::protocol::PROTOCOL;

/// Reasons why a shim did not do what a server asked.
#[derive(Debug, Error)]
pub(super) enum ConnectionError {
    /// The operating system failed.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// Connecting took too long.
    #[error("the supervisor's socket does not answer")]
    NoSocket,
    /// The shim is of another build.
    #[error("the supervisor speaks version {0}, this program {PROTOCOL}")]
    Version(u32),
    /// A line passed its bound.
    #[error("the supervisor sent an endless line")]
    EndlessLine,
    /// A line is no message.
    #[error("the supervisor sent a line that is no message: {0}")]
    Damaged(#[from] serde_json::Error),
    /// The answer took too long.
    #[error("the supervisor does not answer")]
    Silent,
    /// The connection ended before the answer.
    #[error("the job has ended")]
    Ended,
    /// The shim answered no; its reason.
    #[error("{0}")]
    Refused(String),
}

impl ConnectionError {
    /// Tells whether there is no shim any more at the other end.
    pub(super) fn is_end(&self) -> bool {
        match self {
            Self::Ended => true,
            Self::Io(e) => e.kind() == io::ErrorKind::BrokenPipe,
            _ => false,
        }
    }

    fn kind(&self) -> io::ErrorKind {
        match self {
            Self::Io(e) => e.kind(),
            Self::NoSocket | Self::Silent => io::ErrorKind::TimedOut,
            Self::Version(_) | Self::EndlessLine | Self::Damaged(_) => io::ErrorKind::InvalidData,
            Self::Ended => io::ErrorKind::BrokenPipe,
            Self::Refused(_) => io::ErrorKind::Other,
        }
    }
}

impl From<ConnectionError> for ProcessError {
    fn from(error: ConnectionError) -> Self {
        match error {
            ConnectionError::Io(e) => Self::Io(e),
            error => Self::Io(io::Error::new(error.kind(), error)),
        }
    }
}
