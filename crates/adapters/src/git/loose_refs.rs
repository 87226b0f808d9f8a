//! Listing refs from the files of a git directory, without a process: loose ones and packed ones.

use std::fs;
use std::path::Path;

use mosaic_core::limits;

use crate::bounded_file;

/// Lists the local branches.
pub(super) fn branches(git_dir: &Path) -> Vec<String> {
    refs_below(git_dir, "refs/heads")
}

/// Lists refs from the files, leaving links out: a linked directory of refs is somebody else's.
pub(super) fn refs_below(git_dir: &Path, below: &str) -> Vec<String> {
    fn collect(dir: &Path, name: &str, depth: usize, all: &mut Vec<String>) {
        let is_dir = fs::symlink_metadata(dir).is_ok_and(|meta| meta.is_dir());
        let entries = if is_dir && depth < 32 { fs::read_dir(dir).ok() } else { None };
        for entry in entries.into_iter().flatten().flatten() {
            let (Ok(kind), Ok(part)) = (entry.file_type(), entry.file_name().into_string()) else { continue };
            let name = format!("{name}/{part}");
            if kind.is_dir() {
                collect(&entry.path(), &name, depth + 1, all);
            } else if kind.is_file() && all.len() < limits::KEPT_BRANCHES {
                all.push(name);
            }
        }
    }
    let mut all = Vec::new();
    collect(&git_dir.join(below), below, 0, &mut all);
    let packed =
        bounded_file::read_text(&git_dir.join("packed-refs"), limits::PACKED_REFS_BYTES).unwrap_or_default();
    let packed = packed
        .lines()
        .filter_map(|line| Some(line.split_once(' ')?.1))
        .filter(|n| n.strip_prefix(below).is_some_and(|rest| rest.starts_with('/')));
    all.extend(packed.take(limits::KEPT_BRANCHES).map(str::to_owned));
    all.sort();
    all.dedup();
    all
}
