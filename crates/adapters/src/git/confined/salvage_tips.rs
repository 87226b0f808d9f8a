//! The commits of a tree that HEAD does not reach: branches, tags, heads of other worktrees, stashes, and what
//! something that is under way (a merge, a rebase) still needs.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use mosaic_core::domain::ids::CommitId;
use mosaic_core::limits;

use super::error::HarvestError;
use super::mirror::Mirror;
use super::salvage::Salvage;
use crate::git::bundle_spec::salvage_state::Tip;
use crate::git::loose_refs::refs_below;
use crate::git::ref_files;

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
    "rebase-merge/autostash",
    "rebase-apply/orig-head",
    "rebase-apply/autostash",
    "MERGE_AUTOSTASH",
];

/// Where the newest stash is.
const STASH: &str = "refs/stash";

/// Tells whether committing everything would end something that is under way and lose where it was.
pub(crate) fn under_way(git_dir: &Path) -> bool {
    OPERATIONS.iter().any(|(file, what)| *what != "merge" && *what != "bisect" && git_dir.join(file).exists())
}

/// Tells, from the copied files alone, whether the repository names a commit besides HEAD and the base.
pub(crate) fn beside(mirror: &Mirror, base: &str) -> bool {
    let dir = &mirror.git.dir;
    let is_new = |tip: &CommitId| tip.as_str() != base && Some(tip.as_str()) != mirror.head.as_deref();
    ref_files::read_ref(dir, STASH).is_some() || named(dir).iter().any(|(_, tip)| is_new(tip))
}

/// Lists the commits to which the repository gives a name: branches and all other refs but stashes and copies of the remote's
/// branches, and the detached heads of other worktrees.
fn named(dir: &Path) -> Vec<(String, CommitId)> {
    let names = spaces(dir).into_iter().flat_map(|space| refs_below(dir, &format!("refs/{space}")));
    let refs = names.filter_map(|name| {
        let tip = ref_files::read_ref(dir, &name)?;
        let short = name.strip_prefix("refs/heads/").or_else(|| name.strip_prefix("refs/"))?;
        Some((short.to_owned(), tip))
    });
    let worktrees = fs::read_dir(dir.join("worktrees")).into_iter().flatten().flatten();
    let heads = worktrees.filter_map(|entry| {
        let tip = ref_files::read_ref(&entry.path(), "HEAD")?;
        Some((format!("worktrees/{}", entry.file_name().to_str()?), tip))
    });
    refs.chain(heads.take(limits::KEPT_BRANCHES)).collect()
}

/// The first parts of the names of refs.
fn spaces(dir: &Path) -> BTreeSet<String> {
    let loose = fs::read_dir(dir.join("refs")).into_iter().flatten().flatten();
    let mut spaces: BTreeSet<String> =
        loose.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    let packed = fs::read_to_string(dir.join("packed-refs")).unwrap_or_default();
    let space = |line: &str| Some(line.split_once(" refs/")?.1.split_once('/')?.0.to_owned());
    spaces.extend(packed.lines().filter_map(space));
    spaces.retain(|space| space != "remotes" && space != "stash");
    spaces
}

impl Salvage<'_> {
    /// Finds the commits besides HEAD's own that must not be lost: tips of branches, stashes, sides of a merge.
    pub(crate) fn tips(&mut self) -> Result<Vec<String>, HarvestError> {
        let dir = self.git.dir.clone();
        for (file, what) in OPERATIONS {
            if dir.join(file).exists() && !self.state.under_way.iter().any(|known| known == what) {
                self.state.under_way.push((*what).to_owned());
            }
        }
        let mut wanted: Vec<(Option<String>, String)> =
            named(&dir).into_iter().map(|(name, tip)| (Some(name), tip.into())).collect();
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
        let answers = self.git.ask(None, ["cat-file", "--batch-check"], &asked)?;
        let answers = String::from_utf8_lossy(&answers).into_owned();
        // A tag of its own is answered with the commit that it names.
        let peel = |line: &str| match line.split(' ').collect::<Vec<_>>().as_slice() {
            [id, "commit", _] => Some((*id).to_owned()),
            _ => None,
        };
        let peeled: Vec<Option<String>> = answers.lines().map(peel).collect();
        let known: BTreeSet<&str> = peeled.iter().flatten().map(String::as_str).collect();
        // Branches that HEAD or the base reaches are left out: a clone has hundreds of them, and each would become a parent
        // of the salvage.
        let own = self.beyond(&known)?;
        let mut tips = Vec::new();
        for ((name, _), id) in wanted.into_iter().zip(&peeled) {
            let Some(id) = id.clone() else { continue };
            match name {
                Some(_) if !own.contains(&id) => continue,
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

    /// Returns those of these commits that are neither in HEAD's history nor in the base's.
    fn beyond(&self, commits: &BTreeSet<&str>) -> Result<BTreeSet<String>, HarvestError> {
        let mut asked: String = commits.iter().map(|id| format!("{id}\n")).collect();
        for known in self.state.head.as_deref().into_iter().chain([self.spec.base.as_str()]) {
            asked.push_str(&format!("^{known}\n"));
        }
        let listed = self.git.ask(None, ["rev-list", "--stdin"], asked.as_bytes())?;
        let listed = String::from_utf8_lossy(&listed);
        Ok(listed.lines().filter(|id| commits.contains(id)).map(str::to_owned).collect())
    }

    fn stashes(&self) -> Vec<Tip> {
        let Some(newest) = ref_files::read_ref(&self.git.dir, STASH) else { return Vec::new() };
        // All but the newest are known to its log only, which may be gone.
        let newest = || vec![Tip { name: "stash".to_owned(), commit: newest.to_string() }];
        let args = ["log", "-g", "-z", "--format=%H %gs", STASH, "--"];
        let Ok(out) = self.git.ask(None, args, &[]) else { return newest() };
        let lines = out.split(|b| *b == 0).filter_map(|line| {
            let line = String::from_utf8_lossy(line).into_owned();
            let (commit, name) = line.trim().split_once(' ')?;
            Some(Tip { name: name.to_owned(), commit: commit.to_owned() })
        });
        let stashes: Vec<Tip> = lines.take(limits::KEPT_STASHES).collect();
        if stashes.is_empty() { newest() } else { stashes }
    }
}
