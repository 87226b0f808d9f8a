//! Files that lie in a tree and are in no commit of it: each with the reason, so that a person is told, and whether it is kept.

use std::borrow::Cow;

use rustix::fs::FileType;

use mosaic_core::limits;

use crate::git::bundle_spec::LeftReport;
use crate::git::errors;

/// Why something is not in the commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Why {
    /// A pipe, a socket or a device has no content that could be kept.
    Special(&'static str),
    /// It may not be read.
    Unreadable,
    /// Directories are nested too deeply.
    TooDeep,
    /// It is more than can be handed over.
    TooLarge,
    /// Another file system is mounted there.
    Mounted,
    /// No working tree could hold so long a path.
    TooLong,
    /// git refuses the name.
    Refused,
    /// The git directory of a repository in the tree.
    Repository,
    /// Another working tree of the same repository.
    Worktree,
    /// A submodule holds more than the commit that the branch names.
    Submodule,
    /// A link, in a tree whose git cannot be relied on.
    Link,
    /// The index holds content for it that neither the commits nor the tree have.
    Staged,
    /// The agent's own `info/exclude` hides it: nobody else has that rule.
    Hidden,
    /// Ignore rules leave it out that the base does not have.
    Ignored(Ignored),
}

/// Extent and fate of something that only the agent's own ignore rules leave out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ignored {
    pub(super) files: u64,
    pub(super) bytes: u64,
    /// Counting was given up.
    pub(super) is_more: bool,
    pub(super) fate: Fate,
}

/// Fate of ignored files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// The salvage keeps them.
    Salvaged,
    /// A tool installs or builds them anew: they are named and not kept.
    Reproducible,
    /// They are too many or too large for a salvage: they stay in the tree.
    TooMuch,
}

impl Ignored {
    fn text(self) -> String {
        let kept = match self.fate {
            Fate::Salvaged => "kept with the salvaged tree",
            Fate::Reproducible => "not kept, since a tool installs or builds it anew",
            Fate::TooMuch => "too much to be handed over",
        };
        let least = if self.is_more { "at least " } else { "" };
        let files = if self.files == 1 { "file" } else { "files" };
        let Self { files: count, bytes, .. } = self;
        format!(
            "left out by ignore rules that the base does not have: {least}{count} {files}, {}; {kept}",
            size(bytes)
        )
    }
}

/// Writes a size for people.
fn size(bytes: u64) -> String {
    match bytes {
        0..10_240 => format!("{bytes} bytes"),
        10_240..10_485_760 => format!("{} KiB", bytes / 1024),
        _ => format!("{} MiB", bytes / (1024 * 1024)),
    }
}

impl Why {
    pub(super) fn special(kind: FileType) -> Self {
        Self::Special(match kind {
            FileType::Fifo => "a pipe",
            FileType::Socket => "a socket",
            _ => "a device",
        })
    }

    /// Tells whether a salvage keeps it.
    pub(crate) fn is_salvaged(self) -> bool {
        use Why::{Link, Refused, Repository, Staged, Submodule, TooLong, Worktree};
        matches!(self, TooLong | Refused | Repository | Worktree | Submodule | Link | Staged)
            || self.fate() == Some(Fate::Salvaged)
    }

    /// Tells whether it is only where it is, so that the tree must not go.
    pub(crate) fn is_only_there(self) -> bool {
        matches!(self, Self::Unreadable | Self::TooDeep | Self::TooLarge | Self::Hidden)
            || self.fate() == Some(Fate::TooMuch)
    }

    fn fate(self) -> Option<Fate> {
        if let Self::Ignored(ignored) = self { Some(ignored.fate) } else { None }
    }

    /// Tells whether commits keep what they have at this path and below: that it is gone from the tree is not known.
    pub(crate) fn keeps_committed(self) -> bool {
        // Taking a path out of the index and ignoring it is how a file is deleted from a branch and kept at hand.
        self.fate().is_none() && self.is_only_there() || self == Self::Mounted
    }

    fn text(self) -> Cow<'static, str> {
        Cow::Borrowed(match self {
            Self::Ignored(ignored) => return Cow::Owned(ignored.text()),
            Self::Special(what) => what,
            Self::Unreadable => "it may not be read",
            Self::TooDeep => "its directories are nested too deeply",
            Self::TooLarge => "it is too large to be handed over",
            Self::Mounted => "another file system is mounted there",
            Self::TooLong => "its path is too long for a working tree",
            Self::Refused => "git refuses the name",
            Self::Repository => "the data of a repository of its own, whose files are in the commit",
            Self::Worktree => "another working tree of the same repository",
            Self::Submodule => "a submodule with changes that the branch does not name",
            Self::Link => "a link, in a tree whose .git is damaged",
            Self::Hidden => "hidden by the agent's own .git/info/exclude",
            Self::Staged => "staged, while other content or none lies in the tree",
        })
    }
}

/// One thing that is not in the commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Left {
    pub(crate) path: Vec<u8>,
    pub(crate) why: Why,
}

/// Returns where a repository is whose `.git` was left.
fn repository(one: &Left) -> Option<String> {
    let path = one.path.strip_suffix(b"/.git").filter(|_| one.why == Why::Repository)?;
    String::from_utf8(path.to_vec()).ok().filter(|path| path.len() <= 1000)
}

impl LeftReport {
    pub(crate) fn of(left: &[Left]) -> Self {
        let name = |one: &Left| {
            let path: String = String::from_utf8_lossy(&one.path).chars().take(200).collect();
            (errors::plain(&path), one.why.text().into_owned())
        };
        Self {
            named: left.iter().take(limits::NAMED_LEFT).map(name).collect(),
            more: left.len().saturating_sub(limits::NAMED_LEFT) as u64,
            only_there: left.iter().any(|one| one.why.is_only_there()),
            staged: left.iter().any(|one| one.why == Why::Staged),
            repositories: left.iter().filter_map(repository).take(limits::NAMED_LEFT).collect(),
            git_dir: false,
            notes: Vec::new(),
        }
    }
}
