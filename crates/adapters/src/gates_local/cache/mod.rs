//! The cache of the local gatekeeper: what runs of ours made once and may be used again, by key. Only runs of base commits
//! fill it with files; an agent's tree and a gate's checkout get copies and never a name of a file in here. Bounded by size
//! and age: what was used least recently goes first.

mod copy;
mod eviction;

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use mosaic_core::limits;
use mosaic_core::ports::clock::Clock;
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::bounded_file;
use crate::durable_write::WholeFile;
use crate::private_place::ASIDE;
use crate::trash::Trash;

pub(super) use copy::{Moves, copy_into, paths_holding};

/// File that makes a directory an entry; its time of change is the last use.
const NOTE: &str = "entry.json";
/// Directory of the lock files.
const LOCKS: &str = "locks";

/// Bounds of a cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CacheBounds {
    /// Most bytes of all entries together.
    pub bytes: u64,
    /// Longest time since the last use of an entry.
    pub age: Duration,
}

impl Default for CacheBounds {
    fn default() -> Self {
        Self { bytes: limits::GATE_CACHE_BYTES, age: limits::GATE_CACHE_AGE }
    }
}

/// Kind of an entry; each has a directory of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Results of a repository's setup.
    Setup,
    /// Intermediate results of a gate, such as compiled dependencies.
    Build,
}

impl Kind {
    const ALL: [Self; 2] = [Self::Setup, Self::Build];

    fn directory(self) -> &'static str {
        match self {
            Self::Setup => "setup",
            Self::Build => "build",
        }
    }
}

/// Note beside the files of an entry.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct EntryNote {
    /// Bytes of its files.
    pub(super) bytes: u64,
    /// Directories in which its files were made, by their names in the entry: the paths stand in some of the files.
    pub(super) made_in: Vec<(String, PathBuf)>,
    /// Text files in which one of those paths stands, relative to the entry.
    pub(super) holding: Vec<PathBuf>,
}

/// A finished entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    /// Its directory.
    pub(super) path: PathBuf,
    /// Its note.
    pub(super) note: EntryNote,
}

/// Reason why a key could not be locked.
#[derive(Debug, Error)]
pub(super) enum LockError {
    /// Another task held it all the time.
    #[error("another task with the same setup has been running it for more than {}", humantime::format_duration(*.0))]
    Busy(Duration),
    /// The lock file could not be used.
    #[error("the cache of gates cannot be locked: {0}")]
    Io(#[from] io::Error),
}

/// Directory of entries, shared by all servers and commands that use the same one.
#[derive(Debug)]
pub struct GateCache {
    root: PathBuf,
    bounds: CacheBounds,
    trash: Trash,
}

impl GateCache {
    /// Names the directory; touches nothing.
    pub fn new(root: impl Into<PathBuf>, bounds: CacheBounds) -> Self {
        let root = root.into();
        Self { trash: Trash::new(root.clone()), root, bounds }
    }

    /// Deletes what an earlier process had begun to delete.
    pub fn sweep(&self) -> io::Result<()> {
        match self.root.is_dir() {
            true => self.trash.empty(),
            false => Ok(()),
        }
    }

    /// Returns an entry and counts the use.
    pub(super) fn find(&self, kind: Kind, key: &str) -> Option<Entry> {
        let path = self.root.join(kind.directory()).join(key);
        let note = path.join(NOTE);
        let text = bounded_file::read_text(&note, limits::GATE_CACHE_NOTE_BYTES).ok()?;
        touch(&note);
        Some(Entry { note: serde_json::from_str(&text).ok()?, path })
    }

    /// Makes an empty directory in which an entry is put together.
    pub(super) fn stage(&self, kind: Kind) -> io::Result<PathBuf> {
        let above = self.root.join(kind.directory());
        private(&above)?;
        let path = above.join(format!("{ASIDE}{}", uuid::Uuid::new_v4().simple()));
        private(&path)?;
        Ok(path)
    }

    /// Makes an entry of a staged directory. Where another process was faster, its entry stays.
    pub(super) fn keep(&self, kind: Kind, key: &str, staged: &Path, note: EntryNote) -> io::Result<Entry> {
        let text = serde_json::to_vec(&note).map_err(io::Error::other)?;
        WholeFile::at(&staged.join(NOTE)).without_sync().write(&text)?;
        let path = self.root.join(kind.directory()).join(key);
        match fs::rename(staged, &path) {
            Err(_) if path.join(NOTE).is_file() => self.discard(staged)?,
            done => done?,
        }
        self.evict();
        self.find(kind, key).ok_or_else(|| io::Error::other("the entry is larger than the cache may be"))
    }

    /// Deletes something in the cache, in the background. Must be called inside a tokio runtime.
    pub(super) fn discard(&self, path: &Path) -> io::Result<()> {
        self.trash.discard(path)
    }

    /// Locks a key against other tasks and processes, until the value is dropped.
    pub(super) async fn lock(
        &self,
        key: &str,
        clock: &dyn Clock,
        limit: Duration,
    ) -> Result<File, LockError> {
        let directory = self.root.join(LOCKS);
        private(&directory)?;
        // A bounded number of files: one per key could never be removed safely. Two keys that share one wait for each other.
        let file = directory.join(&key[..2]);
        let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(file)?;
        let deadline = clock.elapsed() + limit;
        loop {
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(file),
                Err(rustix::io::Errno::WOULDBLOCK) if clock.elapsed() >= deadline => {
                    return Err(LockError::Busy(limit));
                }
                // A wait in the system could not be broken off when the agent is killed.
                Err(rustix::io::Errno::WOULDBLOCK) => clock.sleep(limits::GATE_CACHE_LOOK).await,
                Err(e) => return Err(LockError::Io(e.into())),
            }
        }
    }

    /// Returns a file of the cache that is no entry, such as a verdict.
    pub(super) fn file(&self, directory: &str, name: &str) -> PathBuf {
        self.root.join(directory).join(name)
    }

    /// Returns the longest time since the last use.
    pub(super) fn age(&self) -> Duration {
        self.bounds.age
    }
}

/// Makes a directory for its owner only.
pub(super) fn private(directory: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(directory)
}

/// Notes that a file was used now. A cache that cannot be written to is read all the same.
pub(super) fn touch(file: &Path) {
    if let Ok(file) = OpenOptions::new().write(true).open(file) {
        let _ = file.set_modified(SystemTime::now());
    }
}
