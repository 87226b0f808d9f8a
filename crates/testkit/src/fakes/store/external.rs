//! The in-memory queue as external clients change it: a test plays them with [`FakeStore::intervene`].

use async_trait::async_trait;
use mosaic_core::domain::agent::Agent;
use mosaic_core::domain::ids::{AgentId, Timestamp};
use mosaic_core::domain::journal::LogRecord;
use mosaic_core::ports::external_queue::{ExternalQueue, Intervention};
use mosaic_core::ports::store::{Store, StoreError};
use tokio::sync::watch;

use super::FakeStore;
use super::rules::is_queued;
use super::state::Inner;

impl Inner {
    /// Takes a job off the list of what others put into the queue; false when it is not on it.
    pub(super) fn take_job(&mut self, wanted: &str) -> bool {
        let before = self.interventions.len();
        self.interventions.retain(|one| match one {
            Intervention::Submitted(submission) => submission.job != wanted,
            Intervention::Retried { job, .. } => job != wanted,
            Intervention::DataChanged { .. } | Intervention::Removed(_) | Intervention::Finished { .. } => {
                true
            }
        });
        self.interventions.len() < before
    }

    /// Lists what others did and no record says yet.
    pub(super) fn interventions(&mut self, limit: usize) -> Vec<Intervention> {
        let records = &self.records;
        let waits = |id: &AgentId| records.values().any(|record| record.agent.id == *id && is_queued(record));
        self.interventions.retain(|one| match one {
            Intervention::Removed(agent) | Intervention::Finished { agent, .. } => waits(agent),
            Intervention::Submitted(_) | Intervention::Retried { .. } | Intervention::DataChanged { .. } => {
                true
            }
        });
        self.interventions.iter().take(limit).cloned().collect()
    }
}

#[async_trait]
impl ExternalQueue for FakeStore {
    async fn interventions(&self, limit: usize) -> Result<Vec<Intervention>, StoreError> {
        self.up().await?;
        Ok(self.inner().interventions(limit))
    }

    async fn refuse(&self, job: &str, why: &str, _at: Timestamp) -> Result<bool, StoreError> {
        self.up().await?;
        let mut inner = self.inner();
        let known = inner.take_job(job);
        if known {
            inner.refused.push((job.to_owned(), why.to_owned()));
        }
        Ok(known)
    }

    async fn restore_data(&self, agent: &Agent, job: &str, fact: LogRecord) -> Result<bool, StoreError> {
        self.up().await?;
        let told = Intervention::DataChanged { agent: agent.id, job: job.to_owned() };
        let known = {
            let mut inner = self.inner();
            let before = inner.interventions.len();
            inner.interventions.retain(|one| *one != told);
            inner.interventions.len() < before
        };
        if known {
            self.log(vec![fact]).await?;
        }
        Ok(known)
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }
}
