//! The commits of a tree being salvaged that HEAD does not reach: branches, stashes, and what something that is under
//! way (a merge, a rebase) still needs.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use mosaic_core::limits;

use super::loose_refs::branches;
use super::salvage::{Salvage, ask};
use super::salvage_state::Tip;
use super::store;

/// Files in a git directory that say that something is under way, and what.
const OPERATIONS: &[(&str, &str)] = &[
    ("MERGE_HEAD", "merge"),
    ("rebase-merge", "rebase"),
    ("rebase-apply/rebasing", "rebase"),
    ("rebase-apply/applying", "am"),
    ("CHERRY_PICK_HEAD", "cherry-pick"),
    ("REVERT_HEAD", "revert"),
    ("BISECT_START", "bisect"),
];

/// Files that name commits which what is under way still needs.
const HEADS: &[&str] = &[
    "MERGE_HEAD",
    "CHERRY_PICK_HEAD",
    "REVERT_HEAD",
    "REBASE_HEAD",
    "rebase-merge/orig-head",
    "rebase-merge/onto",
    "rebase-apply/orig-head",
];

/// Tells whether committing everything would end something that is under way and lose where it was.
pub(super) fn under_way(git_dir: &Path) -> bool {
    OPERATIONS.iter().any(|(file, what)| *what != "merge" && *what != "bisect" && git_dir.join(file).exists())
}

impl Salvage<'_> {
    /// Finds the commits besides HEAD's own that must not be lost: tips of branches, stashes, sides of a merge.
    pub(super) fn tips(&mut self) -> Result<Vec<String>, String> {
        let dir = self.git.dir.clone();
        for (file, what) in OPERATIONS {
            if dir.join(file).exists() && !self.state.under_way.iter().any(|known| known == what) {
                self.state.under_way.push((*what).to_owned());
            }
        }
        let mut wanted: Vec<(Option<String>, String)> = Vec::new();
        for name in branches(&dir) {
            if let Some(tip) = store::read_ref(&dir, &name) {
                wanted.push((Some(name.trim_start_matches("refs/heads/").to_owned()), tip.to_string()));
            }
        }
        for file in HEADS {
            let text = fs::read_to_string(dir.join(file)).unwrap_or_default();
            wanted.extend(text.lines().map(|line| (None, line.trim().to_owned())));
        }
        let stashes = self.stashes();
        let asked: Vec<u8> = wanted
            .iter()
            .map(|(_, id)| id)
            .chain(stashes.iter().map(|s| &s.commit))
            .flat_map(|id| format!("{id}^{{commit}}\n").into_bytes())
            .collect();
        let answers = ask(&self.side, None, ["cat-file", "--batch-check"], &asked)?;
        let answers = String::from_utf8_lossy(&answers).into_owned();
        let is_commit = |line: &str| line.split(' ').nth(1) == Some("commit");
        let known: BTreeSet<&str> =
            answers.lines().filter(|l| is_commit(l)).filter_map(|l| l.split(' ').next()).collect();
        let mut tips = Vec::new();
        for (name, id) in wanted.into_iter().filter(|(_, id)| known.contains(id.as_str())) {
            match name {
                Some(_) if self.is_known(&id) => continue,
                Some(name) => self.state.branches.push(Tip { name, commit: id.clone() }),
                None => {}
            }
            tips.push(id);
        }
        let merging = fs::read_to_string(dir.join("MERGE_HEAD")).unwrap_or_default();
        self.state.merging =
            merging.lines().map(str::trim).filter(|id| known.contains(id)).map(str::to_owned).collect();
        self.state.stashes = stashes.into_iter().filter(|s| known.contains(s.commit.as_str())).collect();
        tips.extend(self.state.stashes.iter().map(|s| s.commit.clone()));
        tips.truncate(limits::KEPT_BRANCHES + limits::KEPT_STASHES);
        Ok(tips)
    }

    /// Tells whether a commit is part of HEAD's history or the base's.
    fn is_known(&self, commit: &str) -> bool {
        [self.state.head.as_deref(), Some(self.spec.base.as_str())].into_iter().flatten().any(|other| {
            commit == other
                || self.side.run(["merge-base", "--is-ancestor", commit, other]).is_ok_and(|r| r.ok)
        })
    }

    fn stashes(&self) -> Vec<Tip> {
        if store::read_ref(&self.git.dir, "refs/stash").is_none() {
            return Vec::new();
        }
        let args = ["log", "-g", "-z", "--format=%H %gs", "refs/stash", "--"];
        let Ok(out) = ask(&self.git, None, args, &[]) else { return Vec::new() };
        let lines = out.split(|b| *b == 0).filter_map(|line| {
            let line = String::from_utf8_lossy(line).into_owned();
            let (commit, name) = line.trim().split_once(' ')?;
            Some(Tip { name: name.to_owned(), commit: commit.to_owned() })
        });
        lines.take(limits::KEPT_STASHES).collect()
    }
}
