//! Files that only the agent's own ignore rules leave out: `.gitignore` files that it made or changed, against those of the
//! base. The commit obeys the rules; what they hide is named, and kept in the salvage as far as it is not too much. What a
//! tool installs or builds anew (packages, caches) is only named.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::process::Stdio;

use mosaic_core::limits;
use rustix::fs::{self as rfs, AtFlags, FileType};

use super::found::{Content, File, Found, LONGEST, seen};
use super::left::{Fate, Ignored, Left, Why};
use super::listing::{Checkout, Listing};
use super::program::Git;
use super::rules::{Rules, Verdict};
use crate::git::bundle_spec::Spec;
use crate::git::handles;
use crate::git::output::next_object;

/// Name of the files with ignore rules.
const IGNORE_FILE: &[u8] = b".gitignore";
/// Directories that package managers and interpreters fill.
const REPRODUCIBLE: &[&[u8]] =
    &[b"node_modules", b"bower_components", b"__pycache__", b".gradle", b".tox", b".nox", b".terraform"];
/// First line of the file that marks a directory as a cache (<https://bford.info/cachedir/>).
const CACHE_MARK: &[u8] = b"Signature: 8a477f597d28d172789f06886806bc55";

/// The tree that is looked at.
pub(super) struct Tree<'a> {
    pub(super) spec: &'a Spec,
    pub(super) dir: &'a OwnedFd,
    pub(super) git: &'a Git,
    /// Rules as the agent left them.
    pub(super) rules: &'a Rules,
    pub(super) checkout: &'a Checkout,
}

/// Files that are left out together: one file, or a directory.
#[derive(Default)]
struct Group {
    path: Vec<u8>,
    files: BTreeMap<Vec<u8>, File>,
    count: u64,
    bytes: u64,
    is_more: bool,
    is_reproducible: bool,
    /// It holds something that a salvage cannot keep under its path.
    is_stubborn: bool,
}

/// Lists the files with ignore rules of a commit, with their objects.
pub(super) fn rules_of(listing: &Listing) -> Vec<(Vec<u8>, String)> {
    let is_rules = |path: &[u8], mode: u32| {
        mode & 0o170_000 == 0o100_000 && path.rsplit(|b| *b == b'/').next() == Some(IGNORE_FILE)
    };
    let rules = listing.iter().filter(|(path, (mode, _))| is_rules(path, *mode));
    rules.map(|(path, (_, object))| (path.clone(), object.clone())).collect()
}

/// Finds what of these paths the rules of the base would not leave out.
pub(super) fn find(tree: &Tree<'_>, out: Vec<Vec<u8>>, of_base: &[(Vec<u8>, String)], found: &mut Found) {
    if out.is_empty() {
        return;
    }
    let groups = base_rules(tree, of_base).map(|base| match base {
        Some(base) => Search { tree, base, counted: 0, waiting: Vec::new() }.groups(out),
        None => Vec::new(),
    });
    let groups = groups.unwrap_or_else(|e| {
        eprintln!("what the agent's own ignore rules leave out could not be told: {e}");
        Vec::new()
    });
    keep(groups, found);
}

/// Writes the rules of the base into a tree of their own; none when the agent's rules are the same.
fn base_rules(tree: &Tree<'_>, of_base: &[(Vec<u8>, String)]) -> io::Result<Option<Rules>> {
    let rules = Rules::new(tree.git, "base-rules")?;
    let texts = read_all(tree.git, of_base)?;
    let mut known = BTreeSet::new();
    for ((path, _), text) in of_base.iter().zip(texts) {
        let text = text.filter(|text| text.len() as u64 <= limits::RULES_BYTES).unwrap_or_default();
        // Most agents never touch an ignore file. Where none differs nothing can be hidden by one, and the whole search is
        // saved.
        let same = tree.rules.placed(path).is_some_and(|at| fs::read(at).is_ok_and(|now| now == text));
        if same {
            known.insert(path.as_slice());
        }
        rules.place(path, |at| fs::write(at, &text))?;
    }
    let is_same = tree.rules.ignore_files.iter().all(|path| known.contains(path.as_slice()));
    Ok((!is_same).then_some(rules))
}

/// Reads files of a commit; of what is too much in all, nothing is read any more.
fn read_all(git: &Git, files: &[(Vec<u8>, String)]) -> io::Result<Vec<Option<Vec<u8>>>> {
    if files.is_empty() {
        return Ok(Vec::new());
    }
    let ask: String = files.iter().map(|(_, object)| format!("{object}\n")).collect();
    let mut command = git.command(["cat-file", "--batch"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
    let mut text = Vec::new();
    let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
    let read = std::thread::scope(|scope| {
        scope.spawn(move || stdin.map(|mut stdin| stdin.write_all(ask.as_bytes())));
        // A reader that goes away ends the child.
        stdout.map_or(Ok(0), |out| out.take(limits::LISTING_BYTES as u64).read_to_end(&mut text))
    });
    let ended = child.wait();
    read.and(ended)?;
    let mut rest = text.as_slice();
    Ok(files.iter().map(|_| next_object(&mut rest).map(<[u8]>::to_vec)).collect())
}

/// A search through what is left out.
struct Search<'a> {
    tree: &'a Tree<'a>,
    base: Rules,
    counted: u64,
    /// Directories found on the way that are groups of their own.
    waiting: Vec<Vec<u8>>,
}

impl Search<'_> {
    fn groups(mut self, out: Vec<Vec<u8>>) -> Vec<Group> {
        let mut groups = Vec::new();
        let (dirs, files) = out.into_iter().partition(|path| self.is_directory(path));
        for path in self.only_new(files, b"") {
            groups.extend(self.group(path, false));
        }
        self.waiting = self.only_new(dirs, b"/");
        while let Some(path) = self.waiting.pop() {
            groups.extend(self.group(path, true));
        }
        groups.retain(|group| group.count > 0 || group.is_stubborn);
        groups
    }

    /// Leaves those paths that the base's rules do not leave out.
    fn only_new(&mut self, paths: Vec<Vec<u8>>, end: &[u8]) -> Vec<Vec<u8>> {
        let asked: Vec<Vec<u8>> = paths.iter().map(|path| [path, end].concat()).collect();
        let verdicts = self.base.leave_out(&asked);
        paths.into_iter().zip(verdicts).filter(|(_, v)| *v != Verdict::Out).map(|(path, _)| path).collect()
    }

    /// Opens the directory in which something lies, and returns the last part of its path.
    fn above<'p>(&self, path: &'p [u8]) -> io::Result<(OwnedFd, &'p [u8])> {
        let parts: Vec<&[u8]> = path.split(|b| *b == b'/').collect();
        let (last, above) = parts.split_last().ok_or(io::ErrorKind::NotFound)?;
        match above.is_empty() {
            true => Ok((self.tree.dir.try_clone()?, *last)),
            false => Ok((handles::descend(self.tree.dir, above)?, *last)),
        }
    }

    fn is_directory(&self, path: &[u8]) -> bool {
        let stat = self.above(path).and_then(|(dir, name)| handles::look(dir, name));
        stat.is_ok_and(|stat| handles::kind(&stat) == FileType::Directory)
    }

    fn group(&mut self, path: Vec<u8>, is_directory: bool) -> Option<Group> {
        let mut group = Group { path: path.clone(), ..Group::default() };
        // What is gone by now is not there to be lost.
        let (dir, name) = self.above(&path).ok()?;
        if !is_directory {
            self.file(&dir, name, path.clone(), &mut group);
            return Some(group);
        }
        let here = match handles::enter_here(&dir, name) {
            Ok(here) => here,
            // What is mounted there is not the agent's.
            Err(e) if handles::is_mount(&e) => return None,
            Err(_) => {
                group.is_stubborn = true;
                return Some(group);
            }
        };
        // A directory of dependencies has more files than the rest of the tree together. Its tool makes it anew, so that it
        // is counted and not kept.
        group.is_reproducible = is_reproducible(&here, name);
        let mut left = vec![path];
        while let Some(path) = left.pop().filter(|_| self.counted < limits::IGNORED_COUNTED) {
            if self.directory(&path, &mut group, &mut left).is_err() {
                group.is_stubborn = true;
            }
        }
        // The count bounds the time of a search through what an agent can make as large as its disk; from here on "at least
        // so many" is said.
        group.is_more = self.counted >= limits::IGNORED_COUNTED;
        Some(group)
    }

    /// Takes what lies in a directory; directories in it wait.
    fn directory(&mut self, path: &[u8], group: &mut Group, left: &mut Vec<Vec<u8>>) -> io::Result<()> {
        let (above, name) = self.above(path)?;
        let here = handles::enter_here(&above, name)?;
        let (mut files, mut dirs) = (Vec::new(), Vec::new());
        for (name, _) in handles::names(&here)? {
            let Ok(stat) = handles::look(&here, &name) else { continue };
            let path = [path, b"/", name.as_slice()].concat();
            // A repository cannot be kept under the name that git obeys.
            group.is_stubborn |= name == b".git";
            match handles::kind(&stat) {
                FileType::Directory => dirs.push(path),
                _ => files.push(path),
            }
        }
        let files = self.only_new(files, b"");
        for path in files {
            let name = path.rsplit(|b| *b == b'/').next().unwrap_or_default().to_vec();
            self.file(&here, &name, path, group);
        }
        for path in self.only_new(dirs, b"/") {
            let name = path.rsplit(|b| *b == b'/').next().unwrap_or_default();
            let is_other = !group.is_reproducible
                && handles::enter_here(&here, name).is_ok_and(|dir| is_reproducible(&dir, name));
            match is_other {
                true => self.waiting.push(path),
                false => left.push(path),
            }
        }
        Ok(())
    }

    fn file(&mut self, dir: &OwnedFd, name: &[u8], path: Vec<u8>, group: &mut Group) {
        let Ok(stat) = handles::look(dir, name) else { return };
        let content = match handles::kind(&stat) {
            FileType::RegularFile => Ok(Content::InTree),
            FileType::Symlink => rfs::readlinkat(dir, name, Vec::new())
                .map(|target| Content::Link(target.into_bytes()))
                .map_err(io::Error::from),
            // A pipe or a socket has no content.
            _ => return,
        };
        let size = u64::try_from(stat.st_size).unwrap_or(0);
        let mode = stat.st_mode & 0o7777;
        let may_read = rfs::accessat(dir, name, rfs::Access::READ_OK, AtFlags::EACCESS).is_ok();
        let is_long = self.tree.spec.tree.as_os_str().len() + path.len() >= LONGEST;
        let Ok(content) = content else { return };
        let is_link = matches!(content, Content::Link(_));
        group.is_stubborn |= is_long || !is_link && !may_read;
        let file = File { mode, size: if is_link { 0 } else { size }, content, seen: seen(&stat) };
        if self.tree.checkout.unchanged(&path, &file).is_some() {
            // It came with the base.
            return;
        }
        self.counted += 1;
        group.count += 1;
        group.bytes = group.bytes.saturating_add(file.size);
        if group.count <= limits::IGNORED_FILES && !group.is_reproducible {
            group.files.insert(path, file);
        }
    }
}

/// Tells whether a tool fills a directory of this kind anew.
fn is_reproducible(dir: &OwnedFd, name: &[u8]) -> bool {
    let is_cache = || {
        let mut start = Vec::new();
        let read = handles::open_plain(dir, b"CACHEDIR.TAG")
            .and_then(|file| file.take(CACHE_MARK.len() as u64).read_to_end(&mut start));
        read.is_ok() && start == CACHE_MARK
    };
    REPRODUCIBLE.contains(&name) || handles::open_plain(dir, b"pyvenv.cfg").is_ok() || is_cache()
}

/// Takes the smallest groups for the salvage, as long as there is room, and names all of them.
fn keep(mut groups: Vec<Group>, found: &mut Found) {
    // The smallest first: an `.env` file of a few bytes must not fall victim to a build directory that came before it.
    groups.sort_by_key(|group| (group.bytes, group.count));
    let (mut files, mut bytes) = (limits::IGNORED_FILES, limits::IGNORED_BYTES);
    let mut left = Vec::new();
    for mut group in groups {
        let fits = !group.is_stubborn && !group.is_more && group.count <= files && group.bytes <= bytes;
        let fate = match (group.is_reproducible, fits) {
            (true, _) => Fate::Reproducible,
            (_, true) => Fate::Salvaged,
            _ => Fate::TooMuch,
        };
        if fate == Fate::Salvaged {
            files -= group.count;
            bytes -= group.bytes;
            found.ignored.append(&mut group.files);
        }
        let extent = Ignored { files: group.count, bytes: group.bytes, is_more: group.is_more, fate };
        left.push(Left { path: group.path, why: Why::Ignored(extent) });
    }
    left.sort_by(|one, other| one.path.cmp(&other.path));
    found.left.append(&mut left);
}
