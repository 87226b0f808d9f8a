//! Judging exactly one commit: a fresh checkout without a git directory, and whether it fits onto the newest base.

use std::path::PathBuf;

use mosaic_core::domain::ids::{AgentId, BranchName, CommitId};
use mosaic_core::domain::outcome::{Failure, FailureKind};
use mosaic_core::domain::repository::RepositoryUrl;
use mosaic_core::limits;
use mosaic_core::ports::repositories::Fit;

use super::command::Input;
use super::{GitRepositories, errors, store};

impl GitRepositories {
    pub(super) async fn checkout_now(
        &self,
        url: &RepositoryUrl,
        agent: AgentId,
        commit: &CommitId,
        label: &str,
    ) -> Result<PathBuf, Failure> {
        let label_ok = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
        if label.is_empty() || label.len() > 64 || !label.bytes().all(label_ok) {
            return Err(Failure::new(
                FailureKind::BadInput,
                "a checkout's label is made of letters, digits, dashes and underscores",
            ));
        }
        self.ready().await;
        let io = |e: std::io::Error| errors::io("making a fresh checkout", &e);
        let (name, index_name) = (format!("judge-{label}"), format!("judge-{label}.index"));
        self.trash
            .discard_in(&self.layout.agent(agent), |entry| entry == name || entry.starts_with(&index_name))
            .map_err(io)?;
        let path = self.layout.agent(agent).join(&name);
        store::private_dir(&path).map_err(io)?;
        let index = self.layout.agent(agent).join(&index_name);
        let call = self.git.local(&self.layout.store(url)).work_tree(&path, Some(&index));
        let done = call.args(["read-tree", "--reset", "-u", commit.as_str()]).run(Input::Nothing, 0).await?;
        let _ = std::fs::remove_file(&index);
        done.success("making a fresh checkout")?;
        Ok(path)
    }

    pub(super) async fn fit_now(
        &self,
        url: &RepositoryUrl,
        base: &BranchName,
        head: &CommitId,
    ) -> Result<Fit, Failure> {
        let newest = self.fetch_now(url, base, None).await?.base;
        if self.descends(head, &newest) {
            return Ok(Fit::Clean(newest));
        }
        let call = self.git.local(&self.layout.store(url)).args([
            "merge-tree",
            "--write-tree",
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
