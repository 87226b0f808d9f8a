//! Asking the remote and bringing its base branch into the bare repository. The usual case, a base that has not moved, is one
//! question (see `ask`) and nothing else; fetches for one repository wait for each other and share what the last one found.

use std::path::Path;
use std::time::Instant;

use mosaic_core::domain::ids::{BranchName, CommitId};
use mosaic_core::domain::outcome::FailureKind;
use mosaic_core::domain::repository::RepositoryUrl;
use mosaic_core::ports::repositories::RemoteState;

use super::ask::Tips;
use super::blocked_branch::{Above, blocked};
use super::last_fetch::LastFetch;
use super::view::View;
use crate::git::command::{Finished, Input};
use crate::git::errors::GitError;
use crate::git::repositories::GitRepositories;
use crate::git::{bare_repository, errors, messages, ref_files};

/// Room for the answer of `ls-remote` about a few exact names.
const ANSWER_BYTES: usize = 64 * 1024;

impl GitRepositories {
    pub(crate) async fn fetch_now(
        &self,
        url: &RepositoryUrl,
        base: &BranchName,
        own: Option<&BranchName>,
    ) -> Result<RemoteState, GitError> {
        self.ready().await;
        // Taken before the remote is asked: only a fetch that began later has seen at least what this question saw.
        let asked = Instant::now();
        let above = own.map(Above::of).unwrap_or_default();
        let dir = self.layout.bare_repository(url);
        let along = self.asked_along(&dir, &above);
        let names: Vec<&BranchName> =
            std::iter::once(base).chain(&above.task).chain(along.unwrap_or_default()).chain(own).collect();
        let answer = self.answer(url, &names).await?;
        let tip = own.and_then(|own| answer.of(own)).cloned();
        let Some(seen) = answer.of(base) else {
            let place = errors::plain(url.as_str());
            let why = format!("the branch {base} does not exist in {place}; check context.branch");
            return Err(GitError::refused(FailureKind::MissingBranch, why));
        };
        // Where the branch itself is, nothing stands in its way.
        if let Some(own) = own.filter(|_| tip.is_none()) {
            let by = above.taken_in(&answer).or(above.taken_by(base));
            by.map_or(Ok(()), |by| Err(blocked(own, &above, by)))?;
            match along {
                Some(_) => self.note_free_prefix(&dir, &above, answer.listed),
                None => self.refuse_blocked(url, &dir, own, &above).await?,
            }
        }
        bare_repository::ensure(&dir, bare_repository::is_sha256(seen))
            .map_err(|e| errors::io("making the server's bare repository", e))?;
        let brought = self.bring(url, &dir, base, seen.clone(), asked).await?;
        // A start needs tags, and a trial merge does not.
        if own.is_some() && brought == *seen {
            self.look_for_tags(url, &dir, base).await;
        }
        Ok(RemoteState { base: brought, tip })
    }

    /// Makes sure that the bare repository has the branch as it was seen, or newer.
    async fn bring(
        &self,
        url: &RepositoryUrl,
        dir: &Path,
        branch: &BranchName,
        seen: CommitId,
        asked: Instant,
    ) -> Result<CommitId, GitError> {
        let name = format!("refs/heads/{branch}");
        if ref_files::read_ref(dir, &name).as_ref() == Some(&seen) {
            return Ok(seen);
        }
        // A hundred agents of one repository start at once and want the same commit. One fetches, and the others find its
        // result once they have the lock.
        let lock = self.repository_lock(dir);
        let mut last = lock.lock().await;
        if ref_files::read_ref(dir, &name).as_ref() == Some(&seen) {
            return Ok(seen);
        }
        if let Some(fetched) = last.get(branch.as_str()).filter(|f| f.began >= asked) {
            return Ok(fetched.tip.clone());
        }
        let began = Instant::now();
        // Into a view and not into the repository itself, whose refs git would all read and offer to the remote.
        let view = self.view(dir).map_err(|e| errors::io("fetching the base branch", e))?;
        // With force: the remote may have rewritten its branch, and what it shows now is the base.
        let refspec = format!("+{name}:{name}");
        let mut done = self.fetch_refspec(url, dir, &view, &refspec, Tags::Follow).await?;
        if !done.status.success() && self.removed_stale_locks(dir, &done.stderr).await {
            done = self.fetch_refspec(url, dir, &view, &refspec, Tags::Follow).await?;
        }
        if !done.status.success() && messages::is_about_a_tag(&done.stderr) {
            // A tag that cannot be kept, such as `v1/a` where `v1` was, must not cost the branch.
            done = self.fetch_refspec(url, dir, &view, &refspec, Tags::None).await?;
        }
        self.pack_tags(dir).await?;
        if !done.status.success() {
            return Err(errors::remote("fetching the base branch", url, done.status, &done.stderr));
        }
        // git leaves such a branch out and calls that a success.
        if messages::left_out_a_shallow_branch(&done.stderr) {
            let place = errors::plain(url.as_str());
            let why = format!(
                "{place} is a shallow clone, which lacks the history that a branch stands on; \
                 run `git fetch --unshallow` there, or check it out with its whole history (fetch-depth: 0)"
            );
            return Err(GitError::refused(FailureKind::BadInput, why));
        }
        let tip = view.tip(&name).ok_or_else(|| {
            GitError::refused(
                FailureKind::Internal,
                format!("git fetched the branch {branch} but left no ref of it"),
            )
        })?;
        // Only now, when all objects are there, the ref moves: a fetch that was killed leaves the old base, which is whole.
        clear_the_way(dir, &name);
        self.write_ref(dir, &name, &tip).await.map_err(|e| errors::io("keeping the base branch", e))?;
        last.insert(branch.to_string(), LastFetch { began, tip: tip.clone() });
        Ok(tip)
    }

    pub(crate) async fn fetch_refspec(
        &self,
        url: &RepositoryUrl,
        dir: &Path,
        view: &View,
        refspec: &str,
        tags: Tags,
    ) -> Result<Finished, GitError> {
        // The tags of commits that are fetched come along: `git describe` tells versions by them.
        let tags: &[&str] = if tags == Tags::None { &["--no-tags"] } else { &[] };
        let call = self.git.network(dir, url)?.args(["fetch", "--quiet"]).args(tags).args([
            "--no-recurse-submodules",
            "--no-write-fetch-head",
            "--no-auto-maintenance",
            "--end-of-options",
            url.as_str(),
            refspec,
        ]);
        call.through(view.places()).run(Input::Nothing, ANSWER_BYTES).await
    }

    /// Asks the remote for the tips of these branches, in their order.
    pub(crate) async fn tips(
        &self,
        url: &RepositoryUrl,
        branches: &[&BranchName],
    ) -> Result<Vec<Option<CommitId>>, GitError> {
        let answer = self.answer(url, branches).await?;
        Ok(branches.iter().map(|branch| answer.of(branch).cloned()).collect())
    }

    /// Asks the remote for the tips of these branches.
    pub(crate) async fn answer(
        &self,
        url: &RepositoryUrl,
        branches: &[&BranchName],
    ) -> Result<Tips, GitError> {
        self.allow(url)?;
        let names: Vec<String> = branches.iter().map(|b| format!("refs/heads/{b}")).collect();
        if let Some(tips) = self.listed(url, &names).await? {
            return Ok(tips);
        }
        // In a directory without a repository, so that no setting of one (`url.*.insteadOf`, `remote.*`) can turn the address
        // into another.
        let call = self.git.network(&self.layout.nowhere(), url)?;
        let call = call.args(["ls-remote", "--quiet", "--end-of-options", url.as_str()]).args(&names);
        let done = call.run(Input::Nothing, ANSWER_BYTES).await?;
        if !done.status.success() {
            return Err(errors::remote("reading the remote", url, done.status, &done.stderr));
        }
        let text = done.text();
        let lines = text.lines().filter_map(|line| line.split_once('\t'));
        let ours = lines.clone().filter(|(_, name)| names.iter().any(|wanted| wanted == name));
        let tip = |(id, name): (&str, &str)| Some((name.to_owned(), id.parse().ok()?));
        Ok(Tips { by_name: ours.filter_map(tip).collect(), listed: lines.count() })
    }
}

/// Which tags a fetch brings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tags {
    /// Those of the commits that it brings.
    Follow,
    /// None.
    None,
}

/// Removes refs of ours that stand where the branch's path needs a directory or a file: `a` and `a/b` cannot both
/// exist, and the remote has replaced one by the other.
fn clear_the_way(dir: &Path, name: &str) {
    for (at, _) in name.match_indices('/').skip(2) {
        let above = dir.join(&name[..at]);
        if above.is_file() {
            let _ = std::fs::remove_file(above);
        }
    }
    let own = dir.join(name);
    if own.is_dir() {
        // Only directories of refs/heads in a bare repository of ours, which hold nothing but copies of the remote's tips.
        let _ = std::fs::remove_dir_all(own);
    }
}
