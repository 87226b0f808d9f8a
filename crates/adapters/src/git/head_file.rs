//! HEAD and refs of an agent's git directory, read as data: by handles, bounded, with names that lead nowhere else.

use std::os::fd::OwnedFd;

use mosaic_core::domain::ids::CommitId;
use mosaic_core::limits;

use super::handles;

/// Longest ref or file that names commits, in bytes: an octopus merge names one a line.
pub(super) const NAMES_BYTES: u64 = 64 * 1024;

/// Reads where HEAD is, from the files: the branch, unless it is detached, and the commit.
pub(super) fn head_at(git_dir: &OwnedFd) -> Option<(Option<String>, CommitId)> {
    let text = handles::read_plain(git_dir, b"HEAD", NAMES_BYTES).ok()?;
    let text = String::from_utf8_lossy(&text).trim_end().to_owned();
    let Some(name) = text.strip_prefix("ref: ").map(str::trim) else {
        return Some((None, text.parse().ok()?));
    };
    if !is_ref_name(name) {
        return None;
    }
    let loose =
        read_below(git_dir, name, NAMES_BYTES).map(|text| String::from_utf8_lossy(&text).into_owned());
    let packed = || {
        let text = handles::read_plain(git_dir, b"packed-refs", limits::LISTING_BYTES as u64).ok()?;
        let text = String::from_utf8_lossy(&text).into_owned();
        Some(text.lines().find_map(|line| line.split_once(' ').filter(|(_, n)| *n == name))?.0.to_owned())
    };
    Some((Some(name.to_owned()), loose.or_else(packed)?.trim_end().parse().ok()?))
}

/// Reads a plain file some levels below; none when it is missing or something else.
pub(super) fn read_below(from: &OwnedFd, name: &str, most: u64) -> Option<Vec<u8>> {
    let parts: Vec<&[u8]> = name.split('/').map(str::as_bytes).collect();
    let (last, above) = parts.split_last()?;
    match above.is_empty() {
        true => handles::read_plain(from, last, most).ok(),
        false => handles::read_plain(handles::descend(from, above).ok()?, last, most).ok(),
    }
}

/// Tells whether this is a name that git accepts for a ref, which cannot lead out of a git directory either.
pub(super) fn is_ref_name(name: &str) -> bool {
    let ok = |part: &str| {
        !part.is_empty() && !part.starts_with('.') && !part.ends_with(".lock") && !part.ends_with('.')
    };
    let bad = |c: char| c.is_control() || matches!(c, ' ' | '~' | '^' | ':' | '?' | '*' | '[' | '\\');
    name.starts_with("refs/")
        && name.len() <= 4096
        && !name.contains("..")
        && !name.contains("@{")
        && !name.contains(bad)
        && name.split('/').all(ok)
}
