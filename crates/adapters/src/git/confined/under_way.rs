//! A merge or a rebase that is under way in a tree, read from the copy of its git directory.

use std::fs;

use mosaic_core::domain::ids::CommitId;

use super::program::Git;
use crate::git::bundle_spec::SUBJECT;

/// Returns the commits that were being merged.
pub(super) fn merge_heads(git: &Git) -> Vec<String> {
    let text = fs::read_to_string(git.dir.join("MERGE_HEAD")).unwrap_or_default();
    text.lines().map(str::trim).filter(|id| id.parse::<CommitId>().is_ok()).map(str::to_owned).collect()
}

/// Returns a commit with all that was committed before a rebase and what the rebase and the agent have changed since, of
/// which the files as they lie there, in the commit `now`, know only the part that was applied so far; none when it
/// cannot be told.
pub(super) fn rebased_so_far(git: &Git, origin: &str, now: &str) -> Option<String> {
    let notes = ["rebase-merge/onto", "rebase-apply/onto"].into_iter();
    let onto = notes.filter_map(|name| fs::read_to_string(git.dir.join(name)).ok()).next()?;
    let base = format!("--merge-base={}", onto.trim().parse::<CommitId>().ok()?);
    // Where both sides changed the same lines, those that lie there now are the newer ones.
    let args = ["merge-tree", "--write-tree", "-X", "theirs", "--no-messages", &base, origin, now];
    let merged = git.command(args).output().ok()?;
    // What neither side wins, such as a file that one of them removed, ends it with 1 and stands in the tree all the same.
    let text =
        matches!(merged.status.code(), Some(0 | 1)).then(|| String::from_utf8_lossy(&merged.stdout))?;
    let tree: CommitId = text.lines().next()?.trim().parse().ok()?;
    let tree = tree.to_string();
    let made = git.ask(None, ["commit-tree", "-m", SUBJECT, "-p", origin, &tree], &[]).ok()?;
    let made: CommitId = String::from_utf8_lossy(&made).trim().parse().ok()?;
    Some(made.to_string())
}

/// Returns the commit to which a rebase that is under way would go back.
pub(super) fn rebase_origin(git: &Git) -> Option<String> {
    let dir = &git.dir;
    let note = match (dir.join("rebase-merge").is_dir(), dir.join("rebase-apply/rebasing").exists()) {
        (true, _) => "rebase-merge/orig-head",
        (_, true) => "rebase-apply/orig-head",
        _ => return None,
    };
    let id = fs::read_to_string(dir.join(note)).ok()?.trim().to_owned();
    id.parse::<CommitId>().ok()?;
    git.run(["cat-file", "-e", &format!("{id}^{{commit}}")]).is_ok_and(|ran| ran.ok).then_some(id)
}
