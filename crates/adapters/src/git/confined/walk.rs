//! Files of a tree, found by handles: no link is followed, no pipe waited for, no path too long. What git tracks or
//! would take is told apart from what the tree's rules leave out; everything else that is there is either found or named.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use mosaic_core::limits;
use rustix::fs::{self as rfs, AtFlags, FileType, Mode, Stat};
use rustix::io::Errno;

use super::error::{HarvestError, walking};
use super::found::{Content, File, Found, LONGEST, seen};
use super::left::{Left, Why};
use super::links::Links;
use super::mirror::Mirror;
use super::rules::{Rules, Verdict};
use crate::git::bundle_spec::Spec;
use crate::git::bundle_spec::salvage_state::is_odd;
use crate::git::handles;
use crate::git::index_file::Seen;

/// Deepest nesting of directories that is walked; each level keeps a directory open.
const DEPTH: usize = 800;
/// A walk through one tree.
pub(super) struct Walk<'a> {
    pub(super) spec: &'a Spec,
    pub(super) mirror: &'a Mirror,
    pub(super) rules: Rules,
    /// Paths that are tracked, by the tree or by a repository in it.
    pub(super) tracked: BTreeSet<Vec<u8>>,
    pub(super) links: &'a Links,
    pub(super) found: Found,
    /// Paths that ignore rules of the tree leave out, each without what is below it.
    pub(super) ignored: Vec<Vec<u8>>,
}

/// One name in a directory.
struct Name {
    path: Vec<u8>,
    name: Vec<u8>,
    stat: Stat,
}

impl<'a> Walk<'a> {
    pub(super) fn new(
        spec: &'a Spec,
        mirror: &'a Mirror,
        tracked: BTreeSet<Vec<u8>>,
        links: &'a Links,
    ) -> Result<Self, HarvestError> {
        let rules = Rules::new(&mirror.git, "rules").map_err(walking)?;
        Ok(Self { spec, mirror, rules, tracked, links, found: Found::default(), ignored: Vec::new() })
    }

    /// Walks everything below a directory but its own `.git`.
    pub(super) fn visit(&mut self, dir: &OwnedFd, below: &[u8], depth: usize) -> Result<(), HarvestError> {
        let names = handles::names(dir).map_err(walking)?;
        if names.is_empty() && !below.is_empty() {
            self.found.empty.push(below[..below.len() - 1].to_vec());
        }
        self.rules.enter(dir, below).map_err(walking)?;
        let mut here = Vec::new();
        for (name, _) in names.into_iter().filter(|(name, _)| name != b".git") {
            let path = [below, name.as_slice()].concat();
            // A file that was there in the listing and is gone now was removed by a program of the agent's that still runs,
            // and that is its right.
            match handles::look(dir, &name) {
                Ok(stat) => here.push(Name { path, name, stat }),
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(e) => return Err(walking(e)),
            }
        }
        let before = self.ignored.len();
        let left_out = self.left_out(&here);
        // A directory of which nothing is taken is told of as a whole.
        if !below.is_empty() && self.ignored.len() - before == here.len() && !here.is_empty() {
            self.ignored.truncate(before);
            self.ignored.push(below[..below.len() - 1].to_vec());
        }
        for one in here.into_iter().filter(|one| !left_out.contains(&one.path)) {
            self.entry(dir, one, depth)?;
        }
        match self.found.files.len() > limits::WALKER_FILES {
            true => Err(HarvestError::TooManyFiles),
            false => Ok(()),
        }
    }

    /// Asks which of these names the rules leave out; what is tracked never is.
    fn left_out(&mut self, here: &[Name]) -> BTreeSet<Vec<u8>> {
        let (mut asked, mut out) = (Vec::new(), BTreeSet::new());
        for one in here {
            if self.tracked.contains(&one.path) {
                continue;
            }
            let is_given = self.spec.outputs.iter().any(|path| path.as_os_str().as_bytes() == one.path);
            if handles::kind(&one.stat) != FileType::Directory {
                match is_given {
                    true => drop(out.insert(one.path.clone())),
                    false => asked.push(one.path.clone()),
                }
                continue;
            }
            let below = [one.path.as_slice(), b"/"].concat();
            let first = self.tracked.range(below.clone()..).next();
            // What the agent committed of it itself is its work like anything else.
            match first.is_none_or(|path| !path.starts_with(&below)) {
                true if is_given => drop(out.insert(one.path.clone())),
                true => asked.push(below),
                false => {}
            }
        }
        let verdicts = self.rules.leave_out(&asked);
        for (path, verdict) in asked.into_iter().zip(verdicts).filter(|(_, verdict)| *verdict != Verdict::In)
        {
            let path = path.strip_suffix(b"/").map(<[u8]>::to_vec).unwrap_or(path);
            match verdict {
                Verdict::Hidden => self.leave(path.clone(), Why::Hidden),
                _ => self.ignored.push(path.clone()),
            }
            out.insert(path);
        }
        out
    }

    fn entry(&mut self, dir: &OwnedFd, one: Name, depth: usize) -> Result<(), HarvestError> {
        let mode = one.stat.st_mode & 0o7777;
        match handles::kind(&one.stat) {
            FileType::Directory => self.directory(dir, one, mode, depth),
            FileType::RegularFile => self.file(dir, one, mode),
            FileType::Symlink => {
                let target = rfs::readlinkat(dir, one.name.as_slice(), Vec::new()).map_err(io::Error::from);
                let target = target.map_err(walking)?.into_bytes();
                self.take(
                    one.path,
                    File { mode, size: 0, content: Content::Link(target), seen: seen(&one.stat) },
                );
                Ok(())
            }
            other => {
                self.leave(one.path, Why::special(other));
                Ok(())
            }
        }
    }

    fn directory(&mut self, dir: &OwnedFd, one: Name, mode: u32, depth: usize) -> Result<(), HarvestError> {
        if depth > DEPTH {
            self.leave(one.path, Why::TooDeep);
            return Ok(());
        }
        let needed = 0o700;
        if mode & needed != needed {
            // When it fails, that shows when it is opened.
            let _ = rfs::chmodat(dir, one.name.as_slice(), bits(mode | needed), AtFlags::empty());
        }
        let here = match handles::enter_here(dir, &one.name) {
            Ok(here) => here,
            Err(e) if handles::is_mount(&e) => {
                self.leave(one.path, Why::Mounted);
                return Ok(());
            }
            Err(e) => {
                // Each level keeps a directory open, so that running out of handles means depth and not a fault of this
                // directory.
                let many = [Errno::MFILE, Errno::NFILE].map(|e| Some(e.raw_os_error()));
                let why = if many.contains(&e.raw_os_error()) { Why::TooDeep } else { Why::Unreadable };
                self.leave(one.path, why);
                return Ok(());
            }
        };
        self.found.directories.insert(one.path.clone(), mode);
        let is_repository = handles::look(&here, b".git").is_ok();
        // Of a submodule that is staged git itself takes nothing but its commit, whatever its directory holds.
        let link = self.links.current(&one.path).filter(|link| link.staged || is_repository);
        if link.is_some() || is_repository && self.is_dropped(&one.path) {
            return self.submodule(&here, &one.path, depth, link);
        }
        if is_repository {
            return self.nested(&here, &one.path, depth);
        }
        self.visit(&here, &[one.path.as_slice(), b"/"].concat(), depth + 1)
    }

    fn file(&mut self, dir: &OwnedFd, one: Name, mode: u32) -> Result<(), HarvestError> {
        if mode & 0o400 == 0 {
            // When it fails, that shows when it is looked at.
            let _ = rfs::chmodat(dir, one.name.as_slice(), bits(mode | 0o400), AtFlags::empty());
        }
        let readable = rfs::Access::READ_OK;
        let may = || rfs::accessat(dir, one.name.as_slice(), readable, AtFlags::EACCESS).is_ok();
        if one.stat.st_uid != rustix::process::geteuid().as_raw() && !may() || mode & 0o400 == 0 && !may() {
            self.leave(one.path, Why::Unreadable);
            return Ok(());
        }
        let mut content = Content::InTree;
        // git is given paths, and the kernel takes none that is longer. Here the file is reached by handles, whatever its
        // depth.
        if self.spec.tree.as_os_str().len() + one.path.len() >= LONGEST {
            content = Content::Copied(self.copy(dir, &one.name).map_err(walking)?);
        }
        // Its times may just have changed.
        let seen = if mode & 0o400 == 0 { Seen::default() } else { seen(&one.stat) };
        let size = u64::try_from(one.stat.st_size).unwrap_or(0);
        self.take(one.path, File { mode, size, content, seen });
        Ok(())
    }

    /// Takes a file or a link, in the commit or beside it.
    fn take(&mut self, path: Vec<u8>, file: File) {
        match refused(&path, file.is_link()) {
            None => drop(self.found.files.insert(path, file)),
            Some(why) => {
                self.leave(path.clone(), why);
                self.found.keep_beside(self.spec.tree.join(OsStr::from_bytes(&path)), path, file);
            }
        }
    }

    fn copy(&self, dir: &OwnedFd, name: &[u8]) -> io::Result<PathBuf> {
        let place = self.mirror.git.dir.join("copies");
        fs::create_dir_all(&place)?;
        let copy = place.join(uuid::Uuid::new_v4().simple().to_string());
        io::copy(&mut handles::open_plain(dir, name)?, &mut fs::File::create(&copy)?)?;
        Ok(copy)
    }

    pub(super) fn leave(&mut self, path: Vec<u8>, why: Why) {
        self.found.left.push(Left { path, why });
    }
}

/// Tells why a commit that others can check out cannot hold a path.
fn refused(path: &[u8], is_link: bool) -> Option<Why> {
    if path.len() >= LONGEST {
        return Some(Why::TooLong);
    }
    let modules = path.rsplit(|b| *b == b'/').next().unwrap_or_default();
    let is_modules = !is_link && modules.eq_ignore_ascii_case(b".gitmodules");
    // Only of `.gitmodules` git asks what it is: a link that pretends to be other settings is harmless.
    let is_strict = is_link && modules.to_ascii_lowercase().starts_with(b".gitmodules");
    (is_odd(path, false) && !is_modules || is_strict).then_some(Why::Refused)
}

fn bits(mode: u32) -> Mode {
    Mode::from_raw_mode(mode & 0o7777)
}
