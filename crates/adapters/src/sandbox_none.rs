//! No sandbox: private directories and an environment built from empty. What runs may read whatever the server's
//! user may read; only supervision and gates stand between it and the result.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use mosaic_core::domain::ids::AgentId;
use mosaic_core::domain::outcome::{Failure, FailureKind};
use mosaic_core::ports::sandbox::{Confinement, Sandbox};

use crate::trash::Trash;

/// The directories that are an agent's own, below `<data>/agents/<agent>/`.
const PRIVATE: [&str; 3] = ["home", "tmp", "config"];

/// Confines nothing but names.
#[derive(Debug)]
pub struct NoSandbox {
    data: PathBuf,
    path: String,
    trash: Arc<Trash>,
}

impl NoSandbox {
    /// Takes the data directory, the `PATH` that agents get, and the trash of the same data directory.
    pub fn new(data_dir: impl Into<PathBuf>, path_env: impl Into<String>, trash: Arc<Trash>) -> Self {
        Self { data: data_dir.into(), path: path_env.into(), trash }
    }

    fn place(&self, agent: AgentId) -> PathBuf {
        self.data.join("agents").join(agent.to_string())
    }
}

#[async_trait]
impl Sandbox for NoSandbox {
    fn name(&self) -> &'static str {
        "none"
    }

    async fn confine(&self, agent: AgentId) -> Result<Confinement, Failure> {
        let place = self.place(agent);
        let [home, tmp, config] = PRIVATE.map(|name| place.join(name));
        for directory in [&home, &tmp, &config] {
            make_private(directory).map_err(|e| failure("make", directory, &e))?;
        }
        let text = |path: &Path| path.to_string_lossy().into_owned();
        let variables = [
            ("PATH", self.path.clone()),
            ("HOME", text(&home)),
            ("TMPDIR", text(&tmp)),
            ("LANG", "C.UTF-8".to_owned()),
            ("TERM", "dumb".to_owned()),
        ];
        let env = variables.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        Ok(Confinement { home, config, env, wrap: Vec::new() })
    }

    async fn release(&self, agent: AgentId) -> Result<(), Failure> {
        for directory in PRIVATE.map(|name| self.place(agent).join(name)) {
            self.trash.discard(&directory).map_err(|e| failure("remove", &directory, &e))?;
        }
        Ok(())
    }
}

/// Makes a directory for its owner only; one that exists is kept, anything else of that name is refused.
fn make_private(directory: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    if directory.symlink_metadata()?.is_dir() { Ok(()) } else { Err(io::ErrorKind::NotADirectory.into()) }
}

fn failure(what: &str, directory: &Path, error: &io::Error) -> Failure {
    let full = matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
    let kind = if full { FailureKind::Disk } else { FailureKind::Internal };
    Failure::new(kind, format!("cannot {what} the agent's directory {}: {error}", directory.display()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[tokio::test]
    async fn private_directories_are_kept_until_they_are_released() {
        let place = tempfile::tempdir().unwrap();
        let trash = Arc::new(Trash::new(place.path()));
        let sandbox = NoSandbox::new(place.path(), "/usr/bin:/bin", Arc::clone(&trash));
        let agent = AgentId(uuid::Uuid::new_v4());
        let first = sandbox.confine(agent).await.unwrap();
        std::fs::write(first.config.join("session"), "x").unwrap();
        assert_eq!(sandbox.confine(agent).await.unwrap(), first);
        assert!(first.config.join("session").exists());
        assert_eq!(first.home.metadata().unwrap().permissions().mode() & 0o777, 0o700);
        let names: Vec<&str> = first.env.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["PATH", "HOME", "TMPDIR", "LANG", "TERM"]);
        sandbox.release(agent).await.unwrap();
        sandbox.release(agent).await.unwrap();
        assert!(!first.home.exists() && !first.config.exists());
        trash.idle().await;
        assert_eq!(std::fs::read_dir(place.path().join("trash")).unwrap().count(), 0);
    }
}
