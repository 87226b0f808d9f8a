//! This machine: free space and the git program.

use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use mosaic_core::ports::host::Host;

/// The oldest git that has everything used here (`merge-tree --write-tree`).
const OLDEST_GIT: (u32, u32) = (2, 38);
/// Time for `git --version` to answer.
const ANSWER: Duration = Duration::from_secs(10);

/// Asks the operating system.
#[derive(Debug, Clone)]
pub struct SystemHost {
    dir: PathBuf,
    also: Vec<PathBuf>,
}

impl SystemHost {
    /// Makes a host whose free space is that of the file system of this directory.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into(), also: Vec::new() }
    }

    /// Looks at these directories too, which may be other file systems; one that does not exist yet is left out.
    pub fn also(mut self, dirs: impl IntoIterator<Item = PathBuf>) -> Self {
        self.also.extend(dirs);
        self
    }
}

#[async_trait]
impl Host for SystemHost {
    async fn free_bytes(&self) -> Result<u64, String> {
        let stat = rustix::fs::statvfs(&self.dir).map_err(|e| format!("{}: {e}", self.dir.display()))?;
        let free = |stat: rustix::fs::StatVfs| stat.f_bavail.saturating_mul(stat.f_frsize);
        let others = self.also.iter().filter_map(|dir| rustix::fs::statvfs(dir).ok()).map(free);
        Ok(others.fold(free(stat), u64::min))
    }

    async fn git_version(&self) -> Result<String, String> {
        let mut command = tokio::process::Command::new("git");
        command.arg("--version").env("LC_ALL", "C").kill_on_drop(true).stdin(std::process::Stdio::null());
        let out = match tokio::time::timeout(ANSWER, command.output()).await {
            Ok(Ok(out)) if out.status.success() => out,
            Ok(Ok(out)) => return Err(format!("git --version failed ({}); reinstall git", out.status)),
            Ok(Err(e)) => {
                return Err(format!(
                    "git could not be started: {e}; install git 2.38 or newer and put it in PATH"
                ));
            }
            Err(_) => {
                return Err("git --version did not answer within 10 s; check the git in PATH".to_owned());
            }
        };
        let text = String::from_utf8_lossy(&out.stdout);
        let version = text.trim().strip_prefix("git version ").unwrap_or(text.trim()).to_owned();
        if is_new_enough(&version) {
            return Ok(version);
        }
        Err(format!("git {version} is too old; install git 2.38 or newer"))
    }
}

fn is_new_enough(version: &str) -> bool {
    let mut parts = version.split('.').map(str::parse::<u32>);
    match (parts.next(), parts.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => (major, minor) >= OLDEST_GIT,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_by_number() {
        for good in ["2.38.0", "2.47.3", "3.0", "2.50.1.windows.1", "2.39.5 (Apple Git-154)"] {
            assert!(is_new_enough(good), "{good}");
        }
        for bad in ["2.9.5", "1.99", "", "unknown"] {
            assert!(!is_new_enough(bad), "{bad}");
        }
    }

    #[tokio::test]
    async fn this_machine_answers() {
        let host = SystemHost::new(std::env::temp_dir());
        assert!(host.free_bytes().await.unwrap() > 0);
        assert!(host.git_version().await.is_ok());
        assert!(SystemHost::new("/does/not/exist").free_bytes().await.is_err());
    }
}
