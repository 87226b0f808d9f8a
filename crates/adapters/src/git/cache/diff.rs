//! The difference between two commits: its files, paired with their old names, and its text. Objects only, as in `read`.

use std::collections::HashMap;

use mosaic_core::domain::ids::CommitId;
use mosaic_core::domain::outcome::FailureKind;
use mosaic_core::domain::repository::RepositoryUrl;
use mosaic_core::limits;
use mosaic_core::ports::repositories::{ChangeKind, DiffForm, FileStat};

use crate::git::command::Input;
use crate::git::errors::GitError;
use crate::git::repositories::GitRepositories;

/// The comparison, the same for the list of files and for the text: what is paired in one is paired in the other.
const COMPARISON: &[&str] = &[
    "diff-tree",
    "-r",
    "--find-renames",
    "--find-copies",
    "--no-ext-diff",
    "--no-textconv",
    "--no-color",
    "--src-prefix=a/",
    "--dst-prefix=b/",
    "--submodule=short",
];

impl GitRepositories {
    pub(crate) async fn diff_now(
        &self,
        url: &RepositoryUrl,
        base: &CommitId,
        head: &CommitId,
        form: DiffForm,
        most: usize,
    ) -> Result<(Vec<u8>, bool), GitError> {
        // Work that the agent merged from upstream is not its own; without this a merge would show every change that others
        // made meanwhile.
        let base = self.upstream(url, base, head).await?;
        let mut call = self.git.local(&self.layout.bare_repository(url)).args(COMPARISON).args(["-p"]);
        if form == DiffForm::Applicable {
            call = call.args(["--binary"]);
        }
        let call = call.args(["--end-of-options", base.as_str(), head.as_str()]);
        let done = call.run(Input::Nothing, most).await?.success("making the diff")?;
        Ok((done.stdout, done.cut))
    }

    pub(crate) async fn stat_now(
        &self,
        url: &RepositoryUrl,
        base: &CommitId,
        head: &CommitId,
    ) -> Result<Vec<FileStat>, GitError> {
        let base = self.upstream(url, base, head).await?;
        let call = self.git.local(&self.layout.bare_repository(url)).args(COMPARISON).args([
            "-z",
            "--raw",
            "--numstat",
        ]);
        let call = call.args(["--end-of-options", base.as_str(), head.as_str()]);
        let done =
            call.run(Input::Nothing, limits::LISTING_BYTES).await?.success("listing the changed files")?;
        // A part of the list would pass for the whole: a gate on changed files would never see the rest.
        if done.cut {
            return Err(GitError::refused(
                FailureKind::BadInput,
                "the commits differ in too many files to list",
            ));
        }
        files(&done.stdout).ok_or_else(|| {
            GitError::refused(FailureKind::Internal, "git's list of changed files could not be understood")
        })
    }
}

/// Reads `--raw --numstat -z`: first an entry for every file with its modes and kind, then one with its numbers. `None` for an
/// entry that is not whole.
fn files(output: &[u8]) -> Option<Vec<FileStat>> {
    let mut fields = output.split(|byte| *byte == 0).peekable();
    let mut files = Vec::new();
    while let Some(head) = fields.next_if(|field| field.starts_with(b":")) {
        files.push(entry(head, &mut fields)?);
    }
    let mut numbers = HashMap::new();
    while let Some(line) = fields.next() {
        let mut words = line.splitn(3, |byte| *byte == b'\t');
        let (Some(added), Some(deleted), Some(path)) = (words.next(), words.next(), words.next()) else {
            continue;
        };
        // With a new name both names follow in fields of their own.
        let path = if path.is_empty() { fields.next().and_then(|_| fields.next()) } else { Some(path) };
        numbers.insert(path.unwrap_or_default().to_vec(), (number(added), number(deleted)));
    }
    for file in &mut files {
        (file.added, file.deleted) = numbers.get(&file.path).copied().unwrap_or_default();
    }
    Some(files)
}

/// Reads the modes, the kind and the names of one file.
fn entry<'a>(head: &[u8], fields: &mut impl Iterator<Item = &'a [u8]>) -> Option<FileStat> {
    let words: Vec<&str> = std::str::from_utf8(head).ok()?.trim_start_matches(':').split(' ').collect();
    let [old_mode, new_mode, _, _, status] = words.as_slice() else { return None };
    let kind = match status.as_bytes().first()? {
        b'A' => ChangeKind::Added,
        b'D' => ChangeKind::Deleted,
        b'R' => ChangeKind::Renamed,
        b'C' => ChangeKind::Copied,
        b'T' => ChangeKind::Typechanged,
        _ => ChangeKind::Modified,
    };
    let first = fields.next()?.to_vec();
    let (old_path, path) = match kind {
        ChangeKind::Renamed | ChangeKind::Copied => (Some(first), fields.next()?.to_vec()),
        _ => (None, first),
    };
    let mode = |mode: &str| (mode != "000000").then(|| mode.to_owned());
    let (old_mode, new_mode) = (mode(old_mode), mode(new_mode));
    Some(FileStat { kind, path, old_path, old_mode, new_mode, added: None, deleted: None })
}

fn number(word: &[u8]) -> Option<u64> {
    std::str::from_utf8(word).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_have_their_kind_both_names_modes_and_numbers() {
        let id = "0".repeat(40);
        let raw = format!(
            ":100644 100644 {id} {id} R087\0old name\0new\tname\0:100644 120000 {id} {id} T\0link\0:000000 100755 {id} {id} A\0bin\0"
        );
        let mut output = raw.into_bytes();
        for field in ["1\t2\t", "old name", "new\tname", "1\t3\tlink", "-\t-\tbin"] {
            output.extend(field.bytes().chain([0]));
        }
        let files = files(&output).expect("whole entries");
        let seen: Vec<_> = files.iter().map(|f| (f.kind, f.path.as_slice(), f.added, f.deleted)).collect();
        assert_eq!(
            seen,
            [
                (ChangeKind::Renamed, b"new\tname".as_slice(), Some(1), Some(2)),
                (ChangeKind::Typechanged, b"link", Some(1), Some(3)),
                (ChangeKind::Added, b"bin", None, None),
            ]
        );
        assert_eq!(files[0].old_path.as_deref(), Some(b"old name".as_slice()));
        assert_eq!(
            (files[1].old_mode.as_deref(), files[1].new_mode.as_deref()),
            (Some("100644"), Some("120000"))
        );
        assert_eq!((files[2].old_mode.as_deref(), files[2].is_binary()), (None, true));
        let renamed: Vec<_> = files[0].changed_paths().collect();
        assert_eq!(renamed, [b"old name".as_slice(), b"new\tname"]);
        assert_eq!(files[1].changed_paths().collect::<Vec<_>>(), [b"link".as_slice()]);
    }

    #[test]
    fn half_an_entry_is_no_list() {
        let id = "0".repeat(40);
        for half in [format!(":100644 100644 {id} {id} R087\0old"), format!(":100644 {id} M\0a\0")] {
            assert_eq!(files(half.as_bytes()), None, "{half}");
        }
    }
}
