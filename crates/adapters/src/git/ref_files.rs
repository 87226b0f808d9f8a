//! Refs of git directories of ours, read from and written into their files without a process.

use std::fs;
use std::io;
use std::path::Path;

use mosaic_core::domain::ids::CommitId;
use mosaic_core::limits;

use super::private_files;
use crate::bounded_file;

/// Tells whether a git directory of ours has a tag.
pub(super) fn has_tags(git_dir: &Path) -> bool {
    let loose = fs::read_dir(git_dir.join("refs/tags")).is_ok_and(|mut entries| entries.next().is_some());
    loose || packed_refs(git_dir).is_ok_and(|text| text.contains(" refs/tags/"))
}

fn packed_refs(git_dir: &Path) -> io::Result<String> {
    bounded_file::read_text(&git_dir.join("packed-refs"), limits::PACKED_REFS_BYTES)
}

/// Reads a ref of a git directory of ours; `None` when it does not exist.
pub(super) fn read_ref(git_dir: &Path, name: &str) -> Option<CommitId> {
    // A loose file is newer than a line of `packed-refs`, in this order as git reads them.
    if let Ok(text) = bounded_file::read_text(&git_dir.join(name), limits::REF_BYTES) {
        return text.trim_end().parse().ok();
    }
    packed_ref(packed_refs(git_dir).ok()?.as_bytes(), name)
}

/// Finds a ref in the content of `packed-refs`: by halves where the file says that it is in order, as every writer of
/// today does; it may have a line for each of many thousand agents.
fn packed_ref(packed: &[u8], name: &str) -> Option<CommitId> {
    let value =
        |line: &[u8]| -> Option<CommitId> { std::str::from_utf8(line).ok()?.split_once(' ')?.0.parse().ok() };
    let name_of = |line: &[u8]| {
        line.iter()
            .position(|byte| *byte == b' ')
            .map_or(Vec::new(), |at| line[at + 1..].trim_ascii_end().to_vec())
    };
    let head =
        packed.split(|byte| *byte == b'\n').next().filter(|line| line.starts_with(b"#")).unwrap_or_default();
    if !head.windows(7).any(|word| word == b"sorted ") && !head.ends_with(b"sorted") {
        return packed
            .split(|byte| *byte == b'\n')
            .find(|line| name_of(line) == name.as_bytes())
            .and_then(value);
    }
    let (mut low, mut high) = ((head.len() + 1).min(packed.len()), packed.len());
    while low < high {
        let middle = low + (high - low) / 2;
        let mut start =
            packed[low..middle].iter().rposition(|byte| *byte == b'\n').map_or(low, |at| low + at + 1);
        // The line of what a tag points to belongs to the one before.
        while packed[start] == b'^' && start > low {
            start =
                packed[low..start - 1].iter().rposition(|byte| *byte == b'\n').map_or(low, |at| low + at + 1);
        }
        let end = packed[start..high].iter().position(|byte| *byte == b'\n').map_or(high, |at| start + at);
        match name_of(&packed[start..end]).as_slice().cmp(name.as_bytes()) {
            std::cmp::Ordering::Equal => return value(&packed[start..end]),
            std::cmp::Ordering::Greater => high = start,
            std::cmp::Ordering::Less => {
                low = (end + 1).min(high);
                while low < high && packed[low] == b'^' {
                    low = packed[low..high]
                        .iter()
                        .position(|byte| *byte == b'\n')
                        .map_or(high, |at| low + at + 1);
                }
            }
        }
    }
    None
}

/// Writes a ref of a git directory of ours, atomically. The object must be known to be whole.
pub(super) fn write_ref(git_dir: &Path, name: &str, commit: &CommitId) -> io::Result<()> {
    private_files::write_atomic(&git_dir.join(name), format!("{commit}\n").as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::git::bare_repository::ensure;

    #[test]
    fn every_ref_of_a_packed_file_is_found_and_no_other() {
        for header in ["# pack-refs with: peeled fully-peeled sorted \n", ""] {
            for count in [0, 1, 2, 3, 10, 257] {
                let mut text = header.to_owned();
                for n in 0..count {
                    text.push_str(&format!("{:040x} refs/agents/{n:04}/head\n", n + 1));
                    if n % 3 == 0 {
                        text.push_str(&format!("^{:040x}\n", n + 100_000));
                    }
                }
                for n in 0..count {
                    let found = packed_ref(text.as_bytes(), &format!("refs/agents/{n:04}/head"));
                    assert_eq!(found.unwrap().as_str(), format!("{:040x}", n + 1), "{n} of {count}");
                }
                for missing in ["refs/agents", "refs/agents/0000/heae", "refs/zzz", "a"] {
                    assert_eq!(packed_ref(text.as_bytes(), missing), None, "{missing} of {count}");
                }
            }
        }
    }

    #[test]
    fn a_bare_repository_is_made_once_and_refs_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let bare = dir.path().join("repos/x.git");
        ensure(&bare, false).unwrap();
        ensure(&bare, false).unwrap();
        assert_eq!(fs::read_dir(bare.parent().unwrap()).unwrap().count(), 1);
        let commit: CommitId = "a".repeat(40).parse().unwrap();
        write_ref(&bare, "refs/agents/x/head", &commit).unwrap();
        assert_eq!(read_ref(&bare, "refs/agents/x/head"), Some(commit.clone()));
        assert_eq!(read_ref(&bare, "refs/agents/y/head"), None);
        fs::write(bare.join("packed-refs"), format!("# pack-refs\n{commit} refs/heads/p\n")).unwrap();
        assert_eq!(read_ref(&bare, "refs/heads/p"), Some(commit));
    }
}
