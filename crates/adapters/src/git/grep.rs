//! Files of a commit that hold certain lines.

use mosaic_core::domain::ids::CommitId;
use mosaic_core::domain::outcome::Failure;
use mosaic_core::domain::repository::RepositoryUrl;
use mosaic_core::limits;

use super::GitRepositories;
use super::command::Input;

impl GitRepositories {
    /// Implements `Repositories::files_with`.
    pub(super) async fn files_with_now(
        &self,
        url: &RepositoryUrl,
        commit: &CommitId,
        lines: &[String],
    ) -> Result<Vec<(String, Vec<u8>)>, Failure> {
        // By standard input: the lines are secrets, and arguments stand in the process table.
        let call =
            self.git.local(&self.layout.store(url)).args(["grep", "-z", "-l", "-F", "-f", "-", "--text"]);
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
            if let Some(bytes) = self.read_file_now(url, commit, path, limits::SECRET_FILE_BYTES).await? {
                files.push((path.to_owned(), bytes));
            }
        }
        Ok(files)
    }
}
