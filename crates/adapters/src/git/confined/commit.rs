//! The commit that holds what an agent left uncommitted. It is made from what was found in the tree, so that nothing
//! which lies there can be missing from it without being named; the agent's own branch and index stay as they are.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;

use super::error::{self, HarvestError};
use super::found::File;
use super::import::Put;
use super::listing;
use super::look::Look;
use super::under_way::{merge_heads, rebase_origin, rebased_so_far};
use crate::git::bundle_spec::Purpose;
use crate::git::errors;
use crate::git::index_file::GITLINK;

impl<'a> Look<'a> {
    /// Makes the commit, unless everything is committed; returns what HEAD is then, none without any commit.
    pub(crate) fn commit(&mut self) -> Result<Option<String>, HarvestError> {
        let git = self.mirror.git.clone();
        // Checked here, where the agent's own refs are still known: a salvage keeps such a link as it is, because it is never
        // published.
        if self.spec.purpose == Purpose::Commit && self.forsaken.is_none() {
            self.refuse_stray_links()?;
        }
        let origin = rebase_origin(&git);
        let is_snapshot = self.spec.purpose == Purpose::Snapshot;
        let aborted = origin.clone().filter(|_| !is_snapshot);
        if let Some(origin) = &aborted {
            self.listing = listing::of_commit(&git, origin)?;
        }
        let (puts, removed) = self.changes(aborted.is_some());
        let head = aborted.or_else(|| self.mirror.head.clone());
        let merging = merge_heads(&git);
        let made = match puts.is_empty() && removed.is_empty() && merging.is_empty() {
            true => head.clone(),
            false => Some(self.import(head.as_deref(), &merging, &removed, &puts)?),
        };
        // A commit without a change is not made, except to conclude a merge: its second parent is the content.
        let same = merging.is_empty() && self.is_same(head.as_deref(), made.as_deref())?;
        let head = if same { head } else { made };
        let head = match (origin.filter(|_| is_snapshot), head) {
            (Some(origin), Some(now)) => Some(rebased_so_far(&git, &origin, &now)?),
            (_, head) => head,
        };
        if let Some(head) = &head {
            self.name(head).map_err(error::io("naming the commit"))?;
        }
        self.made.clone_from(&head);
        Ok(head)
    }

    /// Fails when a commit of the agent's links to a repository in the tree, which nobody could fetch: the commit on top of
    /// it may hold its files, but the one with the link would be published too.
    fn refuse_stray_links(&self) -> Result<(), HarvestError> {
        let Some(head) = self.mirror.head.as_deref().filter(|head| *head != self.spec.base) else {
            return Ok(());
        };
        let range = format!("{}..{head}", self.spec.base);
        let args = ["log", "--format=", "--raw", "-z", "--no-abbrev", "--no-renames", "--root"];
        let args =
            args.iter().copied().chain(["--diff-merges=combined", range.as_str(), "--not", "--remotes"]);
        let listed = self.mirror.git.ask(None, args, &[])?;
        let mut fields = listed.split(|byte| *byte == 0);
        while let Some(entry) = fields.next() {
            let Some(start) = entry.iter().position(|byte| *byte == b':') else { continue };
            let (change, path) = (&entry[start..], fields.next().unwrap_or_default());
            let parents = change.iter().take_while(|byte| **byte == b':').count();
            let mode = change[parents..].split(|byte| *byte == b' ').nth(parents);
            if mode == Some(b"160000") && !self.links.is_submodule(path) {
                let path = errors::plain(&String::from_utf8_lossy(path));
                return Err(HarvestError::StrayLink(path));
            }
        }
        Ok(())
    }

    /// Lets HEAD of the mirror be at a commit; the first one of a branch is that branch's.
    fn name(&mut self, head: &str) -> io::Result<()> {
        let dir = &self.mirror.git.dir;
        match (&self.mirror.head, &self.mirror.head_ref) {
            (None, Some(branch)) => {
                fs::create_dir_all(dir.join(branch).parent().unwrap_or(dir))?;
                fs::write(dir.join(branch), format!("{head}\n"))?;
                self.mirror.head = Some(head.to_owned());
                Ok(())
            }
            _ => fs::write(dir.join("HEAD"), head),
        }
    }

    fn is_same(&self, head: Option<&str>, made: Option<&str>) -> Result<bool, HarvestError> {
        let (Some(head), Some(made)) = (head, made) else { return Ok(false) };
        let args = ["diff-tree", "--quiet", head, made];
        Ok(head == made || self.mirror.git.run(args)?.code == Some(0))
    }

    /// Compares what was found with what HEAD holds.
    fn changes(&self, only_new: bool) -> (BTreeMap<Vec<u8>, Put>, Vec<Vec<u8>>) {
        let mut puts = BTreeMap::new();
        let mut kept: BTreeSet<&[u8]> = BTreeSet::new();
        let index = || self.mirror.index.iter().flatten();
        let tracked: BTreeSet<&[u8]> = match only_new {
            // What was being rebased goes back to where it was; only what git does not know is taken.
            true => index().map(|e| e.path.as_slice()).collect(),
            false => BTreeSet::new(),
        };
        for (path, file) in &self.found.files {
            kept.insert(path);
            if tracked.contains(path.as_slice()) || only_new && self.listing.contains_key(path) {
                continue;
            }
            let known = self.listing.get(path);
            // Files that nobody touched since the checkout are known by their times and inode. Reading each of them would
            // make the harvest of a large tree take minutes.
            match self.checkout.unchanged(path, file) {
                Some(object) if known == Some(&(file.git_mode(), object.to_owned())) => {}
                Some(object) => drop(puts.insert(path.clone(), put_object(file, object))),
                None => drop(puts.insert(path.clone(), Put::Content(file.git_mode(), file.content.clone()))),
            }
        }
        if only_new {
            return (puts, Vec::new());
        }
        kept.extend(self.kept_as_committed());
        for (path, object) in &self.found.gitlinks {
            kept.insert(path);
            if self.listing.get(path) != Some(&(GITLINK, object.clone())) {
                puts.insert(path.clone(), Put::Object(GITLINK, object.clone()));
            }
        }
        // What a sparse checkout left out on purpose is as the index has it.
        for entry in index().filter(|e| e.skipped && e.stage == 0 && !self.found.files.contains_key(&e.path))
        {
            let is_new_link = entry.mode == GITLINK && !self.links.is_submodule(&entry.path);
            if is_new_link || self.is_covered(&entry.path) {
                continue;
            }
            kept.insert(&entry.path);
            if self.listing.get(&entry.path) != Some(&(entry.mode, entry.object.clone())) {
                puts.insert(entry.path.clone(), Put::Object(entry.mode, entry.object.clone()));
            }
        }
        let removed = self.listing.keys().filter(|path| !kept.contains(path.as_slice())).cloned().collect();
        (puts, removed)
    }

    /// Lists what HEAD has where something lies that cannot be taken: nothing that may be there is deleted.
    fn kept_as_committed(&self) -> Vec<&[u8]> {
        let left = self.found.left.iter().filter(|one| one.why.keeps_committed());
        let listed = left.flat_map(|one| {
            let below = [one.path.as_slice(), b"/"].concat();
            let same = self.listing.get_key_value(&one.path).map(|(path, _)| path);
            let all = self.listing.range(below.clone()..).map(|(path, _)| path);
            same.into_iter().chain(all.take_while(move |path| path.starts_with(&below)))
        });
        listed.map(Vec::as_slice).collect()
    }

    /// Tells whether a directory lies where this file would be, or a file where one of its directories would be.
    fn is_covered(&self, path: &[u8]) -> bool {
        let above = path.iter().enumerate().filter(|(_, b)| **b == b'/').map(|(at, _)| &path[..at]);
        let below = [path, b"/"].concat();
        let next = self.found.files.range(below.clone()..).next();
        above.into_iter().any(|part| self.found.files.contains_key(part))
            || next.is_some_and(|(path, _)| path.starts_with(&below))
    }
}

fn put_object(file: &File, object: &str) -> Put {
    Put::Object(file.git_mode(), object.to_owned())
}
