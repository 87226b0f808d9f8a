//! Changes that external clients made to the queue, taken up into records: work of other producers is admitted or refused, a
//! job that was removed or finished elsewhere ends its agent, a job that was put back makes a new agent.
//!
//! A reconciler: it reads what the store lists and remembers nothing. Whatever it could not take up now is listed again.

use std::ops::ControlFlow;

use crate::domain::agent::State;
use crate::domain::facts::{DataRefused, Fact, JobRefused};
use crate::domain::ids::{AgentId, Timestamp};
use crate::domain::job::{self, JobError, WorkerResult};
use crate::domain::journal::LogRecord;
use crate::domain::lifecycle::{self, Event, KillCause};
use crate::domain::spec::{FieldError, SpawnSpec};
use crate::limits;
use crate::orchestrator::{Orchestrator, SpawnError};
use crate::ports::external_queue::{ExternalChange, Submission};
use crate::ports::store::{Change, Safety, StoreError};
use crate::steps::admit::Origin;

/// The sentence for an external client that wrote over the data of an admitted job.
const DATA_REFUSED: &str = "the data of its job were changed after it was admitted; that was refused, and the job shows again \
     what was admitted. To run something else, remove the job and add a new one";

impl Orchestrator {
    /// Takes up a bounded number of external changes; tells whether there may be more of them at once.
    pub(crate) async fn take_up_external_changes(&self) -> bool {
        let found = match self.ports.external_queue.external_changes(limits::EXTERNAL_CHANGES).await {
            Ok(found) => found,
            Err(e) => {
                tracing::debug!(error = %e, "what others did to the queue cannot be read now");
                return false;
            }
        };
        let many = found.len() >= limits::EXTERNAL_CHANGES;
        let mut progress = false;
        // New work that may not be admitted now is left where it is and not refused: its producer would take
        // a refusal for good.
        let mut hold = self.is_draining() || self.orders.latch().is_some();
        for one in found {
            let is_new = matches!(one, ExternalChange::Submitted(_) | ExternalChange::Retried { .. });
            if is_new && hold {
                continue;
            }
            match self.take_up(one).await {
                Ok(ControlFlow::Continue(taken)) => progress |= taken,
                // New work must wait; what ends agents may be further on.
                Ok(ControlFlow::Break(())) => hold = true,
                Err(e) => {
                    tracing::warn!(error = %e, "what others did to the queue could not be taken up; trying again soon");
                    return false;
                }
            }
        }
        // Without progress the same page would be read again at once and without end: what must wait stays in
        // the list.
        many && progress
    }

    /// Takes up one. Continues with whether anything changed; breaks when new work must wait.
    async fn take_up(&self, one: ExternalChange) -> Result<ControlFlow<(), bool>, StoreError> {
        let taken = match one {
            ExternalChange::Submitted(submission) => return self.take_in(submission).await,
            ExternalChange::Retried { agent, job, changed } => {
                return self.take_again(agent, job, changed).await;
            }
            ExternalChange::DataChanged { agent, job } => self.undo_change(agent, &job).await,
            ExternalChange::Removed(agent) => self.end_removed(agent).await,
            ExternalChange::Finished { agent, result } => self.end_finished(agent, result).await,
        };
        match taken {
            // Somebody else was faster, or the agent is somewhere else by now: the list says what is left to do.
            Ok(false)
            | Err(StoreError::Conflict(_) | StoreError::NotFound(_) | StoreError::Pruned { .. }) => {
                Ok(ControlFlow::Continue(false))
            }
            Ok(true) => Ok(ControlFlow::Continue(true)),
            Err(e) => Err(e),
        }
    }

    async fn take_in(&self, submission: Submission) -> Result<ControlFlow<(), bool>, StoreError> {
        let spec = match understood(&submission) {
            Ok(spec) => spec,
            Err(e) => return self.turn_away(&submission.job, &e.to_string()).await,
        };
        let Submission { job, data, until, .. } = submission;
        let until = match until {
            Some(until) if until.since(self.now()) > limits::LONGEST_DELAY => {
                return self.turn_away(&job, "the job is delayed by more than ten years").await;
            }
            until => until.filter(|until| *until > self.now()),
        };
        let origin = Origin { job: Some(job.clone()), job_data: Some(data), until, ..Origin::default() };
        let admitted = self.admit(spec, origin).await;
        self.settle_admission(&job, admitted.map(|spawned| spawned.record.agent.id)).await
    }

    async fn take_again(
        &self,
        agent: AgentId,
        job: String,
        changed: Option<Submission>,
    ) -> Result<ControlFlow<(), bool>, StoreError> {
        let old = match self.ports.store.get(agent).await {
            Ok(old) if old.agent.is_terminal() => old.agent,
            Ok(_) => return Ok(ControlFlow::Continue(false)),
            // Only a store that is away is worth another try. A record that was removed or set aside does not
            // come back.
            Err(e @ (StoreError::Unavailable(_) | StoreError::NotSafe(_))) => return Err(e),
            Err(e) => {
                let why = format!("the job was put back, but its agent cannot be repeated: {e}");
                return self.turn_away(&job, &why).await;
            }
        };
        let (spec, job_data) = match changed {
            None => (old.spec, None),
            Some(now) => {
                let ours = job == agent.to_string();
                let read = if ours { job::understand_own(&now.data) } else { understood(&now) };
                match read {
                    Ok(spec) => (spec, Some(now.data)),
                    Err(e) => return self.turn_away(&job, &e.to_string()).await,
                }
            }
        };
        let origin = Origin { previous: Some(agent), job: Some(job.clone()), job_data, ..Origin::default() };
        let admitted = self.admit(spec, origin).await;
        self.settle_admission(&job, admitted.map(|spawned| spawned.record.agent.id)).await
    }

    /// Decides what an admission's answer means for the job: it is the agent's now, stays where it is until later, or
    /// is refused.
    async fn settle_admission(
        &self,
        job: &str,
        admitted: Result<AgentId, SpawnError>,
    ) -> Result<ControlFlow<(), bool>, StoreError> {
        use SpawnError as S;
        match admitted {
            Ok(agent) => {
                tracing::info!(agent.id = %agent, job.id = job, "work of another producer was taken in");
                Ok(ControlFlow::Continue(true))
            }
            Err(S::Invalid(faults)) => self.turn_away(job, &in_one_line(&faults)).await,
            Err(S::Denied(why) | S::Unsatisfiable(why)) => self.turn_away(job, &why).await,
            Err(S::Store(e @ StoreError::TaskActive { .. })) => self.turn_away(job, &e.to_string()).await,
            // Another node was faster with the same job, or its producer removed it: nothing is left to do.
            Err(S::Store(StoreError::Conflict(_))) => Ok(ControlFlow::Continue(false)),
            Err(S::ShuttingDown | S::Stopped(_) | S::DiskLow(_) | S::Store(StoreError::QueueFull(_))) => {
                Ok(ControlFlow::Break(()))
            }
            Err(S::Store(e)) => Err(e),
        }
    }

    /// Refuses a job where its producer looks for it, and says so in the log.
    async fn turn_away(&self, job: &str, why: &str) -> Result<ControlFlow<(), bool>, StoreError> {
        let at = self.now();
        // Both are the producer's words: faults quote names, and a job's id is one.
        let (why, named) = (&self.hide(why.to_owned()), &self.hide(job.to_owned()));
        let refused = self.ports.external_queue.refuse(job, why, at).await?;
        // All nodes read the same list. Only the one whose refusal was written logs it, so that it stands in
        // the log once.
        if refused {
            tracing::warn!(job.id = named, reason = why, "work of another producer was refused");
            self.ports.store.log(vec![refusal(named, why, at)]).await?;
        }
        Ok(ControlFlow::Continue(refused))
    }

    /// Refuses new data of a job whose agent was admitted with others: those stand in its job again, and the record says so.
    async fn undo_change(&self, agent: AgentId, job: &str) -> Result<bool, StoreError> {
        let record = self.ports.store.get(agent).await?;
        if record.agent.is_terminal() {
            return Ok(false);
        }
        let refused = DataRefused { job_id: job.to_owned(), reason: DATA_REFUSED.to_owned() };
        let fact = LogRecord::about(&record.agent, &Fact::QueueDataRefused(refused), self.now());
        if !self.ports.external_queue.restore_data(&record.agent, job, fact).await? {
            return Ok(false);
        }
        tracing::warn!(agent.id = %agent, job.id = job, "the data of a job were changed after its admission; they were written back");
        // One that is held is written by its driver only; the event says it there.
        if record.node.is_none() {
            let mut warned = record.agent;
            warned.warn(DATA_REFUSED.to_owned());
            let change = Change { safety: Safety::Process, agent: warned, facts: Vec::new() };
            self.ports.store.amend(vec![(record.version, change)]).await?;
        }
        Ok(true)
    }

    async fn end_removed(&self, agent: AgentId) -> Result<bool, StoreError> {
        let record = self.ports.store.get(agent).await?;
        let waits = record.node.is_none() && matches!(record.agent.state, State::Queued { .. });
        if !waits {
            return Ok(false);
        }
        let ran = record.agent.attempt > 0;
        let ended =
            self.orders.kill_waiting(vec![record], KillCause::Operator, "removed from the queue").await?;
        if ran && !ended.is_empty() {
            self.clean_up(agent).await;
        }
        Ok(!ended.is_empty())
    }

    async fn end_finished(&self, agent: AgentId, result: WorkerResult) -> Result<bool, StoreError> {
        let record = self.ports.store.get(agent).await?;
        if record.node.is_some() {
            return Ok(false);
        }
        let ran = record.agent.attempt > 0;
        let event = Event::FinishedElsewhere { result };
        let Ok(step) = lifecycle::next(&record.agent, event, self.decide_now()) else { return Ok(false) };
        let change = Change { safety: Safety::Power, agent: step.agent, facts: step.facts };
        let mut written = self.ports.store.amend(vec![(record.version, change)]).await?;
        let ended = written.pop().is_some_and(|one| one.is_ok());
        if ran && ended {
            self.clean_up(agent).await;
        }
        Ok(ended)
    }
}

fn understood(job: &Submission) -> Result<SpawnSpec, JobError> {
    job::understand(&job.name, &job.data, &job.options)
}

fn in_one_line(faults: &[FieldError]) -> String {
    let faults: Vec<String> = faults.iter().map(|e| format!("{} {}", e.pointer, e.message)).collect();
    faults.join("; ")
}

fn refusal(job: &str, why: &str, at: Timestamp) -> LogRecord {
    let refused = JobRefused { job_id: job.to_owned(), reason: why.to_owned() };
    LogRecord::new(&Fact::QueueJobRefused(refused), at)
}
