//! Locks that a killed git leaves behind. In an agent's tree they are removed when everything of the agent is dead;
//! in our own bare repositories when nobody can hold them (see `cache::stale_locks`).

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{self as rfs, AtFlags, Dir, FileType, Mode, OFlags};

use crate::private_place::ASIDE;

const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Deepest nesting of directories in which locks are looked for: refs have names of at most 255 parts, and each
/// level keeps a file open.
const DEPTH: usize = 64;

/// Directories of a git directory in which no lock stands in anybody's way, and which may be very large.
fn is_skipped(name: &CStr, depth: usize) -> bool {
    let name = name.to_bytes();
    // Objects are written under names of their own; only `info` and `pack` have files that are replaced.
    let is_fanout = depth == 1 && name.len() == 2 && name.iter().all(u8::is_ascii_hexdigit);
    is_fanout || depth == 0 && matches!(name, b"lfs" | b"hooks")
}

/// Removes the locks in a tree whose agent is dead, without following any link. A tree without a usable `.git` has
/// none.
pub(super) fn clear_dead(tree: &Path) -> io::Result<()> {
    let tree = CString::new(tree.as_os_str().as_bytes()).map_err(io::Error::other)?;
    let tree = rfs::open(tree.as_c_str(), DIRECTORY, Mode::empty())?;
    let git = rfs::openat(&tree, c".git", DIRECTORY, Mode::empty())?;
    clear(&git, 0)
}

fn clear(dir: &OwnedFd, depth: usize) -> io::Result<()> {
    for entry in Dir::read_from(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        let found = match rfs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(rustix::io::Errno::NOENT) => continue,
            found => found?,
        };
        let kind = FileType::from_raw_mode(found.st_mode);
        if kind == FileType::Directory && depth < DEPTH && !is_skipped(name, depth) {
            match rfs::openat(dir, name, DIRECTORY, Mode::empty()) {
                Ok(below) => clear(&below, depth + 1)?,
                // Nothing of ours can be kept out of there but by the agent.
                Err(e) => eprintln!("not looked for locks in {}: {e}", name.to_string_lossy()),
            }
        } else if kind != FileType::Directory && name.to_bytes().ends_with(b".lock") {
            match rfs::unlinkat(dir, name, AtFlags::empty()) {
                Ok(()) | Err(rustix::io::Errno::NOENT) => {}
                Err(e) => return Err(e.into()),
            }
        }
    }
    Ok(())
}

fn is_left_over(name: &[u8]) -> bool {
    name.ends_with(b".lock") || name.starts_with(ASIDE.as_bytes())
}

/// Lists the locks in a bare repository of ours, and the files that were made aside to be put in place.
pub(super) fn find(bare: &Path) -> Vec<PathBuf> {
    fn collect(dir: &Path, depth: usize, all: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
            let (Ok(kind), name) = (entry.file_type(), entry.file_name()) else { continue };
            let skipped = CString::new(name.as_bytes()).is_ok_and(|name| is_skipped(&name, depth));
            if kind.is_dir() && depth < DEPTH && !skipped {
                collect(&entry.path(), depth + 1, all);
            } else if !kind.is_dir() && is_left_over(name.as_bytes()) {
                all.push(entry.path());
            }
        }
    }
    let mut all = Vec::new();
    collect(bare, 0, &mut all);
    all
}
