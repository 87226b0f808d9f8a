//! Removing agents that ended long ago, a page at a time.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;
use thiserror::Error;

use super::{RemoveError, Silent, Unmerged};
use crate::domain::audit::AuditEntry;
use crate::domain::ids::{AgentId, NodeId, Timestamp};
use crate::limits;
use crate::orchestrator::Orchestrator;
use crate::ports::store::{EndedAfter, StoreError, Versioned};

/// Which ended agents are to go.
#[derive(Debug, Clone)]
pub struct PruneRequest {
    /// Those that ended longer ago than this.
    pub older_than: Duration,
    /// Only tell.
    pub dry_run: bool,
    /// Take unmerged work too, if exactly this many of the looked-at agents have some.
    pub force: Option<u64>,
    /// Where to go on; the default is the beginning.
    pub after: EndedAfter,
    /// Count what the archives of other nodes have, too, at the beginning.
    pub everywhere: bool,
    /// Author and reason, for the record.
    pub why: String,
    /// The same for the audit log, in which every removal stands before it is done.
    pub by: AuditEntry,
}

/// Result of a prune, for one page of agents.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Pruned {
    /// Agents that were removed, or would be.
    pub removed: u64,
    /// Agents that stay because of their work.
    pub unmerged: Vec<Unmerged>,
    /// Agents that stay because their work lies on another node, by that node.
    pub elsewhere: BTreeMap<NodeId, u64>,
    /// Agents that stay because something failed, one line each.
    pub errors: Vec<String>,
    /// Bytes of transcripts and logs that were freed, or would be.
    pub freed_bytes: u64,
    /// Where to go on; there is nothing more without it.
    #[serde(skip)]
    pub next: Option<EndedAfter>,
}

/// Why nothing was pruned.
#[derive(Debug, Error)]
pub enum PruneError {
    /// The number of agents with unmerged work is another than was said.
    #[error("{there} agents have work that is kept nowhere else, not {said}; nothing was removed")]
    Count {
        /// Number of agents with unmerged work.
        there: u64,
        /// Number that the caller expected.
        said: u64,
    },
    /// The store did not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Orchestrator {
    /// Removes agents that ended long ago, one page of them. Unmerged work stays unless it is counted out.
    pub async fn prune(&self, request: &PruneRequest) -> Result<Pruned, PruneError> {
        // The time is the store's, and must be known: a node whose own clock is days ahead would remove what
        // is not old.
        let before = Timestamp(self.clocks.certain_now().await?.0.saturating_sub(millis(request.older_than)));
        let page = self.ports.store.settled(before, request.after, limits::PRUNE_PAGE).await?;
        let mut report = Pruned::default();
        if page.len() == limits::PRUNE_PAGE {
            report.next = page.last().and_then(Versioned::ended_after);
        }
        if request.everywhere && request.after == EndedAfter::default() {
            self.count_elsewhere(before, &mut report).await?;
        }
        let (mut looked, mut silent) = (Vec::new(), Silent::new());
        for record in page {
            let id = record.agent.id;
            match Box::pin(self.look(id, request.dry_run, &mut silent)).await {
                Ok(seen) => looked.push(seen),
                Err(RemoveError::Elsewhere { node, .. }) => *report.elsewhere.entry(node).or_default() += 1,
                // Somebody removed it meanwhile.
                Err(RemoveError::Store(StoreError::Pruned { .. } | StoreError::NotFound(_))) => {}
                Err(e) => report.errors.push(format!("{id}: {e}")),
            }
        }
        // The whole page is looked at before the first agent goes, so that a number that does not fit stops
        // the call before anything is discarded.
        let there = looked.iter().filter(|(_, lost)| !lost.is_none()).count() as u64;
        match request.force {
            Some(said) if said != there => return Err(PruneError::Count { there, said }),
            _ => {}
        }
        for (record, lost) in looked {
            if !lost.is_none() && request.force.is_none() {
                report.unmerged.push(lost);
                continue;
            }
            self.prune_one(&record, &lost, request, &mut report).await;
        }
        Ok(report)
    }

    /// Counts what lies in the archives of other nodes: pages of this node have none of it. A node that was declared lost has
    /// nothing to decide any more.
    async fn count_elsewhere(&self, before: Timestamp, report: &mut Pruned) -> Result<(), StoreError> {
        for (node, count) in self.ports.store.archived_elsewhere(before).await? {
            match count {
                Ok(0) => {}
                Ok(count) => *report.elsewhere.entry(node).or_default() += count,
                Err(why) => {
                    report.errors.push(format!("what the archive of node {node} has is not known: {why}"))
                }
            }
        }
        Ok(())
    }

    async fn look(
        &self,
        id: AgentId,
        only_look: bool,
        silent: &mut Silent,
    ) -> Result<(Versioned, Unmerged), RemoveError> {
        let record = match only_look {
            true => self.here(self.whole_or_lost(id).await?).await?,
            false => self.ended(id).await?,
        };
        let lost = self.unmerged(&record, false, silent).await.map_err(RemoveError::Git)?;
        Ok((record, lost))
    }

    /// Returns the bytes that a removal would free, as far as they can be counted.
    async fn would_free(&self, id: AgentId) -> u64 {
        let transcripts = self.ports.transcripts.size(id).await.unwrap_or(0);
        transcripts + self.ports.trees.beside_bytes(id).await.unwrap_or(0)
    }

    async fn prune_one(
        &self,
        record: &Versioned,
        lost: &Unmerged,
        request: &PruneRequest,
        report: &mut Pruned,
    ) {
        let id = record.agent.id;
        let freed = match request.dry_run {
            true => Ok(self.would_free(id).await),
            false => self.remove_now(record, lost, &request.why, &request.by).await,
        };
        match freed {
            Ok(bytes) => {
                report.removed += 1;
                report.freed_bytes += bytes;
            }
            Err(e) => report.errors.push(format!("{id}: {e}")),
        }
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
