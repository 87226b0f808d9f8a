//! The orchestrator as its callers see it: what the HTTP routes and the in-process command line call. It holds the
//! ports and the live drivers, and no other state: the truth is in the store.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::json;
use thiserror::Error;
use tokio::sync::{Notify, watch};

use crate::domain::agent::{Agent, State, Status};
use crate::domain::ids::{AgentId, NodeId, TaskId, Timestamp};
use crate::domain::journal::Fact;
use crate::domain::lifecycle::{self, KillCause, Now};
use crate::domain::spec::FieldError;
use crate::limits;
use crate::ports::clock::{Chance, Clock};
use crate::ports::gatekeeper::Gatekeeper;
use crate::ports::host::Host;
use crate::ports::processes::{Processes, StopReceipt};
use crate::ports::repositories::{FileStat, Repositories};
use crate::ports::runtime::Runtime;
use crate::ports::sandbox::Sandbox;
use crate::ports::scanner::SecretScanner;
use crate::ports::store::{Change, Pause, Query, Safety, Store, StoreError, Versioned};
use crate::ports::transcripts::Transcripts;

/// What the orchestrator needs from the world.
pub struct Ports {
    /// Records, queue, leases, events.
    pub store: Arc<dyn Store>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Ids and dice.
    pub chance: Arc<dyn Chance>,
    /// Git.
    pub repositories: Arc<dyn Repositories>,
    /// Confinement.
    pub sandbox: Arc<dyn Sandbox>,
    /// Jobs.
    pub processes: Arc<dyn Processes>,
    /// Kinds of agents by name.
    pub runtimes: BTreeMap<String, Arc<dyn Runtime>>,
    /// Gates.
    pub gatekeeper: Arc<dyn Gatekeeper>,
    /// Secret scan.
    pub scanner: Arc<dyn SecretScanner>,
    /// Transcripts.
    pub transcripts: Arc<dyn Transcripts>,
    /// This machine.
    pub host: Arc<dyn Host>,
}

/// How this node behaves.
#[derive(Debug, Clone)]
pub struct Settings {
    /// This node's name.
    pub node: NodeId,
    /// Agents at once on this node, at least 1.
    pub slots: usize,
    /// First part of every branch name, normally `mosaic`.
    pub branch_prefix: String,
    /// The runtime used when a spawn names none.
    pub default_runtime: String,
    /// A strict profile with undefined gates runs all the same.
    pub allow_incomplete_strict: bool,
    /// A skill that is not found fails the agent.
    pub require_skills: bool,
    /// The operator's folder of skills.
    pub skills_dir: Option<std::path::PathBuf>,
    /// Time between asking and forcing when something is stopped.
    pub kill_grace: Duration,
}

/// Why a spawn was refused.
#[derive(Debug, Error)]
pub enum SpawnError {
    /// The body is wrong; every fault.
    #[error("the request has {} faulty fields", .0.len())]
    Invalid(Vec<FieldError>),
    /// Policy forbids the repository.
    #[error("{0}")]
    Denied(String),
    /// The request cannot be satisfied here.
    #[error("{0}")]
    Unsatisfiable(String),
    /// The node is stopping.
    #[error("the server is shutting down")]
    ShuttingDown,
    /// The disk is below the floor.
    #[error("{0}")]
    DiskLow(String),
    /// The store refused.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why a manual retry was refused.
#[derive(Debug, Error)]
pub enum RetryError {
    /// The agent has not ended.
    #[error("agent {0} has not ended yet")]
    StillActive(AgentId),
    /// The new agent was refused.
    #[error(transparent)]
    Spawn(#[from] SpawnError),
}

/// An admitted agent.
#[derive(Debug, Clone)]
pub struct Spawned {
    /// The record.
    pub record: Versioned,
    /// The answer repeats an earlier one with the same idempotency key.
    pub replayed: bool,
}

/// What a kill came to.
#[derive(Debug, Clone)]
pub struct Killed {
    /// The record afterwards.
    pub record: Versioned,
    /// It had ended before the order.
    pub already_terminal: bool,
    /// It is verified that nothing of it is alive. False: asked, but not confirmed in time.
    pub confirmed: bool,
    /// What the stop found and did, when processes were involved.
    pub receipt: Option<StopReceipt>,
}

/// What a kill-all came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KillAllReport {
    /// Agents that were not terminal when it was called.
    pub total: u64,
    /// Of these, ended by it (or ending by themselves meanwhile).
    pub killed: u64,
    /// Of these, not confirmed in time.
    pub failed: u64,
    /// One line per agent that was not confirmed.
    pub errors: Vec<String>,
    /// Of the killed, how many had not started yet.
    pub queued: u64,
}

/// One check of readiness.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// What was checked: `store`, `disk`, `git`, `dispatcher`.
    pub name: String,
    /// Whether it is in order.
    pub ok: bool,
    /// What was found.
    pub detail: String,
}

/// A diff with its parts.
#[derive(Debug, Clone)]
pub struct Diff {
    /// The base commit.
    pub base: String,
    /// The agent's newest kept commit.
    pub head: String,
    /// Changed files.
    pub files: Vec<FileStat>,
    /// Unified diff.
    pub text: Vec<u8>,
    /// The text was cut.
    pub truncated: bool,
}

/// An order to a driver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Order {
    /// End the agent.
    Kill(KillCause, String),
    /// Give the agent back to the queue: the server stops.
    Interrupt,
}

/// What others know about a live driver.
pub(crate) struct Driver {
    pub(crate) order: watch::Sender<Option<Order>>,
    pub(crate) done: watch::Sender<bool>,
    pub(crate) receipt: Mutex<Option<StopReceipt>>,
}

/// The orchestrator of one node.
pub struct Orchestrator {
    pub(crate) ports: Ports,
    pub(crate) settings: Settings,
    pub(crate) live: Mutex<HashMap<AgentId, Arc<Driver>>>,
    /// Something may be ready to start, or a slot became free.
    pub(crate) wake: Notify,
    pub(crate) draining: AtomicBool,
    /// Nothing that is stopped gets a grace any more.
    pub(crate) hurry: watch::Sender<bool>,
}

impl Orchestrator {
    /// Makes an orchestrator. Nothing runs until [`crate::engine::run`].
    pub fn new(ports: Ports, settings: Settings) -> Arc<Self> {
        Arc::new(Self {
            ports,
            settings,
            live: Mutex::new(HashMap::new()),
            wake: Notify::new(),
            draining: AtomicBool::new(false),
            hurry: watch::Sender::new(false),
        })
    }

    /// Returns the ports, for reading.
    pub fn ports(&self) -> &Ports {
        &self.ports
    }

    /// Returns the settings.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Returns the current time.
    pub fn now(&self) -> Timestamp {
        self.ports.clock.now()
    }

    /// Tells whether the node takes nothing new any more.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::SeqCst)
    }

    /// Takes no new agents from now on: spawns are refused and readiness is false at once. What runs goes on until
    /// the engine is told to stop. Idempotent; there is no way back but a restart.
    pub fn refuse_new(&self) {
        self.draining.store(true, Ordering::SeqCst);
    }

    /// Returns how many agents this node runs now.
    pub fn running(&self) -> usize {
        self.live().len()
    }

    pub(crate) fn live(&self) -> MutexGuard<'_, HashMap<AgentId, Arc<Driver>>> {
        self.live.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    pub(crate) fn decide_now(&self) -> Now {
        Now { at: self.ports.clock.now(), dice: self.ports.chance.dice() }
    }

    /// Reads one agent.
    pub async fn agent(&self, id: AgentId) -> Result<Versioned, StoreError> {
        self.ports.store.get(id).await
    }

    /// Lists agents.
    pub async fn list(&self, query: Query) -> Result<Vec<Versioned>, StoreError> {
        self.ports.store.list(query).await
    }

    /// Kills one agent and waits until it is verified, at most [`limits::KILL_ANSWER`] plus the grace. `note` says
    /// who and why, for the record. An agent that has ended stays as it is.
    pub async fn kill(&self, id: AgentId, cause: KillCause, note: &str) -> Result<Killed, StoreError> {
        let patience = limits::KILL_ANSWER + self.settings.kill_grace;
        let mut first = true;
        let mut receipt = None;
        let work = async {
            loop {
                let record = self.ports.store.get(id).await?;
                if record.agent.is_terminal() {
                    let killed_by_us = !first;
                    return Ok(Killed {
                        record,
                        already_terminal: !killed_by_us,
                        confirmed: true,
                        receipt: receipt.take(),
                    });
                }
                first = false;
                if matches!(record.agent.state, State::Queued { .. }) {
                    let ended = self.kill_waiting(vec![record], cause, note).await?;
                    if ended.is_empty() {
                        // A slot has taken it and its driver is about to write: look again in a moment.
                        self.ports.clock.sleep(limits::LOOK_AGAIN).await;
                    }
                } else {
                    receipt =
                        self.order_and_wait(id, Order::Kill(cause, note.to_owned())).await.or(receipt.take());
                }
            }
        };
        tokio::select! {
            done = work => done,
            () = self.ports.clock.sleep(patience) => {
                let record = self.ports.store.get(id).await?;
                // Its processes may be gone while its work is still being kept: that is what a kill promises.
                let receipt = self.live().get(&id).and_then(|driver| driver.receipt());
                let gone = receipt.as_ref().is_some_and(|receipt| receipt.processes_after == 0);
                let confirmed = record.agent.is_terminal() || gone;
                Ok(Killed { record, already_terminal: false, confirmed, receipt })
            }
        }
    }

    /// Ends queued agents; returns those that were ended. The others changed meanwhile.
    async fn kill_waiting(
        &self,
        records: Vec<Versioned>,
        cause: KillCause,
        note: &str,
    ) -> Result<Vec<AgentId>, StoreError> {
        let mut changes = Vec::new();
        for record in records {
            let kill = lifecycle::Event::Kill { cause, note: note.to_owned() };
            if let Ok(step) = lifecycle::next(&record.agent, kill, self.decide_now()) {
                changes.push((
                    record.version,
                    Change { safety: Safety::Power, agent: step.agent, facts: step.facts },
                ));
            }
        }
        let agents: Vec<Agent> = changes.iter().map(|(_, change)| change.agent.clone()).collect();
        let results = self.ports.store.amend(changes).await?;
        let mut ended = Vec::new();
        let mut with_tree = Vec::new();
        for (agent, result) in agents.into_iter().zip(results) {
            match result {
                Ok(_) => {
                    with_tree.extend((agent.attempt > 0).then_some(agent.id));
                    ended.push(agent.id);
                }
                Err(StoreError::Conflict(_) | StoreError::NotFound(_)) => {}
                Err(e) => return Err(e),
            }
        }
        futures_util::future::join_all(with_tree.into_iter().map(|id| self.clean_up(id))).await;
        Ok(ended)
    }

    /// Gives an order to the agent's driver and waits until the driver is done. Without a driver (it is being
    /// registered, or has just gone) returns after a moment, so that the caller looks again.
    async fn order_and_wait(&self, id: AgentId, order: Order) -> Option<StopReceipt> {
        let driver = self.live().get(&id).cloned();
        let Some(driver) = driver else {
            self.ports.clock.sleep(limits::LOOK_AGAIN).await;
            return None;
        };
        driver.give(order);
        // An error means the driver's end was dropped, which is as done as can be.
        let _ = driver.done.subscribe().wait_for(|done| *done).await;
        driver.receipt()
    }

    /// Takes away whatever an ended agent still has on this machine, except work that nobody received. Idempotent;
    /// faults are logged and left to the next start.
    pub async fn clean_up(&self, id: AgentId) {
        if let Err(e) = self.ports.processes.stop(id, Duration::ZERO).await {
            tracing::warn!(agent.id = %id, error = %e, "processes of an ended agent could not be stopped");
            return;
        }
        if self.ports.store.get(id).await.is_ok_and(|record| record.agent.work.dirty) {
            return;
        }
        let removed = self.ports.repositories.remove(id).await.and(self.ports.sandbox.release(id).await);
        if let Err(e) = removed {
            tracing::warn!(agent.id = %id, error = %e.message, "tree of an ended agent could not be removed");
        }
        if let Err(e) = self.ports.processes.forget(id).await {
            tracing::warn!(agent.id = %id, error = %e, "job records of an ended agent could not be removed");
        }
    }

    /// Ends every agent that is not terminal now, queued ones included. What is spawned afterwards is not touched.
    pub async fn kill_all(&self, note: &str) -> Result<KillAllReport, StoreError> {
        let mut targets: Vec<AgentId> =
            self.ports.store.leased().await?.into_iter().map(|r| r.agent.id).collect();
        // What runs is ordered first and all at once, so that every agent uses the same grace at the same time.
        self.order_all(&targets, note);
        let mut report = KillAllReport { total: 0, killed: 0, failed: 0, errors: Vec::new(), queued: 0 };
        // Waiting entries are ended page by page; those that a slot takes meanwhile join the running ones.
        let mut barrier = None;
        loop {
            let unfinished = vec![Status::Spawning, Status::Running];
            let query = Query { status: unfinished, before_seq: barrier, limit: 1000, ..Query::default() };
            let page = self.ports.store.list(query).await?;
            let Some(last) = page.last() else { break };
            barrier = Some(last.seq);
            let (waiting, held): (Vec<_>, Vec<_>) =
                page.into_iter().partition(|r| matches!(r.agent.state, State::Queued { .. }));
            targets.extend(held.into_iter().map(|r| r.agent.id));
            let ids: Vec<AgentId> = waiting.iter().map(|r| r.agent.id).collect();
            let ended = self.kill_waiting(waiting, KillCause::KillAll, note).await?;
            report.queued += ended.len() as u64;
            report.killed += ended.len() as u64;
            targets.extend(ids.into_iter().filter(|id| !ended.contains(id)));
        }
        targets.sort();
        targets.dedup();
        report.total = report.queued + targets.len() as u64;
        self.order_all(&targets, note);
        let kills =
            targets.iter().map(|id| async move { (*id, self.kill(*id, KillCause::KillAll, note).await) });
        for (id, result) in futures_util::future::join_all(kills).await {
            match result {
                Ok(killed) if killed.confirmed => report.killed += 1,
                Ok(_) => report.fail(format!("{id}: not confirmed in time; it is still being stopped")),
                Err(e) => report.fail(format!("{id}: {e}")),
            }
        }
        let data =
            json!({"total": report.total, "killed": report.killed, "failed": report.failed, "note": note});
        let fact =
            Fact { kind: "orchestrator.kill_all".to_owned(), agent: None, task: None, at: self.now(), data };
        self.ports.store.log(vec![fact]).await?;
        Ok(report)
    }

    fn order_all(&self, targets: &[AgentId], note: &str) {
        let live = self.live();
        for driver in targets.iter().filter_map(|id| live.get(id)) {
            driver.give(Order::Kill(KillCause::KillAll, note.to_owned()));
        }
    }

    /// Removes waiting work of a task: its queued agents end as killed by the operator. Returns the agents that
    /// were ended and those that already run.
    pub async fn remove_waiting(
        &self,
        task: &TaskId,
        note: &str,
    ) -> Result<(Vec<AgentId>, Vec<AgentId>), StoreError> {
        let records = self.ports.store.of_task(task).await?;
        let unfinished: Vec<_> = records.into_iter().filter(|r| !r.agent.is_terminal()).collect();
        let (waiting, mut active): (Vec<_>, Vec<_>) =
            unfinished.into_iter().partition(|r| matches!(r.agent.state, State::Queued { .. }));
        let ids: Vec<AgentId> = waiting.iter().map(|r| r.agent.id).collect();
        let ended = self.kill_waiting(waiting, KillCause::Operator, note).await?;
        let mut running: Vec<AgentId> = active.drain(..).map(|r| r.agent.id).collect();
        running.extend(ids.into_iter().filter(|id| !ended.contains(id)));
        Ok((ended, running))
    }

    /// Pauses dispatch: nothing new starts, what runs goes on. Idempotent.
    pub async fn pause(&self, by: &str, reason: Option<String>) -> Result<(), StoreError> {
        let at = self.now();
        let data = json!({"by": by, "reason": &reason});
        let fact = Fact { kind: "queue.paused".to_owned(), agent: None, task: None, at, data };
        self.ports.store.set_pause(Some(Pause { by: by.to_owned(), reason, at }), fact).await
    }

    /// Lets dispatch go on. Idempotent.
    pub async fn resume(&self, by: &str) -> Result<(), StoreError> {
        let fact = Fact {
            kind: "queue.resumed".to_owned(),
            agent: None,
            task: None,
            at: self.now(),
            data: json!({"by": by}),
        };
        self.ports.store.set_pause(None, fact).await?;
        self.wake.notify_one();
        Ok(())
    }

    /// Asks store, disk, git and dispatcher whether work can be taken. Each answers within 5 s or counts as down.
    pub async fn ready(&self) -> Vec<Check> {
        let check = |name: &str, result: Result<String, String>| Check {
            name: name.to_owned(),
            ok: result.is_ok(),
            detail: result.unwrap_or_else(|e| e),
        };
        let store =
            async { self.ports.store.check().await.map(|()| "ok".to_owned()).map_err(|e| e.to_string()) };
        let (store, disk, git) = tokio::join!(
            self.soon(store),
            self.soon(self.disk_room()),
            self.soon(self.ports.host.git_version())
        );
        let dispatcher = if self.is_draining() {
            Err("draining: no new work is taken".to_owned())
        } else {
            Ok("ok".to_owned())
        };
        vec![check("store", store), check("disk", disk), check("git", git), check("dispatcher", dispatcher)]
    }

    /// Waits for an answer at most 5 s.
    async fn soon(&self, answer: impl Future<Output = Result<String, String>>) -> Result<String, String> {
        tokio::select! {
            answer = answer => answer,
            () = self.ports.clock.sleep(Duration::from_secs(5)) => Err("no answer within 5 s".to_owned()),
        }
    }

    /// Checks the free space against [`limits::DISK_FLOOR_BYTES`]; says how much there is, or what to do.
    pub(crate) async fn disk_room(&self) -> Result<String, String> {
        let free = self.ports.host.free_bytes().await?;
        let mib = |bytes: u64| bytes / (1024 * 1024);
        if free < limits::DISK_FLOOR_BYTES {
            let floor = mib(limits::DISK_FLOOR_BYTES);
            return Err(format!(
                "only {} MiB free where the state is kept, {floor} MiB are needed; free some space",
                mib(free)
            ));
        }
        Ok(format!("{} MiB free", mib(free)))
    }

    /// Returns what the agent changed against its base, at most `most` bytes of it. `None` when nothing was kept.
    pub async fn diff(
        &self,
        agent: &Agent,
        most: usize,
    ) -> Result<Option<Diff>, crate::domain::outcome::Failure> {
        let (Some(base), Some(head)) = (&agent.work.base, &agent.work.kept) else { return Ok(None) };
        let repository = &agent.spec.context.repository;
        let files = self.ports.repositories.stat(repository, base, head).await?;
        let (text, truncated) = self.ports.repositories.diff(repository, base, head, most).await?;
        Ok(Some(Diff { base: base.to_string(), head: head.to_string(), files, text, truncated }))
    }
}

impl KillAllReport {
    fn fail(&mut self, text: String) {
        self.failed += 1;
        self.errors.push(text);
    }
}

impl Driver {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            order: watch::Sender::new(None),
            done: watch::Sender::new(false),
            receipt: Mutex::new(None),
        })
    }

    /// Returns what the stop of its processes found and did, once it is verified.
    pub(crate) fn receipt(&self) -> Option<StopReceipt> {
        self.receipt.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    /// Gives an order. A kill is never replaced by an interruption.
    pub(crate) fn give(&self, order: Order) {
        self.order.send_if_modified(|slot| {
            let replace = !matches!(slot, Some(Order::Kill(..)));
            if replace {
                *slot = Some(order);
            }
            replace
        });
    }
}
