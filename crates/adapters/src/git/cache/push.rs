//! Pushing exactly the judged commit, by compare-and-swap against the tip that was recorded.

use std::path::Path;

use mosaic_core::domain::ids::{BranchName, CommitId};
use mosaic_core::domain::repository::RepositoryUrl;
use mosaic_core::ports::fleet::Hold;
use mosaic_core::ports::repositories::Pushed;

use super::fetch::Tags;
use super::local_push;
use crate::git::command::Input;
use crate::git::errors::GitError;
use crate::git::repositories::GitRepositories;
use crate::git::{errors, messages};

/// Room for `--porcelain` output about one ref.
const ANSWER_BYTES: usize = 64 * 1024;

/// The status of the ref in one line of `git push --porcelain`.
#[derive(Debug, PartialEq, Eq)]
enum Line<'a> {
    Accepted,
    Stale,
    Rejected(&'a str),
}

impl GitRepositories {
    pub(crate) async fn push_now(
        &self,
        url: &RepositoryUrl,
        head: &CommitId,
        branch: &BranchName,
        expected: Option<&CommitId>,
        hold: &Hold,
    ) -> Result<Pushed, GitError> {
        self.allow(url)?;
        let name = format!("refs/heads/{branch}");
        let dir = self.layout.bare_repository(url);
        // With the repository's own refs git would read those of every agent that ever ran for each push.
        let view = self.view(&dir).map_err(|e| errors::io("pushing the branch", e))?;
        let receiving =
            url.local_path().and_then(|remote| local_push::receiving_command(&dir, remote, &name));
        let receiving = receiving.map(|command| format!("--receive-pack={command}"));
        let call = self.git.network_held(&dir, url, hold)?.through(view.places()).args(["push"]);
        let call = call.args(receiving.iter()).args([
            "--porcelain",
            "--no-verify",
            "--no-follow-tags",
            "--no-signed",
            "--recurse-submodules=no",
            // The expected tip is always named, an empty one for a branch that must not exist. Without a value git would
            // compare with a remote-tracking ref, which other fetches move.
            &format!("--force-with-lease={name}:{}", expected.map_or("", CommitId::as_str)),
            "--end-of-options",
            url.as_str(),
            // By its id: a ref could have moved since the gates judged the commit.
            &format!("{head}:{name}"),
        ]);
        // Standard output has the status of the ref in a form made for programs. The remote's own text, which can imitate
        // anything, is on standard error.
        let done = call.run(Input::Nothing, ANSWER_BYTES).await?;
        let text = done.text();
        let said = text.lines().find_map(|l| line(l, &name));
        match said {
            Some(Line::Accepted) if done.status.success() => Ok(Pushed::Done),
            // Stale may also mean that an earlier attempt of ours arrived although its answer was lost. The remote's tip
            // tells these apart.
            Some(Line::Stale) => Ok(self.moved(url, head, branch).await?),
            Some(Line::Rejected(why)) => {
                // Somebody may have been faster between the lease and the remote's own lock.
                if messages::lost_a_race(why) {
                    let now = self.moved(url, head, branch).await?;
                    // Where the branch still is what was expected nobody was faster, and the refusal is the remote's own
                    // decision.
                    if now == Pushed::Done || now != Pushed::Moved(expected.cloned()) {
                        return Ok(now);
                    }
                }
                if expected.is_none()
                    && let Some(blocked) = self.refused_for(url, branch).await
                {
                    return Ok(Pushed::Refused(blocked.to_string()));
                }
                Ok(Pushed::Refused(words(why, &done.stderr)))
            }
            _ => Err(errors::remote("pushing the branch", url, done.status, &done.stderr)),
        }
    }

    async fn moved(
        &self,
        url: &RepositoryUrl,
        head: &CommitId,
        branch: &BranchName,
    ) -> Result<Pushed, GitError> {
        let tip = self.tips(url, &[branch]).await?.pop().flatten();
        Ok(if tip.as_ref() == Some(head) { Pushed::Done } else { Pushed::Moved(tip) })
    }
}

impl GitRepositories {
    pub(crate) async fn shown_now(
        &self,
        url: &RepositoryUrl,
        branch: &BranchName,
        base: &BranchName,
        commits: &[CommitId],
    ) -> Result<Option<CommitId>, GitError> {
        let tips = self.tips(url, &[branch, base]).await?;
        // The common case costs one question and no fetch.
        if let Some(shown) = commits.iter().find(|commit| tips.first() == Some(&Some((*commit).clone()))) {
            return Ok(Some(shown.clone()));
        }
        // Merged meanwhile, or continued by somebody: then a branch is ahead of the commit.
        for (name, tip) in [branch, base].into_iter().zip(tips) {
            let Some(tip) = tip else { continue };
            if let Some(shown) = self.reached(url, name, &tip, commits).await? {
                return Ok(Some(shown));
            }
        }
        Ok(None)
    }

    /// Returns the first of these commits that the remote's branch reaches.
    async fn reached(
        &self,
        url: &RepositoryUrl,
        name: &BranchName,
        tip: &CommitId,
        commits: &[CommitId],
    ) -> Result<Option<CommitId>, GitError> {
        let dir = self.layout.bare_repository(url);
        if !self.has_commit(&dir, tip).await? {
            // Into no ref: objects of a branch that only passes by stay as long as any that nothing reaches.
            let refspec = format!("refs/heads/{name}");
            let view = self.view(&dir).map_err(|e| errors::io("asking the remote", e))?;
            let done = self.fetch_refspec(url, &dir, &view, &refspec, Tags::None).await?;
            if !done.status.success() || !self.has_commit(&dir, tip).await? {
                return Ok(None);
            }
        }
        for commit in commits {
            let call =
                self.git.local(&dir).args(["merge-base", "--is-ancestor", commit.as_str(), tip.as_str()]);
            if call.run(Input::Nothing, 0).await?.code() == Some(0) {
                return Ok(Some(commit.clone()));
            }
        }
        Ok(None)
    }

    async fn has_commit(&self, dir: &Path, commit: &CommitId) -> Result<bool, GitError> {
        let call = self.git.local(dir).args(["cat-file", "-e", &format!("{commit}^{{commit}}")]);
        Ok(call.run(Input::Nothing, 0).await?.status.success())
    }
}

fn line<'a>(line: &'a str, name: &str) -> Option<Line<'a>> {
    let mut fields = line.split('\t');
    let (flag, refs, summary) = (fields.next()?, fields.next()?, fields.next()?);
    if refs.rsplit_once(':')?.1 != name {
        return None;
    }
    Some(match flag {
        " " | "+" | "*" | "=" => Line::Accepted,
        "!" if messages::is_stale_lease(summary) => Line::Stale,
        _ => Line::Rejected(summary),
    })
}

/// The remote's own words: the reason git gives, then what the remote printed.
fn words(why: &str, stderr: &str) -> String {
    let remote =
        stderr.lines().filter_map(|l| l.strip_prefix("remote:")).map(str::trim).filter(|l| !l.is_empty());
    let all: Vec<&str> = std::iter::once(why.trim()).chain(remote).collect();
    mosaic_core::domain::outcome::cut(errors::plain(&all.join("; ")), mosaic_core::limits::ERROR_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn porcelain_lines_are_understood() {
        let name = "refs/heads/b";
        let said = |text| line(text, name);
        assert_eq!(said("*\tabc:refs/heads/b\t[new branch]"), Some(Line::Accepted));
        assert_eq!(said("=\tabc:refs/heads/b\t[up to date]"), Some(Line::Accepted));
        assert_eq!(said("!\tabc:refs/heads/b\t[rejected] (stale info)"), Some(Line::Stale));
        let hook = said("!\tabc:refs/heads/b\t[remote rejected] (pre-receive hook declined)");
        assert_eq!(hook, Some(Line::Rejected("[remote rejected] (pre-receive hook declined)")));
        assert_eq!(said("To https://h/x"), None);
        assert_eq!(said("Done"), None);
        assert_eq!(words("declined", "remote: no \u{1b}[31mway\nremote:\nerror: x"), "declined; no [31mway");
    }
}
