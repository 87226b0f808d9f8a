//! Base files in other places than a bare repository: a directory on disk, for commands that look at a checkout, and
//! texts in memory.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use mosaic_core::domain::outcome::{Failure, FailureKind};
use mosaic_core::limits;
use mosaic_core::ports::gatekeeper::BaseFiles;

use crate::bounded_file;

/// Directories that hold nothing which a commit tracks; they are large, so that they are not walked.
const UNTRACKED: &[&str] = &[".git", "node_modules", "target", ".venv", "venv", "__pycache__", ".tox"];

/// The files below a directory of the operator. No link is followed.
struct DirectoryFiles {
    root: PathBuf,
}

/// Returns the files below a directory, read when they are asked for. No link is followed, and directories that hold nothing
/// tracked, such as `node_modules`, are left out.
pub fn files_below(root: impl Into<PathBuf>) -> impl BaseFiles {
    DirectoryFiles { root: root.into() }
}

impl DirectoryFiles {
    fn walk(&self) -> io::Result<Vec<String>> {
        let mut found = Vec::new();
        let mut seen = 0;
        let mut left = VecDeque::from([String::new()]);
        // Breadth first: where the bound cuts, the manifests near the root were seen.
        while let Some(below) = left.pop_front() {
            let listed = bounded_file::names(&self.root.join(&below), limits::DIRECTORY_FILES)?;
            for name in listed.names {
                seen += 1;
                if seen > limits::DIRECTORY_FILES {
                    return Ok(found);
                }
                let Some(name) = name.to_str().filter(|name| !UNTRACKED.contains(name)) else { continue };
                let path = if below.is_empty() { name.to_owned() } else { format!("{below}/{name}") };
                match self.root.join(&path).symlink_metadata() {
                    Ok(known) if known.is_dir() => left.push_back(path),
                    Ok(known) if known.is_file() => found.push(path),
                    // Links and what vanished meanwhile are nothing that gates are defined by.
                    _ => {}
                }
            }
        }
        Ok(found)
    }
}

#[async_trait]
impl BaseFiles for DirectoryFiles {
    async fn paths(&self) -> Result<Vec<String>, Failure> {
        let mut paths = self.walk().map_err(|e| unreadable(&self.root, &e))?;
        paths.sort_unstable();
        Ok(paths)
    }

    async fn read(&self, path: &str) -> Result<Option<Vec<u8>>, Failure> {
        let path = self.root.join(path);
        match bounded_file::read_prefix(&path, limits::GATE_CONFIG_BYTES as u64 + 1) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(unreadable(&path, &e)),
        }
    }
}

fn unreadable(path: &Path, error: &io::Error) -> Failure {
    Failure::new(FailureKind::BadInput, format!("{} cannot be read: {error}", path.display()))
}

/// Files whose content is in memory.
#[derive(Debug, Clone, Default)]
pub struct KnownFiles(BTreeMap<String, Vec<u8>>);

impl<P: Into<String>, B: Into<Vec<u8>>> FromIterator<(P, B)> for KnownFiles {
    fn from_iter<I: IntoIterator<Item = (P, B)>>(files: I) -> Self {
        Self(files.into_iter().map(|(path, bytes)| (path.into(), bytes.into())).collect())
    }
}

#[async_trait]
impl BaseFiles for KnownFiles {
    async fn paths(&self) -> Result<Vec<String>, Failure> {
        Ok(self.0.keys().cloned().collect())
    }

    async fn read(&self, path: &str) -> Result<Option<Vec<u8>>, Failure> {
        Ok(self.0.get(path).cloned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_directory_is_listed_without_links_and_what_git_does_not_track() {
        let home = tempfile::tempdir().unwrap();
        for path in ["a/b.txt", "node_modules/x/y.js", ".git/config", "Cargo.toml"] {
            let path = home.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "text").unwrap();
        }
        std::os::unix::fs::symlink("/etc", home.path().join("etc")).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", home.path().join("package.json")).unwrap();
        let files = files_below(home.path());
        assert_eq!(files.paths().await.unwrap(), ["Cargo.toml", "a/b.txt"]);
        assert_eq!(files.read("Cargo.toml").await.unwrap().as_deref(), Some(&b"text"[..]));
        assert_eq!(files.read("none").await.unwrap(), None);
        assert!(files.read("package.json").await.is_err());
    }
}
