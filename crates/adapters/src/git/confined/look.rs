//! A tree that was looked at: its git directory as data, everything that lies in it, and what of that no commit can hold.

use std::collections::BTreeSet;
use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use mosaic_core::limits;

use super::error::{self, HarvestError};
use super::found::{File, Found, place};
use super::ignored::{self, Tree};
use super::left::{Left, Why};
use super::links::Links;
use super::listing::{self, Checkout, Listing};
use super::mirror::Mirror;
use super::under_way::merge_heads;
use super::walk::Walk;
use crate::git::bundle_spec::{LeftReport, Purpose, Spec};
use crate::git::handles;
use crate::git::index_file::{Entry, GITLINK};

/// A tree that was looked at.
pub(crate) struct Look<'a> {
    pub(crate) spec: &'a Spec,
    pub(crate) mirror: Mirror,
    pub(crate) found: Found,
    pub(crate) checkout: Checkout,
    /// Some file of attributes stands in the tree.
    pub(crate) has_attributes: bool,
    /// The tree made here with the files of rules.
    pub(super) rules: PathBuf,
    /// Files of HEAD.
    pub(super) listing: Listing,
    pub(super) links: Links,
    /// The commit that [`Look::commit`] returned.
    pub(super) made: Option<String>,
    /// The tree's own git directory is there, and could not be read.
    pub(super) is_unreadable: bool,
    /// Why the commits were given up.
    pub(super) forsaken: Option<String>,
}

impl<'a> Look<'a> {
    /// Looks at the tree: its git directory as data, then everything that lies in it.
    pub(crate) fn at(spec: &'a Spec) -> Result<Self, HarvestError> {
        let tree = own_tree(spec)?;
        let mut mirror = Mirror::of(spec, &tree)?;
        let checkout = Checkout::read(spec);
        let listing = head_listing(spec, &mut mirror, &checkout)?;
        let of_base = match checkout.is_of(&spec.base) {
            true => checkout.listing(),
            false => listing::of_commit(&mirror.git, &spec.base)?,
        };
        let base_rules = ignored::rules_of(&of_base);
        let links = Links::new(of_base, &listing, &mirror, &tree);
        let tracked: BTreeSet<Vec<u8>> = match &mirror.index {
            Some(index) => index.iter().map(|entry| entry.path.clone()).collect(),
            None => listing.keys().cloned().collect(),
        };
        let mut walk = Walk::new(spec, &mirror, tracked, &links)?;
        walk.visit(&tree, &[], 0)?;
        let (mut found, rules, out) = (walk.found, walk.rules, walk.ignored);
        if spec.purpose != Purpose::Snapshot {
            let tree = Tree { spec, dir: &tree, git: &mirror.git, rules: &rules, checkout: &checkout };
            ignored::find(&tree, out, &base_rules, &mut found);
        }
        let (has_attributes, rules) = (rules.has_attributes, rules.tree.clone());
        leave_too_large(&mut found, &checkout);
        if mirror.unusable.is_some() {
            leave_links(spec, &mut found, &listing);
        }
        found.prune_directories();
        let made = mirror.head.clone();
        let is_unreadable = mirror.unusable.is_some() && handles::look(&tree, b".git").is_ok();
        let forsaken = None;
        Ok(Self {
            spec,
            mirror,
            found,
            checkout,
            has_attributes,
            rules,
            listing,
            links,
            made,
            is_unreadable,
            forsaken,
        })
    }

    /// Says what lies in the tree and is not in the commit.
    pub(crate) fn left(&self) -> LeftReport {
        let mut report = LeftReport::of(&self.found.left);
        report.git_dir = self.is_unreadable;
        let note = match (&self.forsaken, &self.mirror.unusable) {
            (Some(why), _) => format!(
                "its own commits are not published as they are ({why}): its files were committed as they lie in the tree; its commits come back with `mosaic restore`"
            ),
            (_, Some(why)) => format!(
                "the git directory of its tree could not be used ({why}): its files were taken as they are, commits in it may be missing"
            ),
            _ => return report,
        };
        report.notes.push(note);
        report
    }

    /// Tells whether [`Look::note_staged`] found anything.
    pub(crate) fn has_staged(&self) -> bool {
        self.found.left.iter().any(|one| one.why == Why::Staged)
    }

    /// Gives up what its git directory says: from here on the files alone count, on top of the base.
    pub(crate) fn forsake(&mut self, why: &HarvestError) {
        let why = why.to_string();
        let git = self.mirror.git.clone();
        self.mirror.unusable = Some(why.clone());
        self.forsaken.get_or_insert(why);
        self.mirror.head = Some(self.spec.base.clone());
        self.mirror.index = None;
        self.listing = listing::of_commit(&git, &self.spec.base).unwrap_or_default();
        for note in ["MERGE_HEAD", "rebase-merge", "rebase-apply"] {
            // Of a directory of our own: what is not there need not go.
            let _ = fs::remove_file(git.dir.join(note)).or_else(|_| fs::remove_dir_all(git.dir.join(note)));
        }
    }

    /// Names what only the index holds, compared with HEAD and with the commit that was made; tells whether there is
    /// anything. An ordinary commit would have taken it. The sides of a merge that is concluded are in its history.
    pub(crate) fn note_staged(&mut self) -> bool {
        let is_merging = !merge_heads(&self.mirror.git).is_empty();
        let is_content = |e: &&Entry| e.mode != GITLINK && !e.intent && (e.stage == 0 || !is_merging);
        let is_new = |e: &&Entry, listing: &Listing| {
            listing.get(&e.path).is_none_or(|(mode, object)| *mode != e.mode || *object != e.object)
        };
        let index = self.mirror.index.iter().flatten().filter(is_content);
        let mut staged: Vec<&Entry> = index.filter(|e| is_new(e, &self.listing)).collect();
        if !staged.is_empty() && self.made != self.mirror.head {
            let made = self.made.as_deref().map(|made| listing::of_commit(&self.mirror.git, made));
            let made = made.and_then(Result::ok).unwrap_or_default();
            staged.retain(|e| is_new(e, &made));
        }
        let mut paths: Vec<Vec<u8>> = staged.into_iter().map(|e| e.path.clone()).collect();
        paths.dedup();
        self.found.left.extend(paths.into_iter().map(|path| Left { path, why: Why::Staged }));
        self.has_staged()
    }
}

/// Lists what HEAD holds. A HEAD that cannot be listed makes the git directory unusable: the base takes its place.
fn head_listing(spec: &Spec, mirror: &mut Mirror, checkout: &Checkout) -> Result<Listing, HarvestError> {
    if mirror.unusable.is_some() && mirror.head.is_none() {
        mirror.head = Some(spec.base.clone());
    }
    let Some(head) = mirror.head.clone() else { return Ok(Listing::new()) };
    if checkout.is_of(&head) {
        return Ok(checkout.listing());
    }
    // A HEAD whose objects are gone must not cost the files, which lie in the tree and are all that is left.
    listing::of_commit(&mirror.git, &head).or_else(|why| {
        if head == spec.base {
            return Err(why);
        }
        mirror.unusable = Some(format!("its HEAD cannot be read: {why}"));
        mirror.head = Some(spec.base.clone());
        listing::of_commit(&mirror.git, &spec.base)
    })
}

/// Opens the tree, as long as it is the directory that was made: neither a link, nor another directory, nor one over which
/// something is mounted.
fn own_tree(spec: &Spec) -> Result<OwnedFd, HarvestError> {
    let replaced = |what: &str| HarvestError::Replaced(what.to_owned());
    let io = error::io("looking for the working tree");
    let above = spec.tree.parent().ok_or_else(|| replaced("the working tree has no place"))?;
    let name = spec.tree.file_name().unwrap_or_default();
    let above = handles::open_directory(above).map_err(io)?;
    // By handle from the directory above, without following links and without crossing a mount: the agent's program may
    // replace the path at any moment, also while this runs.
    let tree = handles::enter_here(&above, name.as_bytes()).map_err(|e| match handles::is_mount(&e) {
        true => replaced("another file system is mounted over the working tree"),
        false => replaced(&format!("the working tree is no directory any more ({e})")),
    })?;
    let inode = rustix::fs::fstat(&tree).map_err(|e| io(e.into()))?.st_ino;
    // A directory of the same name with other content would otherwise be committed as the agent's work.
    match spec.inode.is_none_or(|made| made == inode) {
        true => Ok(tree),
        false => Err(replaced("the working tree is another directory than the one that was made")),
    }
}

/// Leaves the largest files that are not as they were made, until the rest can be handed over: no file is read for that.
fn leave_too_large(found: &mut Found, checkout: &Checkout) {
    let size = |file: &File| if file.is_link() { 0 } else { file.size };
    let is_new = |path: &Vec<u8>, file: &File| checkout.unchanged(path, file).is_none();
    let new = found.files.iter().filter(|(path, file)| is_new(path, file));
    let mut total: u64 = new.clone().map(|(_, file)| size(file)).fold(0, u64::saturating_add);
    if total <= limits::BUNDLE_BYTES {
        return;
    }
    let mut largest: Vec<(u64, Vec<u8>)> = new.map(|(path, file)| (size(file), path.clone())).collect();
    largest.sort();
    while let Some((size, path)) = largest.pop().filter(|_| total > limits::BUNDLE_BYTES) {
        total = total.saturating_sub(size);
        found.files.remove(&path);
        found.left.push(Left { path, why: Why::TooLarge });
    }
}

/// Without a git directory that can be relied on no link is taken anew.
fn leave_links(spec: &Spec, found: &mut Found, listing: &Listing) {
    let is_new = |path: &Vec<u8>, file: &File| {
        file.is_link() && listing.get(path).is_none_or(|(mode, _)| *mode != 0o120_000)
    };
    let new: Vec<Vec<u8>> =
        found.files.iter().filter(|(path, file)| is_new(path, file)).map(|(path, _)| path.clone()).collect();
    for path in new {
        if let Some(file) = found.files.remove(&path) {
            found.left.push(Left { path: path.clone(), why: Why::Link });
            found.keep_beside(place(spec, &path), path, file);
        }
    }
}
