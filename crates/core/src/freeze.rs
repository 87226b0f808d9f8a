//! Freezing one agent: it stops where it is, loses nothing, and goes on when it is thawed.
//!
//! Its program is frozen by its shim, which remembers it whatever becomes of this server. The clocks that watch the agent
//! stand still too. A step that is no program of the agent's (a fetch, a gate) is finished; the next one waits.

use std::time::Duration;

use serde_json::json;
use thiserror::Error;
use tokio::sync::watch;

use crate::domain::agent::{Agent, State};
use crate::domain::ids::AgentId;
use crate::domain::journal::Fact;
use crate::domain::lifecycle::Effect;
use crate::kill::Driver;
use crate::life::Scene;
use crate::orchestrator::Orchestrator;
use crate::ports::processes::ProcessError;
use crate::ports::store::{StoreError, Versioned};

/// What freezing or thawing came to.
#[derive(Debug, Clone)]
pub struct Frozen {
    /// The agent's record.
    pub record: Versioned,
    /// Whether it is frozen now.
    pub frozen: bool,
    /// Whether this order changed that.
    pub changed: bool,
}

/// Why an agent could not be frozen or thawed.
#[derive(Debug, Error)]
pub enum FreezeError {
    /// It has ended, waits in the queue, or is being given back.
    #[error("agent {id} is {phase}: there is nothing of it that could be frozen or thawed")]
    NotRunning {
        /// The agent.
        id: AgentId,
        /// What it does instead.
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
        let changed = !driver.frozen.send_replace(true);
        if let Err(e) = self.freeze_program(&record.agent).await {
            if changed {
                driver.frozen.send_replace(false);
            }
            return Err(FreezeError::Processes(id, e));
        }
        drop(turn);
        if changed {
            self.tell("agent.frozen", &record.agent, note).await?;
        }
        Ok(Frozen { record: self.ports.store.get(id).await?, frozen: true, changed })
    }

    /// Lets a frozen agent go on. Idempotent.
    pub async fn thaw(&self, id: AgentId, note: &str) -> Result<Frozen, FreezeError> {
        let (record, driver) = self.frozen_or_not(id).await?;
        let turn = driver.freezing.lock().await;
        self.ports.processes.thaw(id).await.map_err(|e| FreezeError::Processes(id, e))?;
        let changed = driver.frozen.send_replace(false);
        drop(turn);
        if changed {
            self.tell("agent.thawed", &record.agent, note).await?;
        }
        Ok(Frozen { record: self.ports.store.get(id).await?, frozen: false, changed })
    }

    /// Tells whether an agent that runs here is frozen.
    pub fn is_frozen(&self, id: AgentId) -> bool {
        self.live().get(&id).is_some_and(|driver| *driver.frozen.borrow())
    }

    async fn frozen_or_not(&self, id: AgentId) -> Result<(Versioned, std::sync::Arc<Driver>), FreezeError> {
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

    async fn tell(&self, kind: &str, agent: &Agent, note: &str) -> Result<(), StoreError> {
        let (id, task) = (Some(agent.id), Some(agent.spec.task_id.clone()));
        let data = json!({"name": agent.name, "note": note});
        self.ports
            .store
            .log(vec![Fact { kind: kind.to_owned(), agent: id, task, at: self.now(), data }])
            .await
    }
}

/// Performs a step once the agent is not frozen. What gives back ends the freeze; supervision goes on under it.
pub(crate) async fn held<T>(driver: &Driver, effect: Effect, step: impl Future<Output = T>) -> T {
    match effect {
        Effect::Supervise => {}
        Effect::Unwind => {
            driver.frozen.send_replace(false);
        }
        _ => {
            // Errors when the driver was taken away, which ends this too.
            let _ = driver.frozen.subscribe().wait_for(|frozen| !frozen).await;
        }
    }
    step.await
}

/// What supervision knows about the freeze of its agent.
pub(crate) struct Frost {
    frozen: watch::Receiver<bool>,
    /// When it was seen frozen first.
    since: Option<Duration>,
    /// For how long it had been frozen when it was looked at.
    pub(crate) before: Duration,
}

impl Frost {
    /// Looks whether the program is frozen already: by an earlier server, or by an order that came before the program.
    pub(crate) async fn look(scene: &Scene<'_>) -> Self {
        let (o, id) = (scene.o, scene.agent.id);
        let frozen = scene.driver.frozen.subscribe();
        // An order that comes meanwhile would be overtaken by one that was given before the program ran.
        let _turn = scene.driver.freezing.lock().await;
        let was = o.ports.processes.frozen_for(id).await.ok().flatten();
        if was.is_some() {
            scene.driver.frozen.send_replace(true);
        } else if *frozen.borrow()
            && let Err(e) = o.ports.processes.freeze(id).await
        {
            tracing::warn!(agent.id = %id, error = %e, "an agent that is to be frozen runs on");
            scene.driver.frozen.send_replace(false);
        }
        let since = frozen.borrow().then(|| o.elapsed());
        Self { frozen, since, before: was.unwrap_or_default() }
    }

    /// Tells whether the clocks stand still.
    pub(crate) fn holds(&self) -> bool {
        self.since.is_some()
    }

    /// Waits until that changes; at a thaw returns for how long the agent stood still since it was
    /// looked at. Cancel-safe.
    pub(crate) async fn turned(&mut self, elapsed: impl Fn() -> Duration) -> Option<Duration> {
        let wanted = self.since.is_none();
        if self.frozen.wait_for(|frozen| *frozen == wanted).await.is_err() {
            // The driver is gone; whoever waits ends with it.
            std::future::pending::<()>().await;
        }
        match self.since.take() {
            Some(since) => Some(elapsed().saturating_sub(since)),
            None => {
                self.since = Some(elapsed());
                None
            }
        }
    }
}
