//! Removing what is left of agents that have ended: record, tree, private directories, transcripts, logs, refs. Work that
//! is nowhere else is never taken unless its agent's name is given.
//!
//! The order is what makes it safe: the record goes first, durably and with a note; everything else is found again by the
//! agent's id, so that what a crash leaves is deleted by [`crate::caretaker`].

pub mod prune;

use std::collections::HashMap;
use std::time::Duration;

use serde::Serialize;
use thiserror::Error;

use crate::cleanup_error::CleanupError;
use crate::domain::agent::Agent;
use crate::domain::audit::AuditEntry;
use crate::domain::facts::{AgentRemoved, Fact};
use crate::domain::ids::{AgentId, CommitId, NodeId};
use crate::domain::journal::LogRecord;
use crate::domain::kept_work::KeptWork;
use crate::domain::outcome::{Failure, FailureKind};
use crate::domain::publication::Publication;
use crate::domain::repository::RepositoryUrl;
use crate::limits;
use crate::orchestrator::Orchestrator;
use crate::ports::repositories::UnmergedCommit;
use crate::ports::store::{Removal, StoreError, Versioned};

/// Work of an agent that would be lost with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Unmerged {
    /// The agent.
    pub agent_id: AgentId,
    /// Its name, which must be given to discard it.
    pub name: String,
    /// Commits that no branch of the remote is known to have, newest first, at most [`limits::NAMED_COMMITS`].
    pub commits: Vec<UnmergedCommit>,
    /// There are more.
    pub more: bool,
    /// Its tree holds work that could not be received yet; why, when that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tree: Option<String>,
    /// The reason why a push of these commits does not count.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remote: Option<String>,
    /// Work of earlier attempts that lies on other nodes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub elsewhere: Vec<KeptWork>,
}

/// Remotes that did not answer during one removal of many, by repository: none is waited for twice.
type Silent = HashMap<RepositoryUrl, String>;

/// Result of a removal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Removed {
    /// The agent.
    pub agent_id: AgentId,
    /// Its name.
    pub name: String,
    /// Bytes of transcripts and logs that were freed.
    pub freed_bytes: u64,
    /// The work that was discarded with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub discarded: Option<Unmerged>,
}

/// Why an agent was not removed. Then nothing of it was taken.
#[derive(Debug, Error)]
pub enum RemoveError {
    /// It has not ended.
    #[error("agent {0} has not ended yet")]
    StillActive(AgentId),
    /// Its work lies on another node, which alone can tell whether it may go.
    #[error("agent {id} ran on node {node}, and only that node can tell whether its work may go")]
    Elsewhere {
        /// The agent.
        id: AgentId,
        /// The node.
        node: NodeId,
    },
    /// Work of it is nowhere else.
    #[error("{}", .0.message())]
    Unmerged(Box<Unmerged>),
    /// The name that was given is not its own.
    #[error("to discard the work of this agent its name must be given, which is {0}")]
    WrongName(String),
    /// Git could not tell or do something.
    #[error("{}", .0.message)]
    Git(Failure),
    /// The store refused.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Unmerged {
    fn is_none(&self) -> bool {
        self.commits.is_empty() && self.tree.is_none() && self.elsewhere.is_empty()
    }

    /// Says what is discarded, for the audit log.
    fn discards(&self) -> String {
        let mut parts: Vec<String> = self.commits.iter().map(|c| c.commit.to_string()).collect();
        parts.extend(self.tree.is_some().then(|| "what its tree holds".to_owned()));
        parts.extend(self.elsewhere.iter().map(|work| format!("run {} on node {}", work.run, work.node)));
        format!("discards {}", parts.join(", "))
    }

    /// Says what would be lost.
    pub fn message(&self) -> String {
        let mut parts = Vec::new();
        let named: Vec<String> =
            self.commits.iter().map(|c| format!("{} {}", c.commit.short(), c.subject)).collect();
        if !named.is_empty() {
            let more = if self.more { ", and more" } else { "" };
            parts.push(format!("commits that no branch of the remote has: {}{more}", named.join("; ")));
        }
        if let Some(why) = &self.remote {
            parts.push(why.clone());
        }
        if let Some(why) = &self.tree {
            parts.push(format!("a working tree that could not be received yet: {why}"));
        }
        parts.extend(self.elsewhere.iter().filter_map(|work| work.sentence(self.agent_id)));
        format!("{} has work that is kept nowhere else: {}", self.name, parts.join("; "))
    }
}

impl Orchestrator {
    /// Removes an agent that has ended with everything that is left of it. `discard` is its name, given by whoever wants
    /// its unmerged work gone too; `by` is the beginning of the record for the audit log, which is written first.
    pub async fn remove(
        &self,
        id: AgentId,
        discard: Option<&str>,
        why: &str,
        by: &AuditEntry,
    ) -> Result<Removed, RemoveError> {
        let record = self.ended(id).await?;
        if let Some(given) = discard
            && given != record.agent.name
        {
            return Err(RemoveError::WrongName(record.agent.name));
        }
        // The remote is asked again even where the record says that it has the commits: the branch may have
        // been deleted there since.
        let lost = self.unmerged(&record, true, &mut Silent::new()).await.map_err(RemoveError::Git)?;
        if !lost.is_none() && discard.is_none() {
            return Err(RemoveError::Unmerged(Box::new(lost)));
        }
        let freed_bytes = self.remove_now(&record, &lost, why, by).await?;
        let (agent_id, name) = (id, record.agent.name);
        Ok(Removed { agent_id, name, freed_bytes, discarded: (!lost.is_none()).then_some(lost) })
    }

    /// Refuses a record whose agent ran on another node last: what lies there cannot be seen from here.
    /// One that a person declared lost for good decides nothing any more.
    async fn here(&self, record: Versioned) -> Result<Versioned, RemoveError> {
        match record.home.clone().filter(|home| self.is_elsewhere(Some(home))) {
            Some(node) if !self.is_lost_for_good(&node).await? => {
                Err(RemoveError::Elsewhere { id: record.agent.id, node })
            }
            _ => Ok(record),
        }
    }

    /// Reads a record, or what is left of one whose archive went with a node that was declared lost for good.
    async fn whole_or_lost(&self, id: AgentId) -> Result<Versioned, RemoveError> {
        let missing = match self.ports.store.get(id).await {
            Ok(record) => return Ok(record),
            Err(e) => e,
        };
        let short = self.ports.store.glance(id).await?;
        match &short.short {
            Some(node) if self.is_lost_for_good(node).await? => Ok(short),
            _ => Err(missing.into()),
        }
    }

    /// Reads an agent that has ended and whose driver is done. What its end left behind is cleaned up first, so that
    /// work in its tree is kept.
    async fn ended(&self, id: AgentId) -> Result<Versioned, RemoveError> {
        let mut patience = self.ports.clock.sleep(limits::KILL_ANSWER);
        loop {
            let record = self.here(self.whole_or_lost(id).await?).await?;
            if !record.agent.is_terminal() {
                return Err(RemoveError::StillActive(id));
            }
            if !self.live().contains_key(&id) {
                self.keep_left(&record).await.map_err(RemoveError::Git)?;
                if !record.agent.work.dirty && record.agent.work.cleanup_pending.is_none() {
                    return Ok(record);
                }
                self.clean_up(id).await;
                return Ok(self.ports.store.get(id).await?);
            }
            // Its driver has written the end and is just leaving.
            tokio::select! {
                () = self.ports.clock.sleep(limits::LOOK_AGAIN) => {}
                () = &mut patience => return Err(RemoveError::StillActive(id)),
            }
        }
    }

    /// Keeps what an earlier attempt left in a tree on this node, so that it is seen.
    async fn keep_left(&self, record: &Versioned) -> Result<(), Failure> {
        let (agent, here) = (&record.agent, &self.settings.node);
        let left = agent.left.iter().any(|left| left.node == *here);
        if !left || agent.node.as_ref() == Some(here) || !self.ports.trees.has_tree(agent.id).await? {
            return Ok(());
        }
        let kept = Box::pin(self.keep_moved_now(agent.id)).await;
        kept.map_err(|why| Failure::new(FailureKind::Internal, format!("an earlier attempt's tree: {why}")))
    }

    /// Looks for work of an ended agent that is nowhere else. A pushed commit is safe, merged or not, once the remote has
    /// shown it; with `now` the remote is asked again in any case.
    async fn unmerged(
        &self,
        record: &Versioned,
        now: bool,
        silent: &mut Silent,
    ) -> Result<Unmerged, Failure> {
        let (agent, work) = (&record.agent, &record.agent.work);
        let elsewhere = self.unsafe_elsewhere(record).await;
        let (agent_id, name) = (agent.id, agent.name.clone());
        if record.home.as_ref().is_some_and(|home| self.is_elsewhere(Some(home))) {
            // Its home was declared lost for good, with what lay there.
            let (commits, more, tree, remote) = (Vec::new(), false, None, None);
            return Ok(Unmerged { agent_id, name, commits, more, tree, remote, elsewhere });
        }
        // A tip that others made is on the remote until a push of ours replaces it.
        let replaced = |tip: &&CommitId| !work.offered.is_empty() && !work.pushed_itself(tip);
        let tip = work.remote_tip.as_ref().filter(|tip| !replaced(tip));
        let mut safe: Vec<_> = work.base.iter().chain(tip).cloned().collect();
        let mut commits = self.nowhere_else(agent, &safe).await?;
        let mut remote = None;
        if !commits.is_empty() {
            match self.on_remote(agent, now, silent).await {
                Ok(shown) => {
                    safe.push(shown);
                    commits = self.nowhere_else(agent, &safe).await?;
                }
                Err(why) => remote = why,
            }
        }
        let more = commits.len() > limits::NAMED_COMMITS;
        commits.truncate(limits::NAMED_COMMITS);
        for one in &mut commits {
            one.subject = self.ports.scanner.mask(&one.subject);
        }
        // What could not be cleaned up may be a tree that was set aside.
        let unsaid = || work.dirty.then(|| "it was not received".to_owned());
        let tree = work.cleanup_pending.clone().or_else(unsaid);
        Ok(Unmerged { agent_id, name, commits, more, tree, remote, elsewhere })
    }

    async fn nowhere_else(&self, agent: &Agent, safe: &[CommitId]) -> Result<Vec<UnmergedCommit>, Failure> {
        let store = self.ports.kept_work.cache_of(&agent.spec.context.repository);
        self.ports.kept_work.unmerged(&store, agent.id, safe, limits::NAMED_COMMITS + 1).await
    }

    /// Returns the agent's commit that the remote has. Errors with the reason when it was pushed and does not count as
    /// being there, and with nothing when it was never pushed.
    async fn on_remote(
        &self,
        agent: &Agent,
        now: bool,
        silent: &mut Silent,
    ) -> Result<CommitId, Option<String>> {
        let work = &agent.work;
        let shown_before = match &work.publication {
            Publication::There { commit } => Some(commit.clone()),
            _ => None,
        };
        if let (Some(commit), false) = (&shown_before, now) {
            return Ok(commit.clone());
        }
        let commit = work.publication.commit().or(work.pushed.as_ref()).ok_or(None)?;
        let repository = &agent.spec.context.repository;
        let answer = match silent.get(repository) {
            Some(why) => Err(why.clone()),
            None => self.shown(agent).await.map_err(|e| self.ports.scanner.mask(&e.message)),
        };
        match answer {
            Ok(Some(shown)) => Ok(shown),
            Ok(None) => {
                Err(Some(format!("the remote does not show {} that was pushed to it", commit.short())))
            }
            Err(why) => {
                silent.insert(repository.clone(), why.clone());
                // An outage takes nothing from what the remote showed before. Otherwise all published work
                // would look unmerged while the network is down.
                let unknown = || format!("the remote could not be asked for {}: {why}", commit.short());
                shown_before.ok_or_else(|| Some(unknown()))
            }
        }
    }

    /// Removes the record and then everything else; returns the bytes that were freed.
    async fn remove_now(
        &self,
        record: &Versioned,
        lost: &Unmerged,
        why: &str,
        by: &AuditEntry,
    ) -> Result<u64, StoreError> {
        let (agent, at) = (&record.agent, self.now());
        let entry = by.clone().subject(agent.id).reason(Some(why));
        let entry = match lost.is_none() {
            true => entry,
            false => entry.result(lost.discards()),
        };
        self.audit(entry).await.map_err(|e| StoreError::Unavailable(e.to_string()))?;
        let removed = AgentRemoved {
            name: agent.name.clone(),
            why: why.to_owned(),
            discarded: lost.commits.iter().map(|one| one.commit.clone()).collect(),
            tree: lost.tree.is_some(),
            elsewhere: lost.elsewhere.clone(),
        };
        let facts = vec![LogRecord::about(agent, &Fact::AgentRemoved(removed), at)];
        let removal = Removal {
            agent: agent.id,
            // The version fences a record that changed since the look above, whose work may be other than
            // what was judged.
            version: record.version,
            at,
            why: why.to_owned(),
            // A note with this node's name means that no other node was looked at, so what turns up on one later is
            // salvaged there. Where that work was discarded by name as well, the note holds for every node.
            node: Some(self.settings.node.clone()).filter(|_| lost.elsewhere.is_empty()),
            facts,
        };
        self.ports.store.remove(removal).await?;
        let store = self.ports.kept_work.cache_of(&agent.spec.context.repository);
        // The record is gone, so what fails from here on does not fail the removal: the caretaker finds refs
        // and directories of agents without a record.
        if let Err(e) = self.ports.kept_work.forget(&store, agent.id).await {
            tracing::warn!(agent.id = %agent.id, error = %e.message, "refs of a removed agent are left; they are removed later");
        }
        Ok(self.delete_leftovers(agent.id).await.unwrap_or_else(|e| {
            tracing::warn!(agent.id = %agent.id, error = %e, "something of a removed agent is left; it is removed later");
            0
        }))
    }

    /// Deletes what an agent whose record is gone still has besides refs. Its work was kept or discarded before.
    /// Idempotent; returns the bytes of transcripts and logs that were freed.
    pub(crate) async fn delete_leftovers(&self, id: AgentId) -> Result<u64, CleanupError> {
        self.stop_jobs(id, Duration::ZERO).await?;
        // Every part is tried before the first error is returned: a directory that cannot be removed must not
        // leave the others behind.
        let trees = self.ports.trees.abandon(id).await;
        let private = self.ports.sandbox.release(id).await;
        let jobs = self.ports.processes.forget(id).await;
        let freed = self.ports.transcripts.discard(id).await;
        private?;
        jobs?;
        // What lies there now was nowhere in the way of the others, and goes with what was beside the tree before.
        self.ports.trees.keep_beside(id).await?;
        let beside = trees? + self.ports.trees.abandon(id).await?;
        Ok(beside + freed.map_err(CleanupError::Transcripts)?)
    }
}
