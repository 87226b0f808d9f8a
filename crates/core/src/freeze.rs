//! Freezing one agent: it stops where it is, loses nothing, and goes on when it is thawed.
//!
//! Its program is frozen by its shim, which remembers it whatever becomes of this server. The clocks that watch the agent
//! stand still too. A step that is no program of the agent's (a fetch, a gate) is finished; the next one waits.

use std::sync::Arc;

use thiserror::Error;

use crate::domain::agent::{Agent, State};
use crate::domain::facts::{AgentFreeze, Fact};
use crate::domain::ids::AgentId;
use crate::domain::journal::LogRecord;
use crate::driver::AgentHandle;
use crate::orchestrator::Orchestrator;
use crate::ports::processes::ProcessError;
use crate::ports::store::{StoreError, Versioned};

/// Result of freezing or thawing an agent.
#[derive(Debug, Clone)]
pub struct Frozen {
    /// The agent's record.
    pub record: Versioned,
    /// True when the agent is frozen now.
    pub frozen: bool,
    /// True when this order changed that.
    pub changed: bool,
}

/// Why an agent could not be frozen or thawed.
#[derive(Debug, Error)]
pub enum FreezeError {
    /// It has ended, waits in the queue, or is being released.
    #[error("agent {id} is {phase}: there is nothing of it that could be frozen or thawed")]
    NotRunning {
        /// The agent.
        id: AgentId,
        /// The phase that it is in instead.
        phase: String,
    },
    /// Its supervisor could not do it.
    #[error("agent {0} could not be frozen or thawed: {1}")]
    Processes(AgentId, ProcessError),
    /// The store refused.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Orchestrator {
    /// Freezes an agent until [`Orchestrator::thaw`]. `note` says who and why, for the log. Idempotent. A kill works on
    /// a frozen agent too and ends the freeze.
    pub async fn freeze(&self, id: AgentId, note: &str) -> Result<Frozen, FreezeError> {
        let (record, driver) = self.frozen_or_not(id).await?;
        let turn = driver.freezing.lock().await;
        // The flag is set before the program is frozen: a step that would begin meanwhile sees it and waits.
        let changed = !driver.frozen.send_replace(true);
        if let Err(e) = self.freeze_program(&record.agent).await {
            if changed {
                driver.frozen.send_replace(false);
            }
            return Err(FreezeError::Processes(id, e));
        }
        drop(turn);
        if changed {
            self.tell(Fact::AgentFrozen, &record.agent, note).await?;
        }
        Ok(Frozen { record: self.ports.store.get(id).await?, frozen: true, changed })
    }

    /// Lets a frozen agent go on. Idempotent.
    pub async fn thaw(&self, id: AgentId, note: &str) -> Result<Frozen, FreezeError> {
        let (record, driver) = self.frozen_or_not(id).await?;
        let turn = driver.freezing.lock().await;
        // The program first: if the flag fell while the program still stood, its silence would be counted and
        // answered.
        self.ports.processes.thaw(id).await.map_err(|e| FreezeError::Processes(id, e))?;
        let changed = driver.frozen.send_replace(false);
        drop(turn);
        if changed {
            self.tell(Fact::AgentThawed, &record.agent, note).await?;
        }
        Ok(Frozen { record: self.ports.store.get(id).await?, frozen: false, changed })
    }

    /// Tells whether an agent that runs here is frozen.
    pub fn is_frozen(&self, id: AgentId) -> bool {
        self.live().get(&id).is_some_and(|driver| *driver.frozen.borrow())
    }

    async fn frozen_or_not(&self, id: AgentId) -> Result<(Versioned, Arc<AgentHandle>), FreezeError> {
        let record = self.ports.store.get(id).await?;
        let driver = self.live().get(&id).cloned();
        match (&record.agent.state, driver) {
            (State::Queued { .. } | State::Unwinding { .. } | State::Settled { .. }, _) | (_, None) => {
                let phase = record.agent.phase().as_str().to_owned();
                Err(FreezeError::NotRunning { id, phase })
            }
            (_, Some(driver)) => Ok((record, driver)),
        }
    }

    /// Freezes the agent's own program. Other jobs of it are ours, with deadlines that do not stand still: they finish.
    async fn freeze_program(&self, agent: &Agent) -> Result<(), ProcessError> {
        if !matches!(agent.state, State::Working) {
            return Ok(());
        }
        self.ports.processes.freeze(agent.id).await?;
        let now = self.ports.store.get(agent.id).await;
        if now.is_ok_and(|now| !matches!(now.agent.state, State::Working)) {
            // It went on in this very moment, and what was frozen may be the next step's.
            self.ports.processes.thaw(agent.id).await?;
        }
        Ok(())
    }

    async fn tell(&self, fact: fn(AgentFreeze) -> Fact, agent: &Agent, note: &str) -> Result<(), StoreError> {
        let fact = fact(AgentFreeze { name: agent.name.clone(), note: note.to_owned() });
        self.ports.store.log(vec![LogRecord::about(agent, &fact, self.now())]).await
    }
}
