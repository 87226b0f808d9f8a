//! A merge or a rebase that is under way in a tree, read from the copy of its git directory.

use std::collections::BTreeMap;
use std::fs;

use mosaic_core::domain::ids::CommitId;

use super::error::HarvestError;
use super::program::Git;
use crate::git::bundle_spec::SUBJECT;

/// Returns the commits that were being merged.
pub(super) fn merge_heads(git: &Git) -> Vec<String> {
    let text = fs::read_to_string(git.dir.join("MERGE_HEAD")).unwrap_or_default();
    text.lines().map(str::trim).filter(|id| id.parse::<CommitId>().is_ok()).map(str::to_owned).collect()
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

/// Returns a commit with all that was committed before the rebase and what the rebase and the agent have changed since, of
/// which the files as they lie there, in the commit `now`, know only the part that was applied so far.
///
/// # Errors
/// When it cannot be told: a part of the work would be shown as if it were all of it.
pub(super) fn rebased_so_far(git: &Git, origin: &str, now: &str) -> Result<String, HarvestError> {
    let notes = ["rebase-merge/onto", "rebase-apply/onto"].into_iter();
    let onto = notes.filter_map(|name| fs::read_to_string(git.dir.join(name)).ok()).next();
    let onto = onto.and_then(|text| text.trim().parse::<CommitId>().ok());
    let onto = onto.ok_or(HarvestError::RebaseOnto)?.to_string();
    let merged = merged_by_lines(git, &onto, origin, now);
    let tree = merged.map_or_else(|| merged_by_files(git, &onto, origin, now), Ok);
    let tree = tree.map_err(|why| HarvestError::RebaseRest(Box::new(why)))?;
    let made = git.ask(None, ["commit-tree", "-m", SUBJECT, "-p", origin, &tree], &[])?;
    id(&made).ok_or_else(|| no_answer("made no commit of a rebase under way"))
}

/// Merges into a tree; where both sides changed the same lines, those that lie there now are the newer ones. None where git
/// is too old for that: it takes the side to prefer from 2.43 on.
fn merged_by_lines(git: &Git, onto: &str, origin: &str, now: &str) -> Option<String> {
    let base = format!("--merge-base={onto}");
    let args = ["merge-tree", "--write-tree", "-X", "theirs", "--no-messages", &base, origin, now];
    merge(git, &args).map(|(tree, _)| tree)
}

/// Merges into a tree; a file that both sides changed in the same place is taken whole as it lies there now.
fn merged_by_files(git: &Git, onto: &str, origin: &str, now: &str) -> Result<String, HarvestError> {
    // The base of the merge cannot be named before git 2.40: commits on top of it have it.
    let on_base = |commit: &str| {
        let tree = format!("{commit}^{{tree}}");
        let made = git.ask(None, ["commit-tree", "-m", SUBJECT, "-p", onto, &tree], &[])?;
        id(&made).ok_or_else(|| no_answer("made no commit"))
    };
    let (before, after) = (on_base(origin)?, on_base(now)?);
    let args = ["merge-tree", "--write-tree", "--name-only", "--no-messages", "-z", &before, &after];
    let (tree, conflicted) = merge(git, &args).ok_or_else(|| no_answer("cannot merge it"))?;
    if conflicted.is_empty() {
        return Ok(tree);
    }
    let mut files = entries(git, &tree)?;
    let lying = entries(git, now)?;
    for path in conflicted {
        match lying.get(&path) {
            Some(entry) => drop(files.insert(path, entry.clone())),
            None => drop(files.remove(&path)),
        }
    }
    tree_of(git, &files)
}

/// Runs a merge; returns its tree and the paths in conflict, as far as they were asked for.
fn merge(git: &Git, args: &[&str]) -> Option<(String, Vec<Vec<u8>>)> {
    let merged = git.command(args).output().ok()?;
    // What neither side wins, such as a file that one of them removed, ends it with 1 and stands in the tree all the same.
    if !matches!(merged.status.code(), Some(0 | 1)) {
        return None;
    }
    let end = merged.stdout.iter().position(|byte| matches!(byte, 0 | b'\n'))?;
    let paths = merged.stdout[end + 1..].split(|byte| *byte == 0);
    Some((id(&merged.stdout[..end])?, paths.filter(|path| !path.is_empty()).map(<[u8]>::to_vec).collect()))
}

/// Lists the files of a tree, each with mode, kind and id as git writes them.
fn entries(git: &Git, tree: &str) -> Result<BTreeMap<Vec<u8>, Vec<u8>>, HarvestError> {
    let listed = git.ask(None, ["ls-tree", "-r", "-z", "--full-tree", tree], &[])?;
    let entry = |line: &[u8]| {
        let tab = line.iter().position(|byte| *byte == b'\t')?;
        Some((line[tab + 1..].to_vec(), line[..tab].to_vec()))
    };
    Ok(listed.split(|byte| *byte == 0).filter_map(entry).collect())
}

/// A path with its entry as git writes it.
type FileEntry<'a> = (&'a [u8], &'a [u8]);

/// Makes the tree of these files: directories from the deepest to the root.
fn tree_of(git: &Git, files: &BTreeMap<Vec<u8>, Vec<u8>>) -> Result<String, HarvestError> {
    let files: Vec<FileEntry<'_>> = files.iter().map(|(path, entry)| (&path[..], &entry[..])).collect();
    tree_below(git, &files)
}

fn tree_below(git: &Git, files: &[FileEntry<'_>]) -> Result<String, HarvestError> {
    let mut lines = Vec::new();
    let mut directories: BTreeMap<&[u8], Vec<FileEntry<'_>>> = BTreeMap::new();
    for (path, entry) in files {
        match path.iter().position(|byte| *byte == b'/') {
            Some(slash) => directories.entry(&path[..slash]).or_default().push((&path[slash + 1..], *entry)),
            None => lines.extend([*entry, b"\t", path, b"\0"].concat()),
        }
    }
    for (name, below) in directories {
        let tree = tree_below(git, &below)?;
        lines.extend([b"040000 tree ", tree.as_bytes(), b"\t", name, b"\0"].concat());
    }
    let made = git.ask(None, ["mktree", "-z"], &lines)?;
    id(&made).ok_or_else(|| no_answer("made no tree"))
}

fn id(text: &[u8]) -> Option<String> {
    String::from_utf8_lossy(text).trim().parse::<CommitId>().ok().map(|id| id.to_string())
}

fn no_answer(fault: &str) -> HarvestError {
    HarvestError::NoAnswer(fault.to_owned())
}
