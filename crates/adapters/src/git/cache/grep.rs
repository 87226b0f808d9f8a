//! Files of a commit that hold certain lines.

use std::ops::Range;

use aho_corasick::AhoCorasick;
use mosaic_core::domain::ids::CommitId;
use mosaic_core::domain::repository::RepositoryUrl;
use mosaic_core::limits;

use crate::git::command::Input;
use crate::git::errors::GitError;
use crate::git::repositories::GitRepositories;

impl GitRepositories {
    /// Implements `Repositories::files_with`.
    pub(crate) async fn files_with_now(
        &self,
        url: &RepositoryUrl,
        commit: &CommitId,
        lines: &[String],
    ) -> Result<Vec<(String, Vec<u8>)>, GitError> {
        // By standard input: the lines are secrets, and arguments stand in the process table.
        let call = self
            .git
            .local(&self.layout.bare_repository(url))
            .args(["grep", "-z", "-l", "-F", "-f", "-", "--text"]);
        let call = call.args(["--no-color", "--no-textconv", "--full-name", commit.as_str()]);
        let patterns = lines.iter().filter(|line| !line.is_empty()).fold(Vec::new(), |mut all, line| {
            all.extend_from_slice(line.as_bytes());
            all.push(b'\n');
            all
        });
        let found = call.run(Input::Bytes(patterns), limits::LISTING_BYTES).await?;
        // It ends with 1 when nothing was found.
        let found = if found.code() == Some(1) { return Ok(Vec::new()) } else { found };
        let found = found.success("searching the base for what was found")?;
        let start = format!("{commit}:").into_bytes();
        let paths =
            found.stdout.split(|byte| *byte == 0).filter_map(|entry| entry.strip_prefix(start.as_slice()));
        let mut files = Vec::new();
        for path in paths.take(limits::SECRET_FILES) {
            // A name that is no text cannot be asked for; what stands in such a file stays a finding.
            let Ok(path) = std::str::from_utf8(path) else { continue };
            let Some(bytes) = self.read_blob(url, commit, path, limits::SECRET_SEARCHED_BYTES).await? else {
                continue;
            };
            if bytes.len() <= limits::SECRET_FILE_BYTES {
                files.push((path.to_owned(), bytes));
            } else {
                files.extend(around(&bytes, lines).into_iter().map(|part| (path.to_owned(), part)));
            }
        }
        Ok(files)
    }
}

/// Returns what stands around the lines in a large file, at most [`limits::SECRET_FILE_BYTES`] of it.
fn around(bytes: &[u8], lines: &[String]) -> Vec<Vec<u8>> {
    let Ok(search) = AhoCorasick::new(lines.iter().filter(|line| !line.is_empty())) else {
        return Vec::new();
    };
    let mut parts: Vec<Range<usize>> = Vec::new();
    let mut total = 0;
    for found in search.find_iter(bytes) {
        let start = found.start().saturating_sub(limits::SECRET_AROUND);
        let end = (found.end() + limits::SECRET_AROUND).min(bytes.len());
        match parts.last_mut() {
            Some(last) if start <= last.end => {
                total += end - last.end;
                last.end = end;
            }
            _ => {
                total += end - start;
                parts.push(start..end);
            }
        }
        if total > limits::SECRET_FILE_BYTES {
            break;
        }
    }
    parts.into_iter().map(|part| bytes[part].to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_stands_around_the_lines_of_a_large_file_is_returned() {
        let gap = "x".repeat(3 * limits::SECRET_AROUND);
        let file = format!("{gap}\none\n{gap}\ntwo\nthree\n{gap}");
        let parts = around(file.as_bytes(), &["one".to_owned(), "two".to_owned(), "three".to_owned()]);
        let holds: Vec<[bool; 3]> = parts
            .iter()
            .map(|part| {
                ["one", "two", "three"].map(|word| part.windows(word.len()).any(|w| w == word.as_bytes()))
            })
            .collect();
        assert_eq!(holds, [[true, false, false], [false, true, true]]);
        assert!(parts.iter().all(|part| part.len() < gap.len()));
        assert!(around(file.as_bytes(), &[]).is_empty());
    }
}
