//! Changes that an agent made against its base.

use crate::domain::agent::Agent;
use crate::domain::outcome::Failure;
use crate::orchestrator::Orchestrator;
use crate::ports::repositories::{DiffForm, FileStat};
use crate::steps::live::LiveTree;

/// A diff with its parts.
#[derive(Debug, Clone)]
pub struct Diff {
    /// The base commit.
    pub base: String,
    /// The agent's newest kept commit: the salvaged tree when there is one.
    pub head: String,
    /// Changed files.
    pub files: Vec<FileStat>,
    /// Unified diff.
    pub text: Vec<u8>,
    /// The text was cut.
    pub truncated: bool,
    /// The head is the tree of an agent at work, as it was a moment ago.
    pub live: bool,
}

impl Orchestrator {
    /// Returns what the agent changed against its base, at most `most` bytes of it; what is in its tree now while it works
    /// on this node. `None` when nothing was kept, or nothing was changed.
    pub async fn diff(&self, agent: &Agent, form: DiffForm, most: usize) -> Result<Option<Diff>, Failure> {
        let work = &agent.work;
        let live = match self.live_tree(agent.id).await? {
            LiveTree::Changed(head) => Some(head),
            LiveTree::Unchanged => return Ok(None),
            LiveTree::NotAtWork => None,
        };
        let is_live = live.is_some();
        let saved = work.salvage.as_ref().map(|saved| &saved.commit);
        let kept =
            if work.salvage_beside { work.kept.as_ref().or(saved) } else { saved.or(work.kept.as_ref()) };
        let newest = live.as_ref().or(kept);
        let (Some(base), Some(head)) = (&work.base, newest) else { return Ok(None) };
        let repository = &agent.spec.context.repository;
        let files = self.ports.commits.stat(repository, base, head).await?;
        let (text, truncated) = self.ports.commits.diff(repository, base, head, form, most).await?;
        Ok(Some(Diff {
            base: base.to_string(),
            head: head.to_string(),
            files,
            text,
            truncated,
            live: is_live,
        }))
    }
}
