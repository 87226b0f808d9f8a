//! The machine as far as readiness and admission ask about it.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::domain::ids::AgentId;
use crate::domain::room::Reading;

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

/// Answers questions about this machine.
#[async_trait]
pub trait Host: Send + Sync {
    /// Returns the bytes free for an unprivileged user where the state directory lies. Errors with the words of
    /// the operating system.
    async fn free_bytes(&self) -> Result<u64, String>;

    /// Sets this many bytes aside where the state directory lies, for the day on which the disk is full. Idempotent. A host
    /// that keeps no reserve has nothing to do.
    async fn hold_reserve(&self, bytes: u64) -> Result<(), String> {
        let _ = bytes;
        Ok(())
    }

    /// Gives the reserve up, so that what must be written can be; tells whether there was one.
    async fn release_reserve(&self) -> bool {
        false
    }

    /// Says how much memory is left and how busy the processors are. What cannot be read is left out.
    async fn reading(&self) -> Reading;

    /// Counts what the agent has on disk: its tree and its private directories. Follows no link and crosses no mount.
    async fn disk_of(&self, agent: AgentId) -> Result<DiskUse, String>;

    /// Checks that git answers and is new enough (2.38); returns its version. Errors with what to do.
    async fn git_version(&self) -> Result<String, String>;
}
