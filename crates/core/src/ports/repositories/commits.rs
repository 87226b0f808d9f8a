//! Commits of a bare repository, read for scans, gates, diffs and briefings.

use std::path::Path;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use crate::domain::gates::FilteredPath;
use crate::domain::ids::CommitId;
use crate::domain::outcome::Failure;
use crate::domain::repository::RepositoryUrl;

/// Part of a commit that a piece of added text belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AddedPart {
    /// Lines of a file.
    Content,
    /// The path of a new file.
    Name,
    /// The message of the commit, or its headers.
    Message,
}

/// Lines added by one commit to one file, for the secret scan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Added {
    /// The commit.
    pub commit: CommitId,
    /// The file, or `None` for the commit message.
    pub path: Option<String>,
    /// First line number of the hunk (in the new file), from 1.
    pub line: u64,
    /// The added lines, joined by newlines; lossy where they are not UTF-8.
    pub text: String,
    /// Part of the commit that the text belongs to.
    pub part: AddedPart,
}

/// Kind of a file's change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the words are the documentation")]
pub enum ChangeKind {
    Added,
    Deleted,
    Modified,
    Renamed,
    Copied,
    Typechanged,
}

/// One changed file of a diff. Names are bytes, as git has them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileStat {
    /// Kind of the change.
    pub kind: ChangeKind,
    /// Path in the repository; the old one of a file that is deleted.
    pub path: Vec<u8>,
    /// The path before, of a file that was renamed or copied.
    pub old_path: Option<Vec<u8>>,
    /// Mode before, in octal digits; `None` for a new file.
    pub old_mode: Option<String>,
    /// Mode afterwards; `None` for a file that is deleted.
    pub new_mode: Option<String>,
    /// Added lines; `None` for binary files.
    pub added: Option<u64>,
    /// Deleted lines; `None` for binary files.
    pub deleted: Option<u64>,
}

impl FileStat {
    /// Returns the extent of a change in one line, as git says it.
    pub fn summary(files: &[Self]) -> String {
        let (plus, minus) = files.iter().fold((0_u64, 0_u64), |(plus, minus), file| {
            (
                plus.saturating_add(file.added.unwrap_or_default()),
                minus.saturating_add(file.deleted.unwrap_or_default()),
            )
        });
        let files = files.len();
        let s = |n: u64| if n == 1 { "" } else { "s" };
        format!(
            "{files} file{} changed, {plus} insertion{}(+), {minus} deletion{}(-)",
            s(files as u64),
            s(plus),
            s(minus)
        )
    }

    /// Returns the paths in which the two commits differ because of this file: both names of one that was renamed. The
    /// source of a copy is as it was.
    pub fn changed_paths(&self) -> impl Iterator<Item = &[u8]> {
        let old = self.old_path.as_deref().filter(|_| self.kind == ChangeKind::Renamed);
        old.into_iter().chain([self.path.as_slice()])
    }

    /// Tells whether the content is no text.
    pub fn is_binary(&self) -> bool {
        self.added.is_none() && self.deleted.is_none()
    }
}

/// Purpose of a diff's text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DiffForm {
    /// Reading: of binary files it only says that they differ.
    Readable,
    /// `git apply`: with the content of binary files.
    Applicable,
}

/// A git filter that files of a commit go through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilterUse {
    /// The filter's name, as `.gitattributes` gives it.
    pub filter: String,
    /// Number of files that go through it.
    pub paths: u64,
    /// One of them.
    pub example: String,
}

/// Reads commits. Objects only: no filter and no program of any repository runs. Network methods have a deadline of
/// [`crate::limits::GIT_NETWORK`], local ones of [`crate::limits::GIT_LOCAL`]; a child that passes it is killed. Failures carry a kind
/// that decides about a retry, and words without secrets.
#[async_trait]
pub trait Commits: Send + Sync {
    /// Sends every addition of the commits in `base..head`, oldest first, into the channel: commit messages and
    /// the added lines of every file, binary ones and merge resolutions included. A closed channel ends it.
    async fn additions(
        &self,
        repository: &RepositoryUrl,
        base: &CommitId,
        head: &CommitId,
        into: mpsc::Sender<Added>,
    ) -> Result<(), Failure>;

    /// Lists the changed paths of the commits in `base..head` that go through a git filter, by the attributes of the base
    /// or of the head. Content that stands behind the same filter in the base may be moved; deletions are no change.
    async fn filtered(
        &self,
        repository: &RepositoryUrl,
        base: &CommitId,
        head: &CommitId,
    ) -> Result<Vec<FilteredPath>, Failure>;

    /// Lists the git filters that files of a commit go through.
    async fn filters(&self, repository: &RepositoryUrl, commit: &CommitId)
    -> Result<Vec<FilterUse>, Failure>;

    /// Reads one file of a commit; `None` when it does not exist. At most `most` bytes are returned.
    async fn read_file(
        &self,
        repository: &RepositoryUrl,
        commit: &CommitId,
        path: &str,
        most: usize,
    ) -> Result<Option<Vec<u8>>, Failure>;

    /// Returns the files of a commit, with their paths, that hold at least one of these lines: at most
    /// [`crate::limits::SECRET_FILES`], of each at most [`crate::limits::SECRET_FILE_BYTES`].
    async fn files_with(
        &self,
        repository: &RepositoryUrl,
        commit: &CommitId,
        lines: &[String],
    ) -> Result<Vec<(String, Vec<u8>)>, Failure>;

    /// Returns the object ids of paths in a commit, `None` for one that it does not have. The empty path is the whole tree.
    async fn objects(
        &self,
        repository: &RepositoryUrl,
        commit: &CommitId,
        paths: &[String],
    ) -> Result<Vec<Option<String>>, Failure>;

    /// Lists the tracked paths of a commit below a directory (`""` for all).
    async fn list_files(
        &self,
        repository: &RepositoryUrl,
        commit: &CommitId,
        below: &str,
    ) -> Result<Vec<String>, Failure>;

    /// Writes a tracked directory of a commit into an empty directory outside any tree. Links are left out.
    async fn export(
        &self,
        repository: &RepositoryUrl,
        commit: &CommitId,
        directory: &str,
        into: &Path,
    ) -> Result<(), Failure>;

    /// Returns the unified diff between the two commits, at most `most` bytes as they are, and whether it was cut.
    async fn diff(
        &self,
        repository: &RepositoryUrl,
        base: &CommitId,
        head: &CommitId,
        form: DiffForm,
        most: usize,
    ) -> Result<(Vec<u8>, bool), Failure>;

    /// Returns the changed files between the two commits, paired as in the text of [`Commits::diff`].
    async fn stat(
        &self,
        repository: &RepositoryUrl,
        base: &CommitId,
        head: &CommitId,
    ) -> Result<Vec<FileStat>, Failure>;
}
