//! Finding what is in a tree: real files and links, told apart without following anything, narrowed to what git
//! tracks or would take (what is ignored is left), and the files of nested repositories, which git leaves out.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use mosaic_core::limits;

use super::harvest::Git;
use super::salvage::ask;
use super::salvage_state::{NESTED_GIT, RelPath};

/// Deepest nesting of directories that is walked.
const DEPTH: usize = 1000;

/// What a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    File,
    Link,
}

/// One file or link.
#[derive(Debug, Clone, Copy)]
pub(super) struct File {
    pub(super) kind: Kind,
    /// Permission bits.
    pub(super) mode: u32,
}

/// A file of a nested repository.
pub(super) struct Nested {
    /// Where it is.
    pub(super) source: PathBuf,
    /// Where it is restored.
    pub(super) path: RelPath,
    pub(super) mode: u32,
    pub(super) kind: Kind,
}

/// What was found.
#[derive(Default)]
pub(super) struct Found {
    pub(super) files: BTreeMap<Vec<u8>, File>,
    pub(super) gitlinks: BTreeMap<Vec<u8>, String>,
    pub(super) nested: Vec<Nested>,
    /// Directories with their permission bits.
    pub(super) directories: BTreeMap<Vec<u8>, u32>,
    /// Those of them without any entry.
    pub(super) empty: Vec<Vec<u8>>,
    pub(super) left_out: Vec<Vec<u8>>,
}

/// Everything below a directory except `.git`.
#[derive(Default)]
struct Walked {
    files: BTreeMap<Vec<u8>, File>,
    directories: BTreeMap<Vec<u8>, u32>,
    empty: Vec<Vec<u8>>,
    left_out: Vec<Vec<u8>>,
    /// Directories below the top with a `.git` of their own; they are not entered.
    nested: Vec<Vec<u8>>,
    /// Take `.git` like any other name: for the inside of git directories.
    inside_git: bool,
}

/// Finds what belongs to the tree's work.
pub(super) fn find(tree: &Path, git: &Git) -> Result<Found, String> {
    let say = |e: io::Error| format!("walking the tree: {e}");
    let mut walked = Walked::default();
    walked.walk(tree, &mut Vec::new(), 0).map_err(say)?;
    let listed = list(git, &["--cached", "--others", "--exclude-standard"])?;
    let listed: BTreeSet<&[u8]> = listed.split(|b| *b == 0).filter(|p| !p.is_empty()).collect();
    let mut found = Found { directories: walked.directories, ..Found::default() };
    found.files.extend(walked.files.into_iter().filter(|(path, _)| listed.contains(path.as_slice())));
    // What cannot be kept is told about even when it is not listed: git leaves out what is no file.
    found.left_out = walked.left_out;
    for path in &walked.nested {
        found.nested_repository(tree, git, path, &listed).map_err(say)?;
    }
    let ignored = ignored(git, walked.empty.iter().chain(found.directories.keys()));
    found.empty = walked.empty.into_iter().filter(|path| !ignored.contains(path)).collect();
    let empty: BTreeSet<&Vec<u8>> = found.empty.iter().collect();
    let kept: BTreeSet<Vec<u8>> =
        found.files.keys().chain(&found.empty).flat_map(|path| parents(path)).collect();
    found.directories.retain(|path, _| kept.contains(path) || empty.contains(path));
    Ok(found)
}

fn list(git: &Git, what: &[&str]) -> Result<Vec<u8>, String> {
    let args = || ["ls-files", "-z"].into_iter().chain(what.iter().copied());
    ask(git, None, args(), &[]).or_else(|_| {
        // An index that cannot be read: what HEAD has stands for it.
        let index = std::env::temp_dir().join(format!("index-{}", uuid::Uuid::new_v4().simple()));
        let listed = ask(git, Some(&index), ["read-tree", "HEAD"], &[])
            .and_then(|_| ask(git, Some(&index), args(), &[]));
        let _ = fs::remove_file(&index);
        listed
    })
}

/// Asks which of these directories the ignore rules leave out. When they cannot be asked none is.
fn ignored<'a>(git: &Git, paths: impl Iterator<Item = &'a Vec<u8>>) -> BTreeSet<Vec<u8>> {
    let asked: Vec<u8> = paths.flat_map(|path| [path.as_slice(), b"/\0"].concat()).collect();
    if asked.is_empty() {
        return BTreeSet::new();
    }
    let out = ask(git, None, ["check-ignore", "-z", "--stdin", "--no-index"], &asked).unwrap_or_default();
    out.split(|b| *b == 0).map(|p| p.strip_suffix(b"/").unwrap_or(p).to_vec()).collect()
}

fn parents(path: &[u8]) -> impl Iterator<Item = Vec<u8>> + '_ {
    path.iter().enumerate().filter(|(_, b)| **b == b'/').map(|(at, _)| path[..at].to_vec())
}

impl Found {
    /// Takes a nested repository's files and its git directory, unless the whole is ignored.
    fn nested_repository(
        &mut self,
        tree: &Path,
        git: &Git,
        path: &[u8],
        listed: &BTreeSet<&[u8]>,
    ) -> io::Result<()> {
        let slashed = [path, b"/"].concat();
        let tracked = listed.contains(path);
        let touched = listed.range(slashed.as_slice()..).next().is_some_and(|p| p.starts_with(&slashed));
        if !tracked && !touched {
            return Ok(());
        }
        let here = tree.join(OsStr::from_bytes(path));
        if tracked {
            let own = Git { dir: git_dir(tree, &here), ..git.clone() };
            let args = ["rev-parse", "--verify", "--quiet", "HEAD^{commit}"];
            let staged = || staged_link(git, path);
            let head =
                ask(&own, None, args, &[]).ok().map(|out| String::from_utf8_lossy(&out).trim().to_owned());
            if let Some(object) = head.or_else(staged) {
                self.gitlinks.insert(path.to_vec(), object);
            }
        }
        let mut walked = Walked::default();
        walked.walk(&here, &mut Vec::new(), 0)?;
        let own = Git { dir: git_dir(tree, &here), tree: here.clone(), ..git.clone() };
        let wanted = list(&own, &["--cached", "--others", "--exclude-standard"]).ok();
        let wanted: Option<BTreeSet<&[u8]>> = wanted.as_ref().map(|w| w.split(|b| *b == 0).collect());
        for (inner, file) in walked.files {
            if wanted.as_ref().is_none_or(|wanted| wanted.contains(inner.as_slice())) {
                self.take_nested(
                    here.join(OsStr::from_bytes(&inner)),
                    [&slashed, inner.as_slice()].concat(),
                    file,
                );
            }
        }
        for deeper in walked.nested {
            self.copy_all(&here.join(OsStr::from_bytes(&deeper)), &[&slashed, deeper.as_slice()].concat())?;
        }
        let place = [&slashed, NESTED_GIT].concat();
        self.copy_all(&git_dir(tree, &here), &place)
    }

    /// Takes everything below a directory, or one file, whatever it is called.
    fn copy_all(&mut self, from: &Path, to: &[u8]) -> io::Result<()> {
        let meta = fs::symlink_metadata(from)?;
        if !meta.is_dir() {
            let kind = if meta.is_symlink() { Kind::Link } else { Kind::File };
            self.take_nested(from.to_owned(), to.to_vec(), File { kind, mode: meta.mode() & 0o7777 });
            return Ok(());
        }
        let mut walked = Walked { inside_git: true, ..Walked::default() };
        walked.walk(from, &mut Vec::new(), 0)?;
        for (inner, file) in walked.files {
            // A repository below must not be one again when it is restored.
            let inner_safe = renamed(&inner);
            self.take_nested(
                from.join(OsStr::from_bytes(&inner)),
                [to, b"/", inner_safe.as_slice()].concat(),
                file,
            );
        }
        Ok(())
    }

    fn take_nested(&mut self, source: PathBuf, path: Vec<u8>, file: File) {
        self.nested.push(Nested { source, path: RelPath(path), mode: file.mode, kind: file.kind });
    }
}

/// The object that the index has for a nested repository.
fn staged_link(git: &Git, path: &[u8]) -> Option<String> {
    let out = ask(
        git,
        None,
        [
            OsStr::new("ls-files"),
            OsStr::new("-s"),
            OsStr::new("-z"),
            OsStr::new("--"),
            OsStr::from_bytes(path),
        ],
        &[],
    )
    .ok()?;
    let text = String::from_utf8_lossy(&out).into_owned();
    text.split(' ').nth(1).filter(|_| text.starts_with("160000")).map(str::to_owned)
}

fn renamed(path: &[u8]) -> Vec<u8> {
    let parts: Vec<&[u8]> = path
        .split(|b| *b == b'/')
        .map(|part| if part.eq_ignore_ascii_case(b".git") { NESTED_GIT } else { part })
        .collect();
    parts.join(&b'/')
}

/// The git directory of a nested repository: its `.git`, or what that file points to inside the tree's own `.git`.
fn git_dir(tree: &Path, nested: &Path) -> PathBuf {
    let dot = nested.join(".git");
    let pointed = || {
        if !fs::symlink_metadata(&dot).ok()?.is_file() {
            return None;
        }
        let text = fs::read(&dot).ok()?;
        let path = text.strip_prefix(b"gitdir: ")?;
        let path = path.strip_suffix(b"\n").unwrap_or(path);
        let path = nested.join(OsStr::from_bytes(path)).canonicalize().ok()?;
        path.starts_with(tree.canonicalize().ok()?.join(".git")).then_some(path)
    };
    pointed().unwrap_or(dot)
}

impl Walked {
    fn walk(&mut self, dir: &Path, below: &mut Vec<u8>, depth: usize) -> io::Result<()> {
        if depth > DEPTH {
            return Err(io::Error::other("directories are nested too deeply"));
        }
        let mut entries: Vec<_> = fs::read_dir(dir)?.collect::<io::Result<_>>()?;
        entries.sort_by_key(fs::DirEntry::file_name);
        if entries.is_empty() && !below.is_empty() {
            self.empty.push(below[..below.len() - 1].to_vec());
        }
        let length = below.len();
        for entry in entries {
            let name = entry.file_name();
            if name == ".git" && !self.inside_git {
                continue;
            }
            below.extend_from_slice(name.as_bytes());
            self.entry(&entry.path(), below, depth)?;
            below.truncate(length);
            if self.files.len() > limits::WALKER_FILES {
                return Err(io::Error::other(format!("there are more than {} files", limits::WALKER_FILES)));
            }
        }
        Ok(())
    }

    fn entry(&mut self, path: &Path, below: &mut Vec<u8>, depth: usize) -> io::Result<()> {
        let meta = fs::symlink_metadata(path)?;
        let mode = meta.mode() & 0o7777;
        if meta.is_dir() {
            if !self.inside_git && fs::symlink_metadata(path.join(".git")).is_ok() {
                self.nested.push(below.clone());
                return Ok(());
            }
            readable(path, mode, 0o700);
            self.directories.insert(below.clone(), mode);
            below.push(b'/');
            return match self.walk(path, below, depth + 1) {
                Err(e) if e.kind() == io::ErrorKind::PermissionDenied => {
                    self.left_out.push(below.clone());
                    Ok(())
                }
                other => other,
            };
        }
        let kind = match (meta.is_file(), meta.is_symlink()) {
            (true, _) => Kind::File,
            (_, true) => Kind::Link,
            _ => {
                self.left_out.push(below.clone());
                return Ok(());
            }
        };
        if kind == Kind::File {
            readable(path, mode, 0o400);
            if fs::File::open(path).is_err() {
                eprintln!("left out, unreadable: {}", path.display());
                self.left_out.push(below.clone());
                return Ok(());
            }
        }
        self.files.insert(below.clone(), File { kind, mode });
        Ok(())
    }
}

/// Gives the owner what it needs to read; the salvage knows what there was before.
fn readable(path: &Path, mode: u32, needed: u32) {
    if mode & needed != needed {
        // When it fails the file is left out, and said so.
        let _ = fs::set_permissions(path, fs::Permissions::from_mode(mode | needed));
    }
}
