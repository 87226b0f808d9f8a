//! The findings of a walk through a tree: files with where their content is, directories, and what no commit can hold.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::Stat;

use super::left::Left;
use crate::git::bundle_spec::Spec;
use crate::git::bundle_spec::salvage_state::RelPath;
use crate::git::index_file::Seen;

/// Longest path that git can write into a working tree, in bytes.
pub(super) const LONGEST: usize = 4000;

/// Where the content of a file is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Content {
    /// In the tree, under its path.
    InTree,
    /// In a copy made here, because its path is too long to be opened.
    Copied(PathBuf),
    /// It is a link with this target.
    Link(Vec<u8>),
}

/// One file or link.
#[derive(Debug, Clone)]
pub(crate) struct File {
    /// Permission bits.
    pub(crate) mode: u32,
    pub(crate) content: Content,
    /// In bytes.
    pub(super) size: u64,
    pub(super) seen: Seen,
}

impl File {
    pub(crate) fn is_link(&self) -> bool {
        matches!(self.content, Content::Link(_))
    }

    /// Returns the mode that a tree of git has for it.
    pub(crate) fn git_mode(&self) -> u32 {
        match (self.is_link(), self.mode & 0o100 != 0) {
            (true, _) => 0o120_000,
            (_, true) => 0o100_755,
            _ => 0o100_644,
        }
    }
}

/// A file that no tree that git accepts can hold where it is; it is kept beside, see `salvage_state`.
#[derive(Debug, Clone)]
pub(crate) struct Beside {
    /// Where it is.
    pub(crate) source: PathBuf,
    /// Where it is restored.
    pub(crate) path: RelPath,
    pub(crate) mode: u32,
    pub(crate) content: Content,
}

/// Result of a walk.
#[derive(Default)]
pub(crate) struct Found {
    pub(crate) files: BTreeMap<Vec<u8>, File>,
    /// Submodules that are there, with the commit that each is at.
    pub(crate) gitlinks: BTreeMap<Vec<u8>, String>,
    pub(crate) beside: Vec<Beside>,
    /// Directories with their permission bits.
    pub(crate) directories: BTreeMap<Vec<u8>, u32>,
    /// Those of them without any entry.
    pub(crate) empty: Vec<Vec<u8>>,
    /// Files that only the agent's own ignore rules leave out: for the salvage, not for the commit.
    pub(crate) ignored: BTreeMap<Vec<u8>, File>,
    /// Paths that a commit cannot hold, with the reason.
    pub(crate) left: Vec<Left>,
}

impl Found {
    pub(super) fn keep_beside(&mut self, source: PathBuf, path: Vec<u8>, file: File) {
        let File { mode, content, .. } = file;
        self.beside.push(Beside { source, path: RelPath(path), mode, content });
    }

    /// Forgets directories that hold nothing that is kept.
    pub(super) fn prune_directories(&mut self) {
        let parents = |path: &[u8]| -> Vec<Vec<u8>> {
            path.iter().enumerate().filter(|(_, b)| **b == b'/').map(|(at, _)| path[..at].to_vec()).collect()
        };
        let empty: BTreeSet<&Vec<u8>> = self.empty.iter().collect();
        let kept: BTreeSet<Vec<u8>> =
            self.files.keys().chain(&self.empty).flat_map(|path| parents(path)).collect();
        self.directories.retain(|path, _| kept.contains(path) || empty.contains(path));
    }
}

pub(super) fn seen(stat: &Stat) -> Seen {
    // As git writes them: the low 32 bits.
    let low = |number: i64| (number & 0xffff_ffff) as u32;
    let nanos = |number: u64| (number & 0xffff_ffff) as u32;
    Seen {
        ctime: (low(stat.st_ctime), nanos(stat.st_ctime_nsec)),
        mtime: (low(stat.st_mtime), nanos(stat.st_mtime_nsec)),
        inode: (stat.st_ino & 0xffff_ffff) as u32,
        size: low(stat.st_size),
    }
}

/// Returns the path of something in the tree.
pub(super) fn place(spec: &Spec, path: &[u8]) -> PathBuf {
    Path::new(&spec.tree).join(OsStr::from_bytes(path))
}
