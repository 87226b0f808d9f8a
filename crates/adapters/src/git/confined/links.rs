//! The submodules of a tree. That the base has one at a path says it of the base alone: what the agent's
//! index and commits have there now decides, so that a submodule which was dropped, moved or turned into files stays so.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::OwnedFd;

use mosaic_core::limits;

use super::listing::Listing;
use super::mirror::Mirror;
use crate::git::index_file::{Entry, GITLINK};
use crate::git::{gitmodules, handles};

/// A submodule as the agent has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Link {
    pub(super) commit: String,
    /// It stands in the index, not in HEAD alone.
    pub(super) staged: bool,
}

/// The submodules of a tree.
pub(crate) struct Links {
    /// Those of the base, with their commits.
    base: BTreeMap<Vec<u8>, String>,
    /// Those of the index or of HEAD.
    current: BTreeMap<Vec<u8>, Link>,
    /// Paths that the `.gitmodules` file of the tree declares; only read where that matters.
    declared: BTreeSet<Vec<u8>>,
}

impl Links {
    pub(super) fn new(base: Listing, head: &Listing, mirror: &Mirror, tree: &OwnedFd) -> Self {
        let base = links_of(&base);
        let current = current(mirror.index.as_deref(), &links_of(head));
        let mut links = Self { base, current, declared: BTreeSet::new() };
        // `.gitmodules` is the agent's to write, so that it is read only where the base alone does not explain a link.
        if links.current.keys().any(|path| !links.base.contains_key(path)) {
            links.declared = declared(mirror, tree);
        }
        links
    }

    /// Tells whether a link at this path is one to a submodule, and not what git makes of a repository in the tree.
    pub(super) fn is_submodule(&self, path: &[u8]) -> bool {
        self.base.contains_key(path) || self.declared.contains(path)
    }

    /// Returns the submodule that the agent has at a path.
    pub(super) fn current(&self, path: &[u8]) -> Option<&Link> {
        self.current.get(path).filter(|_| self.is_submodule(path))
    }

    /// Tells whether the base has a submodule at a path.
    pub(super) fn is_of_base(&self, path: &[u8]) -> bool {
        self.base.contains_key(path)
    }

    /// Tells whether the base names this commit, at whatever path.
    pub(super) fn is_pinned(&self, commit: &str) -> bool {
        self.base.values().any(|pinned| pinned == commit)
    }
}

/// Returns the submodules of a listing, with their commits.
fn links_of(listing: &Listing) -> BTreeMap<Vec<u8>, String> {
    let links = listing.iter().filter(|(_, (mode, _))| *mode == GITLINK);
    links.map(|(path, (_, object))| (path.clone(), object.clone())).collect()
}

/// Returns the links of the index, and those of HEAD where the index has nothing else.
fn current(index: Option<&[Entry]>, head: &BTreeMap<Vec<u8>, String>) -> BTreeMap<Vec<u8>, Link> {
    let mut current = BTreeMap::new();
    let staged: BTreeSet<&[u8]> =
        index.iter().flat_map(|all| all.iter()).map(|e| e.path.as_slice()).collect();
    for (path, commit) in head {
        let below = [path, b"/".as_slice()].concat();
        let next = staged.range(below.as_slice()..).next();
        let is_other = staged.contains(path.as_slice()) || next.is_some_and(|next| next.starts_with(&below));
        if !is_other {
            current.insert(path.clone(), Link { commit: commit.clone(), staged: index.is_none() });
        }
    }
    for entry in index.iter().flat_map(|all| all.iter()).filter(|entry| entry.mode == GITLINK) {
        let link = Link { commit: entry.object.clone(), staged: true };
        // Of a conflict the first side counts, as long as it is not settled.
        current.entry(entry.path.clone()).or_insert(link);
    }
    current
}

/// Reads which paths the tree's `.gitmodules` declares.
fn declared(mirror: &Mirror, tree: &OwnedFd) -> BTreeSet<Vec<u8>> {
    let read = || {
        let text = handles::read_plain(tree, b".gitmodules", limits::GITMODULES_BYTES as u64).ok()?;
        // The text is handed over on the standard input and without includes: by name git would follow a link and read
        // further files that the agent names.
        let args = ["config", "--no-includes", "-z", "--file", "-", "--get-regexp", r"^submodule\."];
        mirror.git.ask(None, args, &text).ok()
    };
    let (all, _) = gitmodules::declared(&read().unwrap_or_default());
    all.into_iter().map(|one| one.path.into_bytes()).collect()
}
