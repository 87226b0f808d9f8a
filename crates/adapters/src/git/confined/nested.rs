//! Repositories inside a tree. One that the base does not name as a submodule gives its files to the commit like every
//! other directory; its `.git` is kept beside, under a name that git does not obey. Other working trees of the same
//! repository, and what a submodule holds beyond its commit, are kept beside as a whole.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use mosaic_core::limits;

use super::error::{HarvestError, walking};
use super::found::{Content, File, Found, place};
use super::left::Why;
use super::links::Link;
use super::mirror::Mirror;
use super::walk::Walk;
use super::{listing, quoting, salvage_files, salvage_tips};
use crate::git::bundle_spec::salvage_state::{self, NESTED_GIT};
use crate::git::handles;
use crate::git::index_file::{self, GITLINK};

impl Walk<'_> {
    /// Takes a repository that the base does not know.
    pub(super) fn nested(&mut self, here: &OwnedFd, path: &[u8], depth: usize) -> Result<(), HarvestError> {
        let inside = [path, b"/"].concat();
        if self.is_worktree(here, path) {
            self.leave(path.to_vec(), Why::Worktree);
            return self.beside(here, path, depth);
        }
        for entry in self.tracked_inside(here, path) {
            self.tracked.insert([&inside, entry.path.as_slice()].concat());
        }
        self.leave([&inside, b".git".as_slice()].concat(), Why::Repository);
        // Its commits exist nowhere else. Under its own name git would take the directory for a submodule, and the files
        // would be published as a link to nothing.
        self.keep_git_dir(path).map_err(walking)?;
        self.visit(here, &inside, depth + 1)
    }

    /// Tells whether a repository is a submodule of the base that the agent has taken out of its commits.
    pub(super) fn is_dropped(&self, path: &[u8]) -> bool {
        let modules = self.spec.tree.join(".git/modules");
        let git_dir = salvage_files::git_dir(&self.spec.tree, &place(self.spec, path));
        let modules = modules.canonicalize().unwrap_or(modules);
        self.links.is_of_base(path) && git_dir.starts_with(modules)
    }

    /// Takes a submodule: the commit that it is at, unless the agent's commits have none there, and beside that what no
    /// commit of ours can say.
    pub(super) fn submodule(
        &mut self,
        here: &OwnedFd,
        path: &[u8],
        depth: usize,
        link: Option<&Link>,
    ) -> Result<(), HarvestError> {
        let git_dir = self.git_dir(here, path);
        let mirror = git_dir
            .as_ref()
            .and_then(|dir| Mirror::of_nested(self.spec, &handles::open_directory(dir).ok()?, dir).ok());
        let at = mirror.as_ref().and_then(|mirror| mirror.head.clone());
        let at = at.or_else(|| link.map(|link| link.commit.clone())).unwrap_or_default();
        if link.is_some() {
            self.found.gitlinks.insert(path.to_vec(), at.clone());
        }
        let is_known = self.links.is_pinned(&at);
        let inner = self.collect(here, path, depth)?;
        let is_clean = match &mirror {
            Some(mirror) => is_known && is_clean(mirror, path, &inner, self),
            None => inner.files.is_empty() && inner.beside.is_empty() && is_known,
        };
        if is_clean {
            return Ok(());
        }
        self.leave(path.to_vec(), Why::Submodule);
        self.take_beside(inner);
        match git_dir {
            Some(_) => self.keep_git_dir(path).map_err(walking),
            None => Ok(()),
        }
    }

    fn beside(&mut self, here: &OwnedFd, path: &[u8], depth: usize) -> Result<(), HarvestError> {
        let inner = self.collect(here, path, depth)?;
        self.take_beside(inner);
        self.keep_git_dir(path).map_err(walking)
    }

    /// Walks a directory of its own.
    fn collect(&mut self, here: &OwnedFd, path: &[u8], depth: usize) -> Result<Found, HarvestError> {
        let outer = std::mem::take(&mut self.found);
        let ignored = self.ignored.len();
        let walked = self.visit(here, &[path, b"/"].concat(), depth + 1);
        let inner = std::mem::replace(&mut self.found, outer);
        // Another repository's rules are not to be compared with those of our base.
        self.ignored.truncate(ignored);
        walked.map(|()| inner)
    }

    fn take_beside(&mut self, inner: Found) {
        for (path, file) in inner.files {
            self.found.keep_beside(place(self.spec, &path), path, file);
        }
        self.found.beside.extend(inner.beside);
        self.found.empty.extend(inner.empty.into_iter().filter(|path| salvage_state::is_of_git_dir(path)));
        self.found.left.extend(inner.left);
    }

    /// Keeps a repository's git directory under a name that git does not obey.
    fn keep_git_dir(&mut self, path: &[u8]) -> io::Result<()> {
        let from = salvage_files::git_dir(&self.spec.tree, &place(self.spec, path));
        salvage_files::copy_all(&from, &[path, b"/", NESTED_GIT].concat(), &mut self.found)
    }

    /// Finds the git directory of a repository inside the tree; none when there is none that is a directory.
    fn git_dir(&self, here: &OwnedFd, path: &[u8]) -> Option<PathBuf> {
        handles::look(here, b".git").ok()?;
        let dir = salvage_files::git_dir(&self.spec.tree, &place(self.spec, path));
        handles::open_directory(&dir).is_ok().then_some(dir)
    }

    fn tracked_inside(&self, here: &OwnedFd, path: &[u8]) -> Vec<index_file::Entry> {
        let read = || {
            let dir = handles::open_directory(&self.git_dir(here, path)?).ok()?;
            let bytes = handles::read_plain(&dir, b"index", limits::INDEX_BYTES).ok()?;
            index_file::parse(&bytes, self.spec.base.len() == 64)
        };
        read().unwrap_or_default()
    }

    /// Tells whether it is a working tree of the tree's own repository.
    fn is_worktree(&self, here: &OwnedFd, path: &[u8]) -> bool {
        let own = self.spec.tree.join(".git/worktrees");
        handles::open_plain(here, b".git").is_ok()
            && salvage_files::git_dir(&self.spec.tree, &place(self.spec, path)).starts_with(own)
    }
}

/// Tells whether a submodule holds exactly what its commit does, and its repository no commit besides.
fn is_clean(mirror: &Mirror, path: &[u8], inner: &Found, walk: &Walk<'_>) -> bool {
    let (Some(index), Some(head)) = (&mirror.index, &mirror.head) else { return false };
    if salvage_tips::beside(mirror, head) {
        return false;
    }
    let Ok(committed) = listing::of_commit(&mirror.git, head) else { return false };
    let staged: BTreeMap<&[u8], &index_file::Entry> = index.iter().map(|e| (e.path.as_slice(), e)).collect();
    let same = |(path, (mode, object)): (&Vec<u8>, &(u32, String))| {
        staged.get(path.as_slice()).is_some_and(|e| e.mode == *mode && e.object == *object && e.stage == 0)
    };
    if committed.len() != index.len() || !committed.iter().all(same) || !inner.beside.is_empty() {
        return false;
    }
    let skip = path.len() + 1;
    let files = index.iter().filter(|e| e.mode != GITLINK && !e.skipped).count();
    let mut doubtful = Vec::new();
    for (path, file) in &inner.files {
        match staged.get(&path[skip..]) {
            Some(entry) if entry.mode != file.git_mode() => return false,
            Some(entry) if entry.seen == file.seen => {}
            Some(entry) if file.content == Content::InTree => doubtful.push((path, entry.object.clone())),
            Some(entry) => doubtful.push((path, entry.object.clone())),
            None => return false,
        }
    }
    files == inner.files.len() && same_content(mirror, inner, &doubtful, walk)
}

fn same_content(mirror: &Mirror, inner: &Found, doubtful: &[(&Vec<u8>, String)], walk: &Walk<'_>) -> bool {
    let is_link = |file: &File| matches!(file.content, Content::Link(_));
    if doubtful.iter().any(|(path, _)| inner.files.get(*path).is_none_or(is_link)) {
        return false;
    }
    let list: Vec<u8> = doubtful
        .iter()
        .flat_map(|(path, _)| {
            (quoting::quoted(place(walk.spec, path).as_os_str().as_bytes()) + "\n").into_bytes()
        })
        .collect();
    let hashed = mirror.git.ask(None, ["hash-object", "--no-filters", "--stdin-paths"], &list);
    let hashed = hashed.unwrap_or_default();
    let hashed = String::from_utf8_lossy(&hashed).into_owned();
    doubtful.is_empty() || hashed.lines().eq(doubtful.iter().map(|(_, object)| object.as_str()))
}
