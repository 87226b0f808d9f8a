//! The index of a repository, read from its bytes: which paths are tracked, and what each file looked like when git saw
//! it last. No process is needed, and nothing in the file makes anything run. An index whose entries do not all stand
//! in one file (split or sparse) is left to git.

/// Times, size and inode of a file as git notes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Seen {
    pub(super) ctime: (u32, u32),
    pub(super) mtime: (u32, u32),
    pub(super) inode: u32,
    pub(super) size: u32,
}

/// One entry of an index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) path: Vec<u8>,
    pub(super) mode: u32,
    pub(super) object: String,
    /// 0, or the side of a conflict.
    pub(super) stage: u8,
    /// Announced by `git add -N`.
    pub(super) intent: bool,
    /// Left out of the working tree on purpose (a sparse checkout).
    pub(super) skipped: bool,
    pub(super) seen: Seen,
}

/// Where a nested repository is: its mode in an index or a tree.
pub(super) const GITLINK: u32 = 0o160_000;

const EXTENDED: u16 = 0x4000;
const INTENT: u16 = 0x2000;
const SKIPPED: u16 = 0x4000;

/// A cursor over bytes that may end anywhere.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn number(&mut self) -> Option<u32> {
        Some(u32::from_be_bytes(self.take(4)?.try_into().ok()?))
    }

    fn short(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes(self.take(2)?.try_into().ok()?))
    }

    fn until_nul(&mut self) -> Option<&'a [u8]> {
        let end = self.0.iter().position(|b| *b == 0)?;
        let text = self.take(end)?;
        self.take(1)?;
        Some(text)
    }

    /// Reads a number in git's base-128 form, each further byte of which counts one more.
    fn offset(&mut self) -> Option<usize> {
        let mut byte = self.take(1)?[0];
        let mut value = usize::from(byte & 0x7f);
        while byte & 0x80 != 0 {
            byte = self.take(1)?[0];
            value = value.checked_add(1)?.checked_mul(128)?.checked_add(usize::from(byte & 0x7f))?;
        }
        Some(value)
    }
}

/// Reads an index; `None` when it is damaged, or needs git because its entries do not all stand here.
pub(super) fn parse(bytes: &[u8], sha256: bool) -> Option<Vec<Entry>> {
    let width = if sha256 { 32 } else { 20 };
    let (body, _checksum) = bytes.split_at_checked(bytes.len().checked_sub(width)?)?;
    let mut at = Bytes(body);
    if at.take(4)? != b"DIRC" {
        return None;
    }
    let version = at.number().filter(|v| (2..=4).contains(v))?;
    let count = usize::try_from(at.number()?).ok()?;
    let mut entries: Vec<Entry> = Vec::new();
    for _ in 0..count {
        let entry = entry(&mut at, version, width, entries.last().map_or(&[], |last| &last.path))?;
        if entry.mode == 0o040_000 {
            return None;
        }
        entries.push(entry);
    }
    while at.0.len() >= 8 {
        let name = at.take(4)?;
        let length = usize::try_from(at.number()?).ok()?;
        at.take(length)?;
        // Extensions that change what the entries mean have names in small letters.
        if name[0].is_ascii_lowercase() {
            return None;
        }
    }
    Some(entries)
}

fn entry(at: &mut Bytes<'_>, version: u32, width: usize, before: &[u8]) -> Option<Entry> {
    let start = at.0.len();
    let ctime = (at.number()?, at.number()?);
    let mtime = (at.number()?, at.number()?);
    let (_device, inode, mode) = (at.number()?, at.number()?, at.number()?);
    let (_owner, _group, size) = (at.number()?, at.number()?, at.number()?);
    let object: String = base16ct::lower::encode_string(at.take(width)?);
    let flags = at.short()?;
    let more = if flags & EXTENDED != 0 { at.short()? } else { 0 };
    let path = match version {
        4 => {
            let kept = before.len().checked_sub(at.offset()?)?;
            [&before[..kept], at.until_nul()?].concat()
        }
        _ => {
            let path = at.until_nul()?.to_vec();
            // Padded with up to eight zero bytes, of which one was just taken.
            let used = start - at.0.len();
            at.take((8 - used % 8) % 8)?;
            path
        }
    };
    let stage = u8::try_from(flags >> 12 & 3).ok()?;
    let (intent, skipped) = (more & INTENT != 0, more & SKIPPED != 0);
    Some(Entry { path, mode, object, stage, intent, skipped, seen: Seen { ctime, mtime, inode, size } })
}

/// Reads what `git ls-files -s -t -z` lists.
pub(super) fn parse_listing(listed: &[u8]) -> Vec<Entry> {
    let entry = |line: &[u8]| {
        let tab = line.iter().position(|b| *b == b'\t')?;
        let head = String::from_utf8_lossy(&line[..tab]).into_owned();
        let words: Vec<&str> = head.split(' ').collect();
        let [tag, mode, object, stage] = words.as_slice() else { return None };
        Some(Entry {
            path: line[tab + 1..].to_vec(),
            mode: u32::from_str_radix(mode, 8).ok()?,
            object: (*object).to_owned(),
            stage: stage.parse().ok()?,
            intent: false,
            skipped: tag.eq_ignore_ascii_case("s"),
            seen: Seen::default(),
        })
    };
    listed.split(|b| *b == 0).filter_map(entry).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::process::Command;

    use super::*;

    fn git(at: &Path, args: &[&str]) -> Vec<u8> {
        let out = Command::new("git").args(args).current_dir(at).output().unwrap();
        assert!(out.status.success(), "{args:?}: {}", String::from_utf8_lossy(&out.stderr));
        out.stdout
    }

    #[test]
    fn every_version_of_the_file_says_what_git_says() {
        let dir = tempfile::tempdir().unwrap();
        git(dir.path(), &["init", "-q"]);
        for name in ["a", "dir/b c", "dir/deeper/ü", "dir/deeper/same-length-1", "later", "new\nline"] {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, name).unwrap();
        }
        git(dir.path(), &["add", "a", "dir"]);
        git(dir.path(), &["add", "-N", "later"]);
        for version in ["2", "3", "4"] {
            git(dir.path(), &["update-index", "--index-version", version]);
            git(dir.path(), &["update-index", "--skip-worktree", "dir/b c"]);
            let bytes = std::fs::read(dir.path().join(".git/index")).unwrap();
            let mut read = parse(&bytes, false).unwrap();
            let listed = parse_listing(&git(dir.path(), &["ls-files", "-s", "-t", "-z"]));
            let of = |path: &[u8]| read.iter().find(|e| e.path == path).unwrap();
            assert!(of(b"later").intent && of(b"dir/b c").skipped && !of(b"a").skipped);
            assert_eq!(of(b"a").seen.size, 1);
            for entry in &mut read {
                (entry.seen, entry.intent) = (Seen::default(), false);
            }
            assert_eq!(read, listed, "version {version}");
            assert_eq!(read.len(), 5);
        }
    }

    #[test]
    fn a_damaged_or_divided_index_is_not_read() {
        let dir = tempfile::tempdir().unwrap();
        git(dir.path(), &["init", "-q"]);
        std::fs::write(dir.path().join("a"), "a").unwrap();
        git(dir.path(), &["add", "a"]);
        let whole = std::fs::read(dir.path().join(".git/index")).unwrap();
        for cut in 0..whole.len() - 20 {
            let _ = parse(&whole[..cut], false);
        }
        assert!(parse(&whole[..40], false).is_none() && parse(b"", false).is_none());
        git(dir.path(), &["update-index", "--split-index"]);
        let split = std::fs::read(dir.path().join(".git/index")).unwrap();
        assert!(parse(&split, false).is_none());
    }
}
