//! Object ids of paths in a commit: they stand for content without reading it.

use mosaic_core::domain::ids::CommitId;
use mosaic_core::domain::repository::RepositoryUrl;
use mosaic_core::limits;

use super::read::is_tracked_path;
use crate::git::command::Input;
use crate::git::errors::GitError;
use crate::git::repositories::GitRepositories;

impl GitRepositories {
    pub(crate) async fn objects_now(
        &self,
        url: &RepositoryUrl,
        commit: &CommitId,
        paths: &[String],
    ) -> Result<Vec<Option<String>>, GitError> {
        // A path that cannot be in a commit is not asked about; git would take it for something else.
        let asked: Vec<&String> = paths.iter().filter(|path| is_asked(path)).collect();
        let ask: String = asked.iter().map(|path| format!("{commit}:{path}\n")).collect();
        let call = self
            .git
            .local(&self.layout.bare_repository(url))
            .args(["cat-file", "--batch-check=%(objectname)"]);
        let done = call.run(Input::Bytes(ask.into_bytes()), limits::LISTING_BYTES).await?;
        let text = done.success("looking up objects of a commit")?.text();
        let mut answers = text.lines();
        let answer = |path: &String| match is_asked(path) {
            // Of what is missing, git repeats the question.
            true => {
                answers.next().filter(|line| line.bytes().all(|b| b.is_ascii_hexdigit())).map(str::to_owned)
            }
            false => None,
        };
        Ok(paths.iter().map(answer).collect())
    }
}

fn is_asked(path: &str) -> bool {
    path.is_empty() || is_tracked_path(path) && !path.contains('\n')
}
