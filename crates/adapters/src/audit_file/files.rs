//! Where the audit log lies: `audit/<chain>.jsonl` is being written, `audit/<chain>@<first>.jsonl` are full,
//! `audit/<chain>.head` is the second copy of the end, `audit/<chain>.lock` says that somebody writes.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use mosaic_core::domain::audit::{FormatError, HeadFile};
use rustix::fs::{FlockOperation, flock};

use crate::bounded_file;
use crate::durable_write::where_it_can_be;

/// Largest head file that is read, in bytes.
const HEAD_BYTES: u64 = 16 * 1024;

/// The files of one chain.
#[derive(Debug, Clone)]
pub struct Chain {
    dir: PathBuf,
    name: String,
}

impl Chain {
    /// Names a chain in a data directory.
    pub fn new(data_dir: &Path, name: &str) -> Self {
        Self { dir: data_dir.join("audit"), name: name.to_owned() }
    }

    /// Returns the chain into which the command line writes what it does by itself, beside this one. No node's name
    /// has a `+`.
    pub fn local(&self) -> Self {
        Self { dir: self.dir.clone(), name: format!("{}+cli", self.name) }
    }

    /// Finds every chain of a data directory, in the order of their names.
    pub fn all(data_dir: &Path) -> io::Result<Vec<Self>> {
        let dir = data_dir.join("audit");
        let mut names = Vec::new();
        let entries = match fs::read_dir(&dir) {
            Ok(entries) => entries,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(e) => return Err(e),
        };
        for entry in entries {
            let entry = entry?;
            // Something else of such a name was never a log; the start names it.
            if !entry.file_type()?.is_file() {
                continue;
            }
            let file = entry.file_name();
            let Some(file) = file.to_str() else { continue };
            let name = file.strip_suffix(".head").or_else(|| file.strip_suffix(".jsonl"));
            if let Some(name) = name {
                names.push(name.split('@').next().unwrap_or(name).to_owned());
            }
        }
        names.sort();
        names.dedup();
        Ok(names.into_iter().map(|name| Self { dir: dir.clone(), name }).collect())
    }

    /// Returns the chain's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn active(&self) -> PathBuf {
        self.dir.join(format!("{}.jsonl", self.name))
    }

    pub(super) fn full(&self, first: u64) -> PathBuf {
        self.dir.join(format!("{}@{first:012}.jsonl", self.name))
    }

    pub(super) fn head_path(&self) -> PathBuf {
        self.dir.join(format!("{}.head", self.name))
    }

    /// Returns where the unfinished end before this record is set aside.
    pub(super) fn torn(&self, next: u64) -> PathBuf {
        self.dir.join(format!("{}.torn-{next}", self.name))
    }

    /// Returns the full files with the number of their first record, oldest first.
    pub(super) fn full_files(&self) -> io::Result<Vec<(u64, PathBuf)>> {
        let mut found = Vec::new();
        let entries = match fs::read_dir(&self.dir) {
            Ok(entries) => entries,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(found),
            Err(e) => return Err(e),
        };
        let start = format!("{}@", self.name);
        for entry in entries {
            let entry = entry?;
            let first = entry
                .file_name()
                .to_str()
                .and_then(|name| name.strip_prefix(&start)?.strip_suffix(".jsonl")?.parse().ok());
            found.extend(first.map(|first| (first, entry.path())));
        }
        found.sort();
        Ok(found)
    }

    /// Returns every file that exists, oldest first.
    pub(super) fn files(&self) -> io::Result<Vec<PathBuf>> {
        let mut files: Vec<PathBuf> = self.full_files()?.into_iter().map(|(_, path)| path).collect();
        if self.active().exists() {
            files.push(self.active());
        }
        Ok(files)
    }

    /// Makes the directory and takes the lock; `None` when somebody else has it.
    pub(super) fn lock(&self) -> io::Result<Option<File>> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.dir)?;
        let path = self.dir.join(format!("{}.lock", self.name));
        let file = bounded_file::open_own(&path)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(file)),
            Err(e) if e == rustix::io::Errno::WOULDBLOCK => Ok(None),
            Err(e) => Err(e.into()),
        }
    }

    /// Opens the file that is being written, for appending only.
    pub(super) fn append(&self) -> io::Result<File> {
        let file = bounded_file::append_own(&self.active())?;
        self.sync_dir()?;
        Ok(file)
    }

    /// Makes names in the directory durable.
    pub(super) fn sync_dir(&self) -> io::Result<()> {
        where_it_can_be(File::open(&self.dir).and_then(|dir| dir.sync_all()))
    }

    /// Reads the second copy of the end: `None` when there is none, and in words when it cannot be used.
    pub(super) fn read_head(&self) -> io::Result<Option<Result<HeadFile, FormatError>>> {
        let mut bytes = Vec::new();
        match bounded_file::open(&self.head_path()) {
            Ok(file) => file.take(HEAD_BYTES).read_to_end(&mut bytes)?,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(e),
        };
        Ok(Some(HeadFile::read(&bytes)))
    }

    /// Replaces the second copy of the end, whole or not at all.
    pub(super) fn write_head(&self, head: &HeadFile) -> io::Result<()> {
        let next = self.dir.join(format!("{}.head-new", self.name));
        // What a crash left there, or somebody planted, is neither written to nor followed.
        match fs::remove_file(&next) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            _ => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&next)?;
        file.write_all(head.text().as_bytes())?;
        file.sync_all()?;
        fs::rename(&next, self.head_path())
    }
}
