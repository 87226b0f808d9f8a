//! Trial merge of a commit onto the newest base.

use mosaic_core::domain::ids::{BranchName, CommitId};
use mosaic_core::domain::repository::RepositoryUrl;
use mosaic_core::limits;
use mosaic_core::ports::repositories::Fit;

use crate::git::command::Input;
use crate::git::errors;
use crate::git::errors::GitError;
use crate::git::repositories::GitRepositories;

impl GitRepositories {
    pub(crate) async fn fit_now(
        &self,
        url: &RepositoryUrl,
        base: &BranchName,
        head: &CommitId,
    ) -> Result<Fit, GitError> {
        // Fetched at this moment: the base of the checkout may be hours old, and a conflict with it would be found by whoever
        // merges the branch.
        let newest = self.fetch_now(url, base, None).await?.base;
        // A head that was received on top of this very base needs no merge; for most agents the base has not moved.
        if self.descends(head, &newest) {
            return Ok(Fit::Clean(newest));
        }
        let call = self.git.local(&self.layout.bare_repository(url)).args([
            "merge-tree",
            "--write-tree",
            // A remote that was rewritten from its first commit is a conflict to be named, and not an error of git's.
            "--allow-unrelated-histories",
            "--name-only",
            "--no-messages",
            "-z",
            newest.as_str(),
            head.as_str(),
        ]);
        let done = call.run(Input::Nothing, limits::LISTING_BYTES).await?;
        match done.code() {
            Some(0) => Ok(Fit::Clean(newest)),
            Some(1) => {
                // The first field is the tree with the conflict markers.
                let paths = done.stdout.split(|b| *b == 0).skip(1).filter(|p| !p.is_empty());
                let files =
                    paths.take(limits::FINDINGS).map(|p| String::from_utf8_lossy(p).into_owned()).collect();
                Ok(Fit::Conflict { base: newest, files })
            }
            _ => Err(errors::local("merging onto the newest base", done.status, &done.stderr)),
        }
    }
}
