//! The coordinator: judges commits of other orchestrators with the gatekeeper of this machine. It has slots and a queue of its
//! own, and no agents. A check belongs to whoever waits for it: once no caller does, it is called off and nothing of it runs on.

mod bring;
mod cleanup;
mod job;
mod judge;
mod output;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use thiserror::Error;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use crate::Orchestrator;
use crate::domain::gates::GateReport;
use crate::domain::ids::{AgentId, BranchName, CommitId, TaskId, Word};
use crate::domain::outcome::Failure;
use crate::domain::repository::RepositoryUrl;
use crate::domain::spec::GateProfile;
use crate::limits;
use crate::ports::bundles::Bundles;
use job::{Job, JobEnd};

/// Bounds of a coordinator.
#[derive(Debug, Clone, Copy)]
pub struct CoordinatorSettings {
    /// Checks that run at once.
    pub slots: usize,
    /// Checks that may wait for a slot.
    pub queue: usize,
    /// Longest time of one check once it has a slot.
    pub longest: Duration,
}

/// A commit to be judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// The task.
    pub task: TaskId,
    /// The agent of the orchestrator that asks.
    pub agent: AgentId,
    /// Number of the judgement among the agent's, from 1.
    pub attempt: u32,
    /// The profile.
    pub profile: GateProfile,
    /// The gates in running order.
    pub gates: Vec<Word>,
    /// The repository.
    pub repository: RepositoryUrl,
    /// The branch that is to carry the commit.
    pub branch: BranchName,
    /// The branch of the base commit, when it is known.
    pub base_branch: Option<BranchName>,
    /// The base commit.
    pub base: CommitId,
    /// The commit.
    pub commit: CommitId,
    /// The bundle that brings the commit.
    pub bundle: Option<Word>,
}

/// A commit that was judged.
#[derive(Debug, Clone, PartialEq)]
pub struct Checked {
    /// The report.
    pub report: GateReport,
    /// Output of each gate's command, in the order of the results.
    pub outputs: Vec<Option<String>>,
    /// Origin of the definitions.
    pub defined_by: String,
}

/// Reason why a commit was not judged. None of them says anything about the commit.
#[derive(Debug, Clone, Error)]
pub enum CheckError {
    /// As many checks wait as may.
    #[error("{0} checks wait already")]
    Full(usize),
    /// The commit is not here and must be sent.
    #[error("{}", if *.whole { "neither the commit nor its base is here, and the repository cannot be reached from here" } else { "the commit is not here" })]
    NeedsBundle {
        /// With its whole history; else the base is here.
        whole: bool,
    },
    /// This machine could not judge it.
    #[error("{}", .0.message)]
    Failed(Failure),
    /// The check ran out of time.
    #[error("the check did not end within {}", humantime_seconds(*.0))]
    TooLong(Duration),
    /// Nobody waited for it any more.
    #[error("nobody waited for the check any more, so it was called off")]
    Abandoned,
    /// The coordinator ends.
    #[error("the coordinator is shutting down")]
    Ending,
}

fn humantime_seconds(time: Duration) -> String {
    format!("{} s", time.as_secs())
}

impl From<Failure> for CheckError {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// Identity of a check: the same one asked for again, as after a broken connection, is one check.
type Key = (TaskId, AgentId, u32, CommitId, CommitId, RepositoryUrl, Vec<Word>);

#[derive(Default)]
struct Checks {
    jobs: HashMap<Key, Arc<Job>>,
}

/// Judges commits of other orchestrators.
pub struct Coordinator {
    orchestrator: Arc<Orchestrator>,
    bundles: Arc<dyn Bundles>,
    settings: CoordinatorSettings,
    slots: Semaphore,
    checks: Mutex<Checks>,
    running: Mutex<JoinSet<()>>,
    /// Checks that wait for a slot or have one.
    unfinished: watch::Sender<usize>,
    /// Nothing new is taken.
    closed: AtomicBool,
    ending: watch::Sender<bool>,
}

impl Coordinator {
    /// Makes a coordinator that judges with an orchestrator's ports. The orchestrator's engine must not run.
    pub fn new(
        orchestrator: Arc<Orchestrator>,
        bundles: Arc<dyn Bundles>,
        settings: CoordinatorSettings,
    ) -> Arc<Self> {
        let slots = Semaphore::new(settings.slots);
        Arc::new(Self {
            orchestrator,
            bundles,
            settings,
            slots,
            checks: Mutex::default(),
            running: Mutex::default(),
            unfinished: watch::Sender::new(0),
            closed: AtomicBool::new(false),
            ending: watch::Sender::new(false),
        })
    }

    /// Returns where bundles are kept.
    pub fn bundles(&self) -> &Arc<dyn Bundles> {
        &self.bundles
    }

    /// Counts the checks that run, and those that wait for a slot.
    pub fn load(&self) -> (usize, usize) {
        let free = self.slots.available_permits();
        let running = self.settings.slots.saturating_sub(free);
        (running, self.unfinished.borrow().saturating_sub(running))
    }

    /// Judges a commit, or waits for the check of the same commit that is under way, or repeats its result within
    /// [`limits::CHECK_REMEMBERED`]. Dropping the future leaves the check to others who wait for it; without any it is called off
    /// after [`limits::CHECK_ORPHANED`].
    pub async fn check(self: &Arc<Self>, check: Check) -> Result<Arc<Checked>, CheckError> {
        let waits = self.join(check)?;
        waits.outcome().await
    }

    /// Finds the check, or starts it.
    fn join(self: &Arc<Self>, check: Check) -> Result<job::Waits, CheckError> {
        if self.closed.load(Ordering::SeqCst) {
            return Err(CheckError::Ending);
        }
        let key: Key = (
            check.task.clone(),
            check.agent,
            check.attempt,
            check.base.clone(),
            check.commit.clone(),
            check.repository.clone(),
            check.gates.clone(),
        );
        let now = self.orchestrator.ports().clock.elapsed();
        let mut checks = self.checks.lock();
        checks.jobs.retain(|_, job| job.is_remembered(now));
        if let Some(job) = checks.jobs.get(&key) {
            return Ok(job.wait());
        }
        // A bound on what is admitted and not on what waits: a check that is admitted gets its slot by itself.
        if *self.unfinished.borrow() >= self.settings.slots + self.settings.queue {
            return Err(CheckError::Full(self.settings.queue));
        }
        self.unfinished.send_modify(|count| *count += 1);
        let job = Arc::new(Job::default());
        let waits = job.wait();
        checks.jobs.insert(key.clone(), Arc::clone(&job));
        drop(checks);
        let mut running = self.running.lock();
        while running.try_join_next().is_some() {}
        running.spawn(Arc::clone(self).run(key, check, job));
        Ok(waits)
    }

    /// Waits for a slot, judges, answers and cleans up.
    async fn run(self: Arc<Self>, key: Key, check: Check, job: Arc<Job>) {
        let agent = self.orchestrator.ports().chance.agent_id();
        let called_off = self.called_off(&job);
        tokio::pin!(called_off);
        let slot = tokio::select! {
            why = &mut called_off => Err(why),
            slot = self.slots.acquire() => slot.map_err(|_| CheckError::Ending),
        };
        let outcome = match &slot {
            Err(why) => Err(why.clone()),
            Ok(_) => tokio::select! {
                why = &mut called_off => Err(why),
                () = self.orchestrator.ports().clock.sleep(self.settings.longest) => {
                    Err(CheckError::TooLong(self.settings.longest))
                }
                outcome = self.judge(&check, agent) => outcome,
            },
        };
        match &outcome {
            Ok(checked) => {
                tracing::info!(task.id = %check.task, agent.id = %check.agent, commit = %check.commit, verdict = ?checked.report.verdict, "check ended")
            }
            Err(why) => {
                tracing::info!(task.id = %check.task, agent.id = %check.agent, commit = %check.commit, error = %why, "check ended without a verdict")
            }
        }
        // A check that came to nothing is forgotten before its callers learn of it: who asks again gets a new one.
        let end = outcome.map(Arc::new);
        if end.is_err() {
            self.checks.lock().jobs.remove(&key);
        }
        job.end(JobEnd { outcome: end, at: self.orchestrator.ports().clock.elapsed() });
        self.clean_up(&check, agent).await;
        self.unfinished.send_modify(|count| *count -= 1);
        drop(slot);
    }

    /// Waits until nobody wants the check any more.
    async fn called_off(&self, job: &Job) -> CheckError {
        let mut ending = self.ending.subscribe();
        let ends = async move { drop(ending.wait_for(|ends| *ends).await) };
        tokio::select! {
            () = ends => CheckError::Ending,
            () = job.abandoned(&*self.orchestrator.ports().clock) => CheckError::Abandoned,
        }
    }

    /// Takes nothing new from now on; what was taken goes on.
    pub fn refuse_new(&self) {
        self.closed.store(true, Ordering::SeqCst);
    }

    /// Waits until nothing runs and nothing waits.
    pub async fn idle(&self) {
        let mut unfinished = self.unfinished.subscribe();
        drop(unfinished.wait_for(|count| *count == 0).await);
    }

    /// Calls every check off and waits until nothing of them runs.
    pub async fn end(&self) {
        self.refuse_new();
        self.ending.send_replace(true);
        let mut running = std::mem::take(&mut *self.running.lock());
        while running.join_next().await.is_some() {}
    }

    /// Keeps house until it is dropped: removes bundles that no check used, and packs bare repositories.
    pub async fn tend(&self) {
        loop {
            self.orchestrator.ports().clock.sleep(limits::CHECK_HOUSEKEEPING).await;
            self.bundles.sweep(limits::CHECK_HOUSEKEEPING).await;
            if let Err(e) = self.orchestrator.ports().kept_work.tidy(&[]).await {
                tracing::warn!(error = %e.message, "a bare repository could not be packed");
            }
        }
    }
}
