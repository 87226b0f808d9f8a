//! Copying a directory of files that no tree of git can hold under their own names: git directories of repositories in
//! a tree. Nothing in them is followed, opened by git, or obeyed.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use mosaic_core::limits;

use super::found::{Beside, Content, Found};
use super::left::{Left, Why};
use crate::git::bundle_spec::salvage_state::{NESTED_GIT, RelPath};
use crate::private_place::read_plain;

/// Deepest nesting of directories that is copied.
const DEPTH: usize = 100;

/// Takes everything below a directory, or one file, whatever it is called. What is neither file nor link is left.
pub(crate) fn copy_all(from: &Path, to: &[u8], found: &mut Found) -> io::Result<()> {
    copy(from, to, found, 0)
}

fn copy(from: &Path, to: &[u8], found: &mut Found, depth: usize) -> io::Result<()> {
    let Ok(meta) = fs::symlink_metadata(from) else {
        found.left.push(Left { path: to.to_vec(), why: Why::Unreadable });
        return Ok(());
    };
    let mode = meta.mode() & 0o7777;
    if meta.is_dir() {
        if depth > DEPTH || found.beside.len() > limits::WALKER_FILES {
            return Err(io::Error::other("the data of a repository in the tree are too much"));
        }
        readable(from, mode, 0o700);
        let Ok(entries) = fs::read_dir(from) else {
            found.left.push(Left { path: to.to_vec(), why: Why::Unreadable });
            return Ok(());
        };
        let entries: Vec<_> = entries.collect::<io::Result<_>>()?;
        if entries.is_empty() {
            // Without its directories of refs git would not take it for a repository.
            found.empty.push(to.to_vec());
        }
        for entry in entries {
            let name = entry.file_name();
            // A repository below must not be one again when it is restored.
            let is_git = name.as_bytes().eq_ignore_ascii_case(b".git");
            let name = if is_git { NESTED_GIT } else { name.as_bytes() };
            copy(&entry.path(), &[to, b"/", name].concat(), found, depth + 1)?;
        }
        return Ok(());
    }
    let content = match (meta.is_file(), meta.is_symlink()) {
        (true, _) => Content::InTree,
        (_, true) => Content::Link(fs::read_link(from)?.as_os_str().as_bytes().to_vec()),
        _ => return Ok(()),
    };
    if content == Content::InTree {
        readable(from, mode, 0o400);
        if fs::File::open(from).is_err() {
            found.left.push(Left { path: to.to_vec(), why: Why::Unreadable });
            return Ok(());
        }
    }
    found.beside.push(Beside { source: from.to_owned(), path: RelPath(to.to_vec()), mode, content });
    Ok(())
}

/// The git directory of a nested repository: its `.git`, or what that file points to inside the tree's own `.git`.
pub(crate) fn git_dir(tree: &Path, nested: &Path) -> PathBuf {
    let dot = nested.join(".git");
    let pointed = || {
        let text = read_plain(&dot, limits::MARKER_BYTES).ok()?;
        let path = text.strip_prefix(b"gitdir: ")?;
        let path = path.strip_suffix(b"\n").unwrap_or(path);
        let path = nested.join(OsStr::from_bytes(path)).canonicalize().ok()?;
        path.starts_with(tree.canonicalize().ok()?.join(".git")).then_some(path)
    };
    pointed().unwrap_or(dot)
}

/// Gives the owner what it needs to read; the salvage knows what there was before.
fn readable(path: &Path, mode: u32, needed: u32) {
    if mode & needed != needed {
        // When it fails the file is left out.
        let _ = fs::set_permissions(path, fs::Permissions::from_mode(mode | needed));
    }
}
