//! The answer to a kill, and what the record keeps of every run that was stopped: what was found and verified, not what
//! was asked for.

use serde::Serialize;

use crate::domain::agent::Status;
use crate::domain::ids::{AgentId, CommitId};
use crate::domain::publication::Publication;
use crate::ports::processes::StopReceipt;
use crate::ports::store::Versioned;

/// Fate of everything that a killed agent held.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct KillReceipt {
    /// Processes before and after, how far the ladder went, and how long until it was verified that none is left.
    /// Nothing when that is not known yet.
    #[serde(flatten)]
    pub processes: Option<StopReceipt>,
    /// The container that is left; `none`.
    pub container: String,
    /// Fate of its lease.
    pub lease: LeaseFate,
    /// Fate of its working tree.
    pub worktree: TreeFate,
    /// Fate of its work that had not been received.
    pub salvage: SalvageFate,
    /// State of its commit on the remote, as far as it is known.
    pub publication: Publication,
}

/// Fate of an agent's lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LeaseFate {
    /// It was released.
    Released,
    /// It is not released yet.
    Held,
}

/// Fate of an agent's working tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum TreeFate {
    /// It never had one.
    None,
    /// It is gone.
    Removed,
    /// It stays, because it holds work that could not be received.
    Kept,
    /// It goes as soon as its work is kept, or as soon as it can be removed.
    Pending,
}

/// Fate of an agent's work that had not been received.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SalvageFate {
    /// State of the keeping.
    pub state: SalvageState,
    /// Its name in the server's bare repository.
    #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// The commit that holds it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub commit: Option<CommitId>,
}

/// State of the keeping of an agent's work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum SalvageState {
    /// There was none.
    None,
    /// It goes on.
    Pending,
    /// It is kept.
    Done,
    /// It could not be kept; the tree stays.
    Failed,
}

/// The receipt of one agent among many.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AgentReceipt {
    /// The agent.
    pub agent_id: AgentId,
    /// Its name.
    pub name: String,
    /// Its status after the kill.
    pub status: Status,
    /// It is verified that nothing of it is alive.
    pub verified: bool,
    /// Fate of everything that it held.
    #[serde(flatten)]
    pub receipt: KillReceipt,
}

impl KillReceipt {
    /// Returns the receipt of the last run, when that was stopped.
    pub fn of_record(record: &Versioned) -> Option<Self> {
        let stop = record.agent.stop.as_ref()?;
        Some(Self::of(record, Some(stop.receipt.clone())))
    }

    /// Reads from the record what became of what the agent held.
    pub(crate) fn of(record: &Versioned, processes: Option<StopReceipt>) -> Self {
        let lease = if record.node.is_none() { LeaseFate::Released } else { LeaseFate::Held };
        let left = processes.as_ref().and_then(|stop| stop.container.clone());
        Self {
            processes,
            container: left.unwrap_or_else(|| "none".to_owned()),
            lease,
            worktree: tree(record),
            salvage: salvage(record),
            publication: record.agent.work.publication.clone(),
        }
    }
}

fn tree(record: &Versioned) -> TreeFate {
    let agent = &record.agent;
    match (agent.attempt, agent.is_terminal()) {
        (0, _) => TreeFate::None,
        (_, false) => TreeFate::Pending,
        _ if agent.work.dirty => TreeFate::Kept,
        _ if agent.work.cleanup_pending.is_some() => TreeFate::Pending,
        _ => TreeFate::Removed,
    }
}

fn salvage(record: &Versioned) -> SalvageFate {
    let work = &record.agent.work;
    if let Some(kept) = &work.salvage {
        let (reference, commit) = (Some(kept.reference.clone()), Some(kept.commit.clone()));
        return SalvageFate { state: SalvageState::Done, reference, commit };
    }
    let state = match (work.dirty, record.agent.is_terminal()) {
        (true, true) => SalvageState::Failed,
        (true, false) => SalvageState::Pending,
        (false, _) => SalvageState::None,
    };
    SalvageFate { state, reference: None, commit: None }
}
