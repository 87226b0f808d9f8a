//! The queue as external clients of it change it: other producers, other workers, an operator's tool. Only a queue that others can
//! reach has such changes; the embedded store has none ([`NoExternalQueue`]).

use async_trait::async_trait;
use tokio::sync::watch;

use crate::domain::agent::Agent;
use crate::domain::ids::{AgentId, Timestamp};
use crate::domain::job::WorkerResult;
use crate::domain::journal::LogRecord;
use crate::ports::store::StoreError;

/// Work that another producer put into the queue.
#[derive(Debug, Clone, PartialEq)]
pub struct Submission {
    /// The job's id in the queue.
    pub job: String,
    /// The job's name, `spawn` for a spawn.
    pub name: String,
    /// Data of the job: the body of a spawn as JSON text, as far as the producer kept to it.
    pub data: String,
    /// The job's options as JSON text: priority, attempts, backoff, delay.
    pub options: String,
    /// When it was put there, by the producer's clock.
    pub at: Timestamp,
    /// Not before this time.
    pub until: Option<Timestamp>,
}

/// Change that an external client made to the queue (another producer, another worker, an operator's tool) and that no record
/// shows yet. It is reported again until a write takes it up.
#[derive(Debug, Clone, PartialEq)]
pub enum ExternalChange {
    /// New work. Taken up by an [admission](crate::ports::store::Admission) with its job, or by [`ExternalQueue::refuse`].
    Submitted(Submission),
    /// A waiting agent's job was removed. Taken up by an amendment that ends the agent.
    Removed(AgentId),
    /// An ended agent's job waits again. Taken up by an [admission](crate::ports::store::Admission) with the job, or by [`ExternalQueue::refuse`].
    Retried {
        /// The agent that has ended.
        agent: AgentId,
        /// Its job.
        job: String,
        /// The job as it stands now, where its data were changed since that agent was admitted: these are what is asked for.
        changed: Option<Submission>,
    },
    /// The data of the job of an agent that has not ended were changed. Taken up by [`ExternalQueue::restore_data`].
    DataChanged {
        /// The agent.
        agent: AgentId,
        /// Its job.
        job: String,
    },
    /// Another worker took a waiting agent's job and finished it. Taken up by an amendment that ends the agent.
    Finished {
        /// The agent.
        agent: AgentId,
        /// Result of that worker, or the reason of its failure.
        result: WorkerResult,
    },
}

/// The queue of jobs as external clients share it with this program.
///
/// Every method is atomic and may be called from any number of tasks and nodes at once: of two callers that take up the same
/// change one does it, the other is told that nothing was left.
#[async_trait]
pub trait ExternalQueue: Send + Sync {
    /// Lists the changes that external clients made to the queue and that no record shows yet, oldest first, at most `limit`.
    async fn external_changes(&self, limit: usize) -> Result<Vec<ExternalChange>, StoreError>;

    /// Fails a job of another producer for good, with the reason where that producer looks for it; false when there is
    /// nothing to refuse any more: it was refused, removed, taken in or taken by another worker meanwhile.
    async fn refuse(&self, job: &str, why: &str, at: Timestamp) -> Result<bool, StoreError>;

    /// Writes the data that an agent was admitted with back into its job, with a fact to log; false when there is nothing to
    /// write back any more.
    async fn restore_data(&self, agent: &Agent, job: &str, fact: LogRecord) -> Result<bool, StoreError>;

    /// Returns a receiver that changes when other nodes or external clients may have changed what there is to do: the queue,
    /// the standing orders, the nodes that may start something. Its number means nothing. Where its sender is gone, there are
    /// no others.
    fn changes(&self) -> watch::Receiver<u64>;
}

/// The queue of a store that one server has for itself: no external client can reach it.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoExternalQueue;

#[async_trait]
impl ExternalQueue for NoExternalQueue {
    async fn external_changes(&self, _limit: usize) -> Result<Vec<ExternalChange>, StoreError> {
        Ok(Vec::new())
    }

    async fn refuse(&self, job: &str, _why: &str, _at: Timestamp) -> Result<bool, StoreError> {
        Err(StoreError::Unusable(format!("there is no job {job}: no external client can reach this queue")))
    }

    async fn restore_data(&self, _agent: &Agent, _job: &str, _fact: LogRecord) -> Result<bool, StoreError> {
        Ok(false)
    }

    fn changes(&self) -> watch::Receiver<u64> {
        watch::channel(0).1
    }
}
