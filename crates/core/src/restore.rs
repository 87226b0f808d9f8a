//! Restore: an ended agent's work comes back as a repository of its own, for a person to go on with. Nothing of what
//! is kept is changed by it, so it can be done as often as wanted. Work that an earlier attempt left on another node is
//! restored there, also while the agent runs on elsewhere.

use thiserror::Error;

use crate::domain::agent::Agent;
use crate::domain::facts::{Fact, GitRestored};
use crate::domain::ids::{AgentId, NodeId};
use crate::domain::journal::LogRecord;
use crate::domain::kept_work::{KeptWork, LeftWork, WorkState};
use crate::domain::outcome::Failure;
use crate::orchestrator::Orchestrator;
use crate::ports::repositories::{RestoreRequest, Restored};
use crate::ports::store::{StoreError, Versioned};
use crate::steps::unwind::CleanUp;

/// Choice of one attempt's work. Without one it is the last attempt's, or the newest that is kept when that left nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RestoreChoice {
    /// The attempt; of several runs with this number, the newest that another one followed.
    pub attempt: Option<u32>,
    /// The run.
    pub run: Option<u32>,
}

/// Place of the work that was chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WorkPlace {
    /// The last attempt's, at the agent's home.
    Last,
    /// An earlier attempt's.
    Earlier(LeftWork),
}

/// Why nothing was restored.
#[derive(Debug, Error)]
pub enum RestoreError {
    /// The agent has not ended.
    #[error("agent {0} has not ended yet, so its work is still in its own tree")]
    StillActive(AgentId),
    /// Nothing of it is kept.
    #[error("agent {0} left nothing that could be restored: it ended before it changed anything")]
    Nothing(AgentId),
    /// No work of such an attempt or run is kept.
    #[error("agent {agent} has no kept work of that number; {known}")]
    NoSuchWork {
        /// The agent.
        agent: AgentId,
        /// List of the kept work that there is, in words.
        known: String,
    },
    /// The node that had it was declared lost for good.
    #[error("the work of agent {agent} was on node {node}, which was declared lost for good")]
    LostForGood {
        /// The agent.
        agent: AgentId,
        /// The node.
        node: NodeId,
    },
    /// Its work could not be brought into the store yet.
    #[error("the work of agent {agent} is not in the server's bare repository yet: {why}")]
    Pending {
        /// The agent.
        agent: AgentId,
        /// The obstacle, and the place where the work is.
        why: String,
    },
    /// There is no room for it.
    #[error("{0}")]
    DiskLow(String),
    /// Git could not do it.
    #[error("{}", .0.message)]
    Git(Failure),
    /// The store could not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Orchestrator {
    /// Finds the work to restore, and the node that has it.
    pub async fn work_place(
        &self,
        id: AgentId,
        choice: RestoreChoice,
    ) -> Result<(WorkPlace, Option<NodeId>), RestoreError> {
        let record = self.ports.store.get(id).await?;
        let known = self.kept_work(&record).await;
        let Some(found) = choose(&record, &known, choice)? else {
            return Ok((WorkPlace::Last, record.home));
        };
        if found.state == WorkState::Lost {
            return Err(RestoreError::LostForGood { agent: id, node: found.node.clone() });
        }
        let left = record.agent.left.iter().find(|left| left.run == found.run).cloned();
        let node = Some(found.node.clone());
        Ok(left.map_or((WorkPlace::Last, record.home), |left| (WorkPlace::Earlier(left), node)))
    }

    /// Brings kept work back: the branch at its HEAD, index and working tree as they were. The node that has it does so.
    pub async fn restore(&self, id: AgentId, place: WorkPlace) -> Result<Restored, RestoreError> {
        let record = self.ports.store.get(id).await?;
        let request = match place {
            WorkPlace::Last => self.last_request(record).await?,
            WorkPlace::Earlier(left) => self.earlier_request(&record.agent, left).await?,
        };
        let restored = self.ports.kept_work.restore(&request).await.map_err(RestoreError::Git)?;
        let Some(restored) = restored else {
            // What was expected here is not: whoever looks next is told.
            if let Err(e) = self.report_work(id).await {
                tracing::warn!(agent.id = %id, error = %e, "that nothing is kept here of an agent is not reported");
            }
            return Err(RestoreError::Nothing(id));
        };
        let fact = Fact::GitRestored(GitRestored {
            path: restored.path.display().to_string(),
            head: restored.head.clone(),
            salvage: restored.salvage.as_ref().map(|saved| saved.commit.clone()),
            node: self.settings.node.clone(),
        });
        let agent = self.ports.store.get(id).await?.agent;
        self.ports.store.log(vec![LogRecord::about(&agent, &fact, self.now())]).await?;
        Ok(restored)
    }

    /// Asks for what the last attempt of an ended agent left.
    async fn last_request(&self, record: Versioned) -> Result<RestoreRequest, RestoreError> {
        let (id, mut agent) = (record.agent.id, record.agent);
        if !agent.is_terminal() {
            return Err(RestoreError::StillActive(id));
        }
        self.monitor.disk_capacity().await.map_err(RestoreError::DiskLow)?;
        // Its unwind could not receive everything, as under the kill switch. That is tried again now, because
        // a restored repository without that part would look whole.
        if agent.work.dirty {
            match self.clean_up_again(id).await? {
                CleanUp::Active => return Err(RestoreError::StillActive(id)),
                CleanUp::Done | CleanUp::Pending(_) => agent = self.ports.store.get(id).await?.agent,
            }
            if let (true, Some(why)) = (agent.work.dirty, agent.work.cleanup_pending.clone()) {
                return Err(RestoreError::Pending { agent: id, why });
            }
        }
        let base = agent.work.base.clone().ok_or(RestoreError::Nothing(id))?;
        let (head, salvage) = (agent.work.kept.clone(), agent.work.salvage.clone());
        Ok(RestoreRequest { head, salvage, ..request(&agent, base) })
    }

    /// Asks for what an earlier attempt left here, once its tree is kept.
    async fn earlier_request(&self, agent: &Agent, left: LeftWork) -> Result<RestoreRequest, RestoreError> {
        let id = agent.id;
        self.monitor.disk_capacity().await.map_err(RestoreError::DiskLow)?;
        // Somebody may be at it already.
        self.fleet.kept(id).await;
        let is_driven = || self.live().contains_key(&id);
        // The tree of an agent that this node has again belongs to its present attempt and is not an earlier
        // one's to salvage.
        let moved = agent.node.as_ref() != Some(&self.settings.node);
        if moved
            && self.ports.trees.has_tree(id).await.map_err(RestoreError::Git)?
            && !Box::pin(self.keep_moved(id, is_driven)).await
        {
            let why = format!("its tree on node {} could not be kept yet; see the log there", left.node);
            return Err(RestoreError::Pending { agent: id, why });
        }
        let base = left.base.ok_or(RestoreError::Nothing(id))?;
        let salvage = self.ports.kept_work.salvaged(&agent.spec.context.repository, id).await;
        let salvage = salvage.map_err(RestoreError::Git)?;
        Ok(RestoreRequest { head: left.received, salvage, ..request(agent, base) })
    }
}

/// Chooses an earlier attempt's work; nothing when it is the last attempt's that is wanted.
fn choose<'a>(
    record: &Versioned,
    known: &'a [KeptWork],
    choice: RestoreChoice,
) -> Result<Option<&'a KeptWork>, RestoreError> {
    let agent = &record.agent;
    let earlier = || known.iter().rev().filter(|work| work.earlier);
    let found = match (choice.run, choice.attempt) {
        (Some(run), _) => {
            earlier().find(|work| work.run == run).map(Some).or((agent.runs == run).then_some(None))
        }
        (None, Some(attempt)) => {
            let last = (agent.attempt == attempt).then_some(None);
            earlier().find(|work| work.attempt == attempt).map(Some).or(last)
        }
        (None, None) => {
            // Of an agent that has not ended the last attempt is meant, so that the caller is told that it
            // still works and does not get an older attempt's files for its newest.
            let last = known.iter().any(|work| !work.earlier && work.state != WorkState::Nothing);
            let kept = || earlier().find(|work| work.state != WorkState::Nothing);
            Some(if last || !agent.is_terminal() { None } else { kept() })
        }
    };
    found.ok_or_else(|| RestoreError::NoSuchWork { agent: agent.id, known: listed(known) })
}

/// Names what can be chosen.
fn listed(known: &[KeptWork]) -> String {
    let one = |work: &KeptWork| format!("run {} (attempt {}) on node {}", work.run, work.attempt, work.node);
    match known {
        [] => "nothing of it is kept".to_owned(),
        known => format!("kept are: {}", known.iter().map(one).collect::<Vec<_>>().join(", ")),
    }
}

fn request(agent: &Agent, base: crate::domain::ids::CommitId) -> RestoreRequest {
    let context = &agent.spec.context;
    RestoreRequest {
        agent: agent.id,
        name: agent.name.clone(),
        repository: context.repository.clone(),
        base_branch: context.branch.clone(),
        base,
        branch: agent.branch.clone(),
        head: None,
        salvage: None,
    }
}
