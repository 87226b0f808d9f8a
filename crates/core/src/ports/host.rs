//! The machine as far as readiness and admission ask about it.

use async_trait::async_trait;

/// Answers questions about this machine.
#[async_trait]
pub trait Host: Send + Sync {
    /// Returns the bytes free for an unprivileged user where the state directory lies. Errors with the words of
    /// the operating system.
    async fn free_bytes(&self) -> Result<u64, String>;

    /// Checks that git answers and is new enough (2.38); returns its version. Errors with what to do.
    async fn git_version(&self) -> Result<String, String>;
}
