//! A fence keeps git from finding a repository above. Where the data directory lies inside another repository, a tree
//! that has lost its `.git` would otherwise be taken for a part of that one. `GIT_CEILING_DIRECTORIES` says the same to
//! programs that pass their environment on; the fence holds for those that do not, and for paths that such a list cannot
//! name.

use std::io;
use std::path::Path;

/// Text of the file: a git directory that cannot exist, so that git ends its search here with an error.
const TEXT: &str = "gitdir: /dev/null/outside-of-any-repository\n";

/// Puts a fence into this directory when a repository lies above it.
pub(crate) fn raise(directory: &Path) -> io::Result<()> {
    let above = directory.ancestors().skip(1).any(|above| above.join(".git").symlink_metadata().is_ok());
    let fence = directory.join(".git");
    if !above || fence.symlink_metadata().is_ok() {
        return Ok(());
    }
    std::fs::write(fence, TEXT)
}

/// Takes the fence away again; anything else of its name stays.
pub(crate) fn lower(directory: &Path) {
    let fence = directory.join(".git");
    if crate::bounded_file::read(&fence, TEXT.len() as u64).is_ok_and(|bytes| bytes == TEXT.as_bytes()) {
        // Without it the directory above is not emptied, which is all that follows.
        let _ = std::fs::remove_file(fence);
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn git_finds_no_repository_beyond_a_fence() {
        let place = tempfile::tempdir().unwrap();
        let below = place.path().join("outer/data/agents/tree");
        std::fs::create_dir_all(&below).unwrap();
        let top = || {
            let git = Command::new("git").args(["rev-parse", "--show-toplevel"]).current_dir(&below).output();
            git.unwrap().status.success()
        };
        let agents = below.parent().unwrap();
        raise(agents).unwrap();
        assert!(!agents.join(".git").exists(), "nothing lies above");
        let made = Command::new("git").args(["init", "-q"]).current_dir(place.path().join("outer")).status();
        assert!(made.unwrap().success() && top(), "without a fence the outer repository answers");
        raise(agents).unwrap();
        raise(agents).unwrap();
        assert!(!top());
        lower(agents);
        assert!(top());
    }
}
