//! Machines of fakes: one with endless disk, and one whose disk and git can fail.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use async_trait::async_trait;
use mosaic_core::domain::capacity::HostLoad;
use mosaic_core::domain::ids::AgentId;
use mosaic_core::ports::host::{DiskUse, Host, HostError};

use super::world::Part;

#[async_trait]
impl Host for Part {
    async fn free_bytes(&self) -> Result<u64, HostError> {
        Ok(u64::MAX)
    }
    async fn load(&self) -> HostLoad {
        self.0.knobs.host_load()
    }
    async fn disk_of(&self, _: AgentId) -> Result<DiskUse, HostError> {
        Ok(DiskUse { bytes: 4096, entries: 1, more: false })
    }
    async fn git_version(&self) -> Result<String, HostError> {
        Ok("fake".to_owned())
    }
}

/// A machine whose disk and git can fail.
#[derive(Default)]
pub struct StubHost {
    /// Free bytes on its disk.
    pub free: AtomicU64,
    /// True while git is missing.
    pub no_git: AtomicBool,
}

#[async_trait]
impl Host for StubHost {
    async fn free_bytes(&self) -> Result<u64, HostError> {
        Ok(self.free.load(Ordering::SeqCst))
    }
    async fn load(&self) -> HostLoad {
        HostLoad { memory_bytes: Some(1 << 30), load_per_core: Some(0.5) }
    }
    async fn disk_of(&self, _: AgentId) -> Result<DiskUse, HostError> {
        Ok(DiskUse::default())
    }
    async fn git_version(&self) -> Result<String, HostError> {
        match self.no_git.load(Ordering::SeqCst) {
            true => Err(HostError::GitNotStarted(std::io::ErrorKind::NotFound.into())),
            false => Ok("2.47.0".to_owned()),
        }
    }
}
