//! The machine as far as readiness and admission ask about it.

use std::io;
use std::path::PathBuf;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::domain::capacity::HostLoad;
use crate::domain::ids::AgentId;

/// Use of the disk by an agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DiskUse {
    /// Bytes of its files, as the file system allots them.
    pub bytes: u64,
    /// Its files and directories.
    pub entries: u64,
    /// There are more: [`crate::limits::DISK_ENTRIES`] or [`crate::limits::DISK_WALK`] ended the count.
    pub more: bool,
}

/// Reasons why a host has no answer, or one that nothing can start with.
#[derive(Debug, Error)]
pub enum HostError {
    /// The free space of a file system is not known.
    #[error("{}: {cause}", place.display())]
    FreeSpace {
        /// The directory that was asked about.
        place: PathBuf,
        /// The cause.
        #[source]
        cause: io::Error,
    },
    /// No room could be set aside.
    #[error("no room can be set aside in {}: {cause}", file.display())]
    Reserve {
        /// The file that was to hold it.
        file: PathBuf,
        /// The cause.
        #[source]
        cause: io::Error,
    },
    /// A file system did not answer.
    #[error(transparent)]
    NoAnswer(#[from] io::Error),
    /// The git program could not be started.
    #[error("git could not be started: {0}; install git 2.38 or newer and put it in PATH")]
    GitNotStarted(#[source] io::Error),
    /// The git program ended with this status instead of naming its version.
    #[error("git --version failed ({0}); reinstall git")]
    GitFailed(String),
    /// The git program did not answer.
    #[error("git --version did not answer within 10 s; check the git in PATH")]
    GitSilent,
    /// The git program has this version.
    #[error("git {0} is too old; install git 2.38 or newer")]
    GitTooOld(String),
}

/// Answers questions about this machine.
#[async_trait]
pub trait Host: Send + Sync {
    /// Returns the bytes free for an unprivileged user where the state directory lies.
    async fn free_bytes(&self) -> Result<u64, HostError>;

    /// Sets this many bytes aside where the state directory lies, for the day on which the disk is full. Idempotent. A host
    /// that keeps no reserve has nothing to do.
    async fn hold_reserve(&self, bytes: u64) -> Result<(), HostError> {
        let _ = bytes;
        Ok(())
    }

    /// Gives the reserve up, so that what must be written can be; tells whether there was one.
    async fn release_reserve(&self) -> bool {
        false
    }

    /// Says how much memory is left and how busy the processors are. What cannot be read is left out.
    async fn load(&self) -> HostLoad;

    /// Counts what the agent has on disk: its tree and its private directories. Follows no link and crosses no mount.
    async fn disk_of(&self, agent: AgentId) -> Result<DiskUse, HostError>;

    /// Checks that git answers and is new enough (2.38); returns its version. Errors with what to do.
    async fn git_version(&self) -> Result<String, HostError>;
}
