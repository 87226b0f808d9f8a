//! The in-memory queue as external clients change it: a test plays them with [`FakeStore::intervene`].

use async_trait::async_trait;
use mosaic_core::domain::agent::Agent;
use mosaic_core::domain::ids::{AgentId, Timestamp};
use mosaic_core::domain::journal::LogRecord;
use mosaic_core::ports::external_queue::{ExternalChange, ExternalQueue};
use mosaic_core::ports::store::{Store, StoreError};
use tokio::sync::watch;

use super::FakeStore;
use super::rules::is_queued;
use super::state::Inner;

impl Inner {
    /// Takes a job off the list of what others put into the queue; false when it is not on it.
    pub(super) fn take_job(&mut self, wanted: &str) -> bool {
        let before = self.external_changes.len();
        self.external_changes.retain(|one| match one {
            ExternalChange::Submitted(submission) => submission.job != wanted,
            ExternalChange::Retried { job, .. } => job != wanted,
            ExternalChange::DataChanged { .. }
            | ExternalChange::Removed(_)
            | ExternalChange::Finished { .. } => true,
        });
        self.external_changes.len() < before
    }

    /// Lists what others did and no record says yet.
    pub(super) fn external_changes(&mut self, limit: usize) -> Vec<ExternalChange> {
        let records = &self.records;
        let waits = |id: &AgentId| records.values().any(|record| record.agent.id == *id && is_queued(record));
        self.external_changes.retain(|one| match one {
            ExternalChange::Removed(agent) | ExternalChange::Finished { agent, .. } => waits(agent),
            ExternalChange::Submitted(_)
            | ExternalChange::Retried { .. }
            | ExternalChange::DataChanged { .. } => true,
        });
        self.external_changes.iter().take(limit).cloned().collect()
    }
}

#[async_trait]
impl ExternalQueue for FakeStore {
    async fn external_changes(&self, limit: usize) -> Result<Vec<ExternalChange>, StoreError> {
        self.up().await?;
        Ok(self.inner().external_changes(limit))
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
        let told = ExternalChange::DataChanged { agent: agent.id, job: job.to_owned() };
        let known = {
            let mut inner = self.inner();
            let before = inner.external_changes.len();
            inner.external_changes.retain(|one| *one != told);
            inner.external_changes.len() < before
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
