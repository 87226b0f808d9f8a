//! Branches of the remote that stand where an agent's branch needs a directory: git keeps `a` and `a/b` as a file and a
//! directory, so the remote would refuse the push. It is found out before the agent costs anything.

use std::path::Path;
use std::time::Instant;

use mosaic_core::domain::ids::BranchName;
use mosaic_core::domain::outcome::FailureKind;
use mosaic_core::domain::repository::RepositoryUrl;
use mosaic_core::limits;

use super::ask::Tips;
use super::prefix_looks::{PrefixLook, PrefixOf};
use crate::git::errors::GitError;
use crate::git::repositories::{GitRepositories, REMEMBERED};

/// Names above an agent's branch that no branch of its remote may have.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Above {
    /// Those of the prefix, which all agents share.
    prefix: Vec<BranchName>,
    /// That of the task.
    pub(crate) task: Option<BranchName>,
}

impl Above {
    /// Returns the names above a branch.
    pub(crate) fn of(own: &BranchName) -> Self {
        let name = own.as_str();
        let mut all: Vec<BranchName> =
            name.match_indices('/').filter_map(|(at, _)| name[..at].parse().ok()).collect();
        let task = all.pop();
        Self { prefix: all, task }
    }

    /// Returns the highest of these names that the remote has, as far as it was asked.
    pub(crate) fn taken_in(&self, answer: &Tips) -> Option<&BranchName> {
        self.prefix.iter().chain(&self.task).find(|name| answer.of(name).is_some())
    }

    /// Returns the place at which looks at the prefix are remembered; none for a branch without one.
    fn key(&self, dir: &Path) -> Option<PrefixOf> {
        Some((dir.to_owned(), self.prefix.last()?.to_string()))
    }

    /// Returns the name that a branch takes, when it is one of these.
    pub(crate) fn taken_by(&self, branch: &BranchName) -> Option<&BranchName> {
        self.prefix.iter().chain(&self.task).find(|name| *name == branch)
    }
}

/// Refuses an agent's branch that a branch of the remote leaves no place for.
pub(crate) fn blocked(own: &BranchName, above: &Above, by: &BranchName) -> GitError {
    let way_out = match above.task.as_ref() == Some(by) {
        true => "give the task another id",
        false => "choose another first part for the branches of agents (MOSAIC_BRANCH_PREFIX)",
    };
    let why = format!(
        "the remote has a branch {by}, and git keeps no branch {own} beside it, so the work could not be pushed; rename or \
         remove that branch there, or {way_out}"
    );
    GitError::refused(FailureKind::BadInput, why)
}

impl GitRepositories {
    /// Returns the names of the prefix when they can be asked for along with others: the remote listed few branches below
    /// them the last time. `None` when that is not known, or they are many.
    pub(crate) fn asked_along<'a>(&self, dir: &Path, above: &'a Above) -> Option<&'a [BranchName]> {
        let looked = self.free_prefixes.lock().get(&above.key(dir)?).copied()?;
        (looked.listed <= limits::PREFIX_BRANCHES).then_some(&above.prefix)
    }

    /// Notes that no branch was in the way of a prefix just now.
    pub(crate) fn note_free_prefix(&self, dir: &Path, above: &Above, listed: usize) {
        let Some(key) = above.key(dir) else { return };
        let mut free = self.free_prefixes.lock();
        if free.len() >= REMEMBERED {
            free.clear();
        }
        free.insert(key, PrefixLook { at: Instant::now(), listed });
    }

    /// Refuses an agent's branch when the remote has a branch named like a part of the prefix. All branches of agents come
    /// along in the answer, so where they are many it is asked for now and then only: while one of them exists, no such
    /// branch can be made.
    pub(crate) async fn refuse_blocked(
        &self,
        url: &RepositoryUrl,
        dir: &Path,
        own: &BranchName,
        above: &Above,
    ) -> Result<(), GitError> {
        let Some(key) = above.key(dir) else { return Ok(()) };
        if self.free_prefixes.lock().get(&key).is_some_and(|look| look.at.elapsed() < limits::PREFIX_AGE) {
            return Ok(());
        }
        let names: Vec<&BranchName> = above.prefix.iter().collect();
        let answer = self.answer(url, &names).await?;
        if let Some(by) = above.taken_in(&answer) {
            return Err(blocked(own, above, by));
        }
        self.note_free_prefix(dir, above, answer.listed);
        Ok(())
    }

    /// Says which branch of the remote leaves no place for an agent's branch that the remote refused: one that was made there
    /// after the start of the agent. `None` when there is none, or the remote cannot be asked.
    pub(crate) async fn refused_for(&self, url: &RepositoryUrl, own: &BranchName) -> Option<GitError> {
        let above = Above::of(own);
        let names: Vec<&BranchName> = above.prefix.iter().chain(&above.task).collect();
        let answer = self.answer(url, &names).await.ok()?;
        let by = above.taken_in(&answer)?;
        // The next agents are refused before they cost anything.
        if let Some(key) = above.key(&self.layout.bare_repository(url)) {
            self.free_prefixes.lock().remove(&key);
        }
        Some(blocked(own, &above, by))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> BranchName {
        text.parse().unwrap()
    }

    #[test]
    fn every_name_above_an_agents_branch_is_looked_for() {
        let above = Above::of(&name("team/mosaic/us-1/7d0c6c1e"));
        assert_eq!(above.prefix, [name("team"), name("team/mosaic")]);
        assert_eq!(above.task, Some(name("team/mosaic/us-1")));
        assert_eq!(above.taken_by(&name("team")), Some(&name("team")));
        assert_eq!(above.taken_by(&name("team/mosaic/us")), None);
        assert_eq!(Above::of(&name("main")), Above::default());
    }

    #[test]
    fn a_refusal_says_which_branch_is_in_the_way_and_what_to_do() {
        let own = name("mosaic/us-1/7d0c6c1e");
        let above = Above::of(&own);
        let by_prefix = blocked(&own, &above, &name("mosaic")).to_string();
        assert!(by_prefix.contains("a branch mosaic,") && by_prefix.contains("MOSAIC_BRANCH_PREFIX"));
        let by_task = blocked(&own, &above, &name("mosaic/us-1")).to_string();
        assert!(by_task.contains("another id") && !by_task.contains("PREFIX"), "{by_task}");
    }
}
