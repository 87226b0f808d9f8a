//! The description of a salvaged tree beyond commits and files: written by the salvage inside the agent's confinement, read by
//! restore. It comes from the agent's side, so every word in it is checked where it is used.
//!
//! The salvage commit `W` has the working tree as its tree. Its parents are, where they exist: HEAD, a commit `I` of
//! the index, a commit `M` that holds this description, then tips of branches, stashes and of what was being merged.
//! `W`'s message names `M`. The tree of `M`: `state.json`, `unmerged/<n>` (the sides of conflicts), and
//! `extra/<n / 1000>/<n>`: files that no tree that git accepts can hold under their own name, above all those of
//! nested repositories.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Begins the line of the salvage commit's message that names the description.
pub(crate) const STATE_LINE: &str = "Mosaic-State: ";
/// The description's name in its commit's tree.
pub(crate) const STATE_FILE: &str = "state.json";
/// Name of a nested repository's `.git` when it is restored: its settings and hooks came from the agent, and
/// under its own name git would obey them.
pub(crate) const NESTED_GIT: &[u8] = b".git-salvaged";

/// A path relative to the tree, as bytes; on the wire with `%xx` for what is not plain ASCII.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct RelPath(pub(crate) Vec<u8>);

impl Serialize for RelPath {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut text = String::with_capacity(self.0.len());
        for byte in &self.0 {
            match byte {
                b'%' | 0..=b' ' | 0x7f..=0xff => text.push_str(&format!("%{byte:02x}")),
                _ => text.push(char::from(*byte)),
            }
        }
        to.serialize_str(&text)
    }
}

impl<'de> Deserialize<'de> for RelPath {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        let mut bytes = Vec::with_capacity(text.len());
        let mut rest = text.bytes();
        while let Some(byte) = rest.next() {
            let byte = match byte {
                b'%' => {
                    let digits =
                        [rest.next(), rest.next()].map(|d| char::from(d.unwrap_or(b'?')).to_digit(16));
                    let [Some(high), Some(low)] = digits else {
                        return Err(serde::de::Error::custom("a path is badly encoded"));
                    };
                    u8::try_from(high * 16 + low).map_err(serde::de::Error::custom)?
                }
                plain => plain,
            };
            bytes.push(byte);
        }
        Ok(Self(bytes))
    }
}

/// One side of an unmerged index entry, or (stage 0) an entry that no tree can hold; its content is
/// `unmerged/<place in the list>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Unmerged {
    pub(crate) path: RelPath,
    pub(crate) stage: u8,
    pub(crate) mode: String,
    pub(crate) object: String,
}

/// A file that stands under another name in the salvage; its content is `extra/…/<place in the list>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Extra {
    pub(crate) path: RelPath,
    pub(crate) mode: u32,
    /// The content is the target of a symbolic link.
    #[serde(default)]
    pub(crate) link: bool,
}

/// A branch or a stash with its commit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Tip {
    pub(crate) name: String,
    pub(crate) commit: String,
}

/// The description.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct State {
    pub(crate) version: u32,
    /// HEAD was received by itself too: this is about what lies beside it.
    pub(crate) aside: bool,
    /// HEAD's commit; none on a branch without commits.
    pub(crate) head: Option<String>,
    /// The branch that HEAD was on; none when it was detached.
    pub(crate) head_ref: Option<String>,
    /// The commit whose tree is the index; none when the index could not be read.
    pub(crate) index: Option<String>,
    /// The index holds content that neither the commits nor the tree have.
    pub(crate) staged: bool,
    /// Unmerged index entries: in `index` they are ours, else theirs, else the common ancestor.
    pub(crate) unmerged: Vec<Unmerged>,
    /// Entries that were only announced (`git add -N`).
    pub(crate) intent: Vec<RelPath>,
    /// Permissions that are neither 644 nor 755, and for directories not 755.
    pub(crate) modes: Vec<(RelPath, u32)>,
    /// Directories without any entry.
    pub(crate) empty: Vec<RelPath>,
    pub(crate) extra: Vec<Extra>,
    /// Branches, tags and detached heads of other worktrees with commits that HEAD and the base do not have.
    pub(crate) branches: Vec<Tip>,
    /// Newest first, with their messages.
    pub(crate) stashes: Vec<Tip>,
    /// Commits that were being merged.
    pub(crate) merging: Vec<String>,
    /// Operations under way: `merge`, `rebase`, `am`, `cherry-pick`, `revert`, `bisect`.
    pub(crate) under_way: Vec<String>,
    /// Paths that cannot be kept: sockets, pipes, devices, files that cannot be read.
    pub(crate) left_out: Vec<RelPath>,
}

impl State {
    /// Tells whether it describes nothing that `HEAD` and the trees do not say.
    pub(crate) fn is_plain(&self) -> bool {
        self.unmerged.is_empty()
            && self.intent.is_empty()
            && self.extra.is_empty()
            && self.branches.is_empty()
            && self.stashes.is_empty()
            && self.under_way.is_empty()
    }
}

/// Where the content of the extra file with this number is in the description's tree.
pub(crate) fn extra_place(number: usize) -> String {
    format!("extra/{:03}/{number}", number / 1000)
}

/// Tells whether git refuses such a path in a tree from elsewhere, or reads the file as settings of its own. Takes in
/// more than git does: names that only other file systems would take for these.
pub(crate) fn is_odd(path: &[u8], is_link: bool) -> bool {
    let parts: Vec<Vec<u8>> = path.split(|b| *b == b'/').map(plain_part).collect();
    let last = parts.last().map(Vec::as_slice).unwrap_or_default();
    let settings = |part: &Vec<u8>| {
        part == b".gitattributes" || part.starts_with(b"gitatt~") || part.starts_with(b"gi7d29")
    };
    parts.iter().any(|part| part == b".git" || part.starts_with(b"git~"))
        || parts[..parts.len() - 1].iter().any(|part| settings(part) || part == b".gitmodules")
        || last == b".gitmodules"
        || last.starts_with(b"gitmod~")
        || last.starts_with(b"gi7eb")
        || is_link && (last.starts_with(b".git") || last.starts_with(b"git"))
        || path.contains(&b'\\') && contains_git(path)
        || path.split(|b| *b == b'/').any(|part| part.len() > 4096 || part == b"." || part == b"..")
}

/// Tells whether a path is in a git directory that is kept under another name.
pub(crate) fn is_of_git_dir(path: &[u8]) -> bool {
    path.split(|b| *b == b'/').any(|part| part == NESTED_GIT)
}

/// A part as the pickiest file system sees it.
fn plain_part(part: &[u8]) -> Vec<u8> {
    let stream = part.iter().position(|b| *b == b':').unwrap_or(part.len());
    let mut plain: Vec<u8> =
        part[..stream].iter().filter(|b| b.is_ascii()).map(u8::to_ascii_lowercase).collect();
    while matches!(plain.last(), Some(b' ' | b'.')) {
        plain.pop();
    }
    plain
}

fn contains_git(path: &[u8]) -> bool {
    let lower = path.to_ascii_lowercase();
    lower.windows(3).any(|w| w == b"git")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_path_reads_back() {
        for bytes in [&b"a/b"[..], b"\xff\xfe 100%\n\t", "\u{e4}/\u{1f980}".as_bytes(), b"%41"] {
            let path = RelPath(bytes.to_vec());
            let text = serde_json::to_string(&path).unwrap();
            assert!(text.is_ascii(), "{text}");
            assert_eq!(serde_json::from_str::<RelPath>(&text).unwrap(), path);
        }
        for bad in ["\"%\"", "\"%4\"", "\"%zz\""] {
            assert!(serde_json::from_str::<RelPath>(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_git_refuses_is_odd_and_ordinary_names_are_not() {
        for odd in [
            &b".git"[..],
            b"a/.GIT/config",
            b"x/.git./y",
            b"GIT~1",
            b".git\xe2\x80\x8c/x",
            b".git::$INDEX_ALLOCATION/x",
            b".gitmodules",
            b"GITMOD~1",
            b"a\\.git\\x",
        ] {
            assert!(is_odd(odd, false), "{}", String::from_utf8_lossy(odd));
        }
        for plain in
            [&b".github/x"[..], b".gitignore", b".gitattributes", b"a.git/x", b"git/x", b"b\\c", b".gitkeep"]
        {
            assert!(!is_odd(plain, false), "{}", String::from_utf8_lossy(plain));
        }
        assert!(is_odd(b".gitignore", true), "a link git would refuse");
    }
}
