//! The paths that new commits of an agent change: all of it would be published, not only what is left of it in the head.

use mosaic_core::domain::ids::CommitId;
use mosaic_core::domain::repository::RepositoryUrl;
use mosaic_core::limits;
use tokio::io::BufReader;

use crate::git::command::Input;
use crate::git::errors::GitError;
use crate::git::output::field;
use crate::git::repositories::GitRepositories;

/// Begins the line that names a commit.
const COMMIT: &str = "commit ";

/// A path that a new commit has other than its parents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NewEntry {
    /// The commit.
    pub(crate) commit: String,
    /// Six octal digits; all zero where the path was removed.
    pub(crate) mode: String,
    pub(crate) object: String,
    pub(crate) path: Vec<u8>,
}

impl GitRepositories {
    /// Lists everything that a new commit changes. What was merged from upstream is not new.
    pub(crate) async fn new_entries(
        &self,
        url: &RepositoryUrl,
        base: &CommitId,
        head: &CommitId,
    ) -> Result<Vec<NewEntry>, GitError> {
        let call = self.git.local(&self.layout.bare_repository(url)).args([
            "log",
            "--format=commit %H",
            "--raw",
            "-z",
            "--no-abbrev",
        ]);
        // Without renames each path is named for itself: a rename would hide the new path of a file behind a similar old one.
        let call = call.args(["--no-renames", "--diff-merges=combined", "--root", "--no-notes"]);
        let call = call.args(["--not", "--branches", "--not", "--end-of-options"]);
        let read = |out| async move {
            let (mut out, mut found, mut size) = (BufReader::new(out), Vec::new(), 0usize);
            let mut commit = String::new();
            while let Some(entry) = field(&mut out).await? {
                // Commits are told apart by empty fields and newlines.
                let text = String::from_utf8_lossy(&entry).trim().to_owned();
                let Some(start) = entry.iter().position(|byte| *byte == b':') else {
                    commit = text.strip_prefix(COMMIT).map_or(commit, str::to_owned);
                    continue;
                };
                let Some(path) = field(&mut out).await? else { break };
                size += path.len() + entry.len() + commit.len();
                // The agent decides how many files its commits change.
                if size > limits::LISTING_BYTES {
                    return Err(std::io::Error::other("too many changed files"));
                }
                found.extend(changed(&commit, &entry[start..], path));
            }
            Ok(found)
        };
        let (done, found) = call.args([format!("{base}..{head}")]).stream(Input::Nothing, read).await?;
        done.success("listing what the new commits change")?;
        Ok(found)
    }
}

/// Reads an entry of a raw diff, with as many colons as there are parents.
fn changed(commit: &str, head: &[u8], path: Vec<u8>) -> Option<NewEntry> {
    let head = std::str::from_utf8(head).ok()?;
    let words = head.trim_start_matches(':');
    let parents = head.len() - words.len();
    let words: Vec<&str> = words.split(' ').collect();
    let (mode, object) = (words.get(parents)?, words.get(2 * parents + 1)?);
    let (commit, mode, object) = (commit.to_owned(), (*mode).to_owned(), (*object).to_owned());
    Some(NewEntry { commit, mode, object, path })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_of_one_and_of_several_parents_are_read() {
        let (a, b, c) = ("a".repeat(40), "b".repeat(40), "c".repeat(40));
        let read = |line: String| changed("x", line.as_bytes(), b"x".to_vec()).unwrap();
        let one = read(format!(":100644 100755 {a} {b} M"));
        assert_eq!((one.mode.as_str(), &one.object, one.path.as_slice()), ("100755", &b, b"x".as_slice()));
        let two = read(format!("::100644 100644 100644 {a} {b} {c} MM"));
        assert_eq!((two.mode.as_str(), &two.object), ("100644", &c));
        assert_eq!(read(format!(":100644 120000 {a} {b} T")).mode, "120000");
        assert_eq!(read(format!(":100644 000000 {a} {b} D")).mode, "000000");
    }
}
