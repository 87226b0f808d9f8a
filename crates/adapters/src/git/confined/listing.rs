//! The files of a commit, and what is known of a tree's files since they were written: the server keeps a copy of the
//! index as it was when it made the tree. A file whose times, size and inode still are what they were then has not
//! changed (the change time cannot be set by a program), so that it need not be read again.

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, UNIX_EPOCH};

use mosaic_core::limits;

use super::error::HarvestError;
use super::found::{Content, File};
use super::program::Git;
use crate::git::bundle_spec::Spec;
use crate::git::handles;
use crate::git::index_file::{self, Entry};

/// Coarsest step of a file system's clock: what changed within it of the copy may have changed unseen.
const STEP: Duration = Duration::from_millis(50);

/// Paths of a commit: mode and object.
pub(crate) type Listing = BTreeMap<Vec<u8>, (u32, String)>;

/// Lists a commit.
pub(crate) fn of_commit(git: &Git, commit: &str) -> Result<Listing, HarvestError> {
    let listed = git.ask(None, ["ls-tree", "-r", "-z", "--full-tree", commit], &[])?;
    let entry = |line: &[u8]| {
        let tab = line.iter().position(|b| *b == b'\t')?;
        let head = String::from_utf8_lossy(&line[..tab]).into_owned();
        let mut words = head.split(' ');
        let mode = u32::from_str_radix(words.next()?, 8).ok()?;
        Some((line[tab + 1..].to_vec(), (mode, words.nth(1)?.to_owned())))
    };
    Ok(listed.split(|b| *b == 0).filter_map(entry).collect())
}

/// The tree as it was made.
#[derive(Default)]
pub(crate) struct Checkout {
    entries: BTreeMap<Vec<u8>, Entry>,
    /// The commit that was checked out.
    commit: String,
    /// When the copy was written, since the beginning of 1970.
    written: Duration,
}

impl Checkout {
    /// Reads the server's copy. Without one every file is read.
    pub(super) fn read(spec: &Spec) -> Self {
        let read = || -> Option<Self> {
            let (dir, name) = (spec.checked_out.parent()?, spec.checked_out.file_name()?);
            let dir = handles::open_directory(dir).ok()?;
            let name = std::os::unix::ffi::OsStrExt::as_bytes(name);
            let bytes = handles::read_plain(&dir, name, limits::INDEX_BYTES).ok()?;
            let line = bytes.iter().position(|b| *b == b'\n')?;
            let commit = String::from_utf8_lossy(&bytes[..line]).into_owned();
            let entries = index_file::parse(&bytes[line + 1..], spec.base.len() == 64)?;
            let written = fs::symlink_metadata(&spec.checked_out).ok()?.modified().ok()?;
            let entries = entries.into_iter().map(|entry| (entry.path.clone(), entry)).collect();
            Some(Self { entries, commit, written: written.duration_since(UNIX_EPOCH).ok()? })
        };
        // Any doubt about the copy costs time only: then every file is read.
        read().unwrap_or_default()
    }

    /// Tells whether the tree was made from this commit.
    pub(super) fn is_of(&self, commit: &str) -> bool {
        !self.written.is_zero() && self.commit == commit
    }

    /// Returns what the tree was made from.
    pub(super) fn listing(&self) -> Listing {
        self.entries.values().map(|e| (e.path.clone(), (e.mode, e.object.clone()))).collect()
    }

    /// Returns the object of a file that has not changed since.
    pub(crate) fn unchanged(&self, path: &[u8], file: &File) -> Option<&str> {
        let entry = self.entries.get(path)?;
        let changed = Duration::new(u64::from(entry.seen.ctime.0), entry.seen.ctime.1);
        let same = entry.seen == file.seen
            && entry.mode == file.git_mode()
            && !matches!(file.content, Content::Copied(_))
            // A file that changed within one step of the clock of the copy has the same time before and after, so that it is
            // read.
            && changed + STEP < self.written;
        same.then_some(entry.object.as_str())
    }
}
