//! Taking in a commit that another orchestrator wants judged here. Its bundle is as untrusted as one of an agent: it goes the same
//! way, every object checked, and nothing gets a ref before its whole history is known to be there.

use std::path::Path;

use mosaic_core::ports::repositories::JudgingRequest;

use super::bundle::{hostile, open};
use crate::git::bundle_spec::BUNDLE;
use crate::git::errors::GitError;
use crate::git::repositories::GitRepositories;
use crate::git::{bare_repository, errors};

impl GitRepositories {
    pub(crate) async fn receive_for_judging_now(
        &self,
        request: &JudgingRequest,
        directory: &Path,
    ) -> Result<(), GitError> {
        self.ready().await;
        let bundle = open(directory, BUNDLE)?.ok_or_else(|| hostile("there is no bundle"))?;
        if bundle.head.as_ref() != Some(&request.commit) {
            return Err(hostile(format_args!("its HEAD is not {}", request.commit)));
        }
        let dir = self.layout.bare_repository(&request.repository);
        bare_repository::ensure(&dir, bare_repository::is_sha256(&request.commit))
            .map_err(|e| errors::io("making the bare repository", e))?;
        self.take_pack(&dir, &bundle, &request.base).await?;
        let seen = self.history(&dir, &request.base, &[&request.commit]).await?;
        if !seen.head || !seen.descends {
            return Err(hostile(format_args!("{} does not descend from {}", request.commit, request.base)));
        }
        // The base may have come with the bundle, and then no branch of a remote holds it.
        for (name, commit) in [("head", &request.commit), ("base", &request.base)] {
            self.write_ref(&dir, &format!("refs/agents/{}/{name}", request.agent), commit)
                .await
                .map_err(|e| errors::io("keeping the judged commit", e))?;
        }
        Ok(())
    }
}
