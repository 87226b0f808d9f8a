//! The life of a task: ten steps, one file each, and the one way out. A step performs one effect and returns one
//! event; the sequence is decided in [`crate::domain::lifecycle`].

pub(crate) mod admit;
mod checkout;
mod commit;
mod confine;
mod gate;
mod launch;
pub(crate) mod lease;
pub(crate) mod live;
mod publish;
mod remote_look;
pub(crate) mod resume;
mod secrets;
pub(crate) mod settle;
mod stray;
mod supervise;
mod tend;
pub(crate) mod unwind;

mod briefing;

pub(crate) use stray::keep_stray;

pub use unwind::CleanUp;

use crate::domain::agent::{Agent, Ending, State, Status, Turn};
use crate::domain::ids::Word;
use crate::domain::lifecycle::{Effect, Event, Step};
use crate::domain::outcome::{Failure, FailureKind, Outcome};
use crate::kill::{Driver, Order};
use crate::orchestrator::Orchestrator;
use crate::ports::processes::{Job, JobSpec, ProcessError, Stdin};
use crate::ports::repositories::{TreeRequest, Worktree};
use crate::ports::runtime::{Dialogue, Opening, Runtime};
use crate::ports::sandbox::Confinement;
use crate::ports::store::{Lease, StoreError};
use crate::ports::transcripts::Told;

/// What a driver holds in memory between two steps. Everything in it can be lost: what must be given back is found
/// again through the ports by the agent's id.
#[derive(Default)]
pub(crate) struct Hands {
    /// The confinement made by step 4.
    confinement: Option<Confinement>,
    /// The running program, from step 5 to step 6.
    running: Option<Running>,
    /// The tracked paths of the base commit.
    files: Option<Vec<String>>,
    /// The tree made by step 3.
    tree: Option<Worktree>,
    /// The kill that is being carried out has stopped every process already.
    stopped: bool,
    /// No push of an earlier step can still arrive at the remote.
    push_over: bool,
}

/// A running program and its conversation.
struct Running {
    job: Box<dyn Job>,
    dialogue: Box<dyn Dialogue>,
    /// How the conversation began, and in which runtime.
    opening: Opening,
    runtime: String,
    /// Mark of the credential that it was started with.
    credential: Option<String>,
    /// What the transcript tells of it already; nothing unless an earlier server followed it.
    told: Told,
    /// This server started it, and knows by its own timer how long it has run.
    ours: bool,
}

/// One step's surroundings.
pub(crate) struct Scene<'a> {
    pub(crate) o: &'a Orchestrator,
    pub(crate) agent: &'a Agent,
    pub(crate) driver: &'a Driver,
}

/// Makes a decision durable. A kill does not wait for the store: whether it is what was decided or arrives while the
/// decision is being written, the agent's processes are stopped meanwhile.
pub(crate) async fn enact(
    o: &Orchestrator,
    lease: &Lease,
    driver: &Driver,
    step: &Step,
    hands: &mut Hands,
) -> Result<(), StoreError> {
    driver.seen().agent = step.agent.clone();
    let recording = settle::record(o, lease, step);
    tokio::pin!(recording);
    let scene = Scene { o, agent: &step.agent, driver };
    if is_kill(&step.agent.state) {
        let (recorded, ()) = tokio::join!(recording, unwind::begin(&scene, hands));
        hands.stopped = true;
        return recorded;
    }
    let mut orders = driver.order.subscribe();
    tokio::select! {
        biased;
        recorded = &mut recording => return recorded,
        // Errors never: the driver holds the sender.
        _ = orders.wait_for(|order| matches!(order, Some(Order::Kill(..)))) => {}
    }
    if matches!(step.effect, Effect::Wait | Effect::Rest) {
        return recording.await;
    }
    let (recorded, ()) = tokio::join!(recording, unwind::begin(&scene, hands));
    recorded
}

fn is_kill(state: &State) -> bool {
    matches!(state, State::Unwinding { ending: Ending::Settle { end } } if end.status == Status::Killed)
}

/// Performs the effect that the agent's state asks for and returns what happened.
pub(crate) async fn perform(effect: Effect, scene: Scene<'_>, hands: &mut Hands) -> Event {
    let result = match effect {
        Effect::Checkout => checkout::run(&scene, hands).await,
        Effect::Confine => confine::run(&scene, hands).await,
        Effect::Launch => launch::run(&scene, hands).await,
        Effect::Supervise => supervise::run(&scene, hands).await,
        Effect::Commit => commit::run(&scene, hands).await,
        Effect::Gate => gate::run(&scene, hands).await,
        Effect::Publish => match publish::run(&scene, hands).await {
            Err(_) if scene.driver.has_lapsed(scene.o) => Ok(Event::Interrupted),
            pushed => pushed,
        },
        Effect::Unwind => return unwind::run(&scene, hands).await,
        Effect::Wait | Effect::Rest => unreachable!("a driver ends with its agent's last effect"),
    };
    // Words of a failure may quote what an agent or a repository said.
    let event =
        result.unwrap_or_else(|f| Event::Failed(f.reworded(|text| scene.o.ports.scanner.mask(&text))));
    match event {
        Event::Failed(f) => Event::Failed(or_full_disk(&scene, f).await),
        Event::TurnEnded { outcome: Outcome::Failed(f), session, warnings, left } => {
            let outcome = Outcome::Failed(or_full_disk(&scene, f).await);
            Event::TurnEnded { outcome, session, warnings, left }
        }
        event => event,
    }
}

/// A program that fails while the disk is full fails for that reason, whatever it says; trying again would not help.
async fn or_full_disk(scene: &Scene<'_>, failure: Failure) -> Failure {
    if !failure.kind.is_retryable() {
        return failure;
    }
    // What the host does not say is no reason.
    let free = scene.o.ports.host.free_bytes().await;
    match scene.o.disk_room().await {
        Err(why) if free.is_ok() => {
            Failure::new(FailureKind::Disk, format!("{why}; what failed: {}", failure.message))
        }
        _ => failure,
    }
}

impl Scene<'_> {
    /// Returns what the agent is told now.
    fn turn(&self) -> &Turn {
        match &self.agent.state {
            State::Checkout { turn } | State::Confining { turn } | State::Launching { turn } => turn,
            _ => &Turn::Again,
        }
    }

    /// Returns the request that describes the agent's tree. Errors before the base is known.
    fn tree(&self) -> Result<TreeRequest, Failure> {
        let work = &self.agent.work;
        let Some(base) = work.base.clone() else {
            return Err(Failure::new(FailureKind::Internal, "the base commit is not known yet"));
        };
        Ok(TreeRequest {
            agent: self.agent.id,
            task: self.agent.spec.task_id.to_string(),
            repository: self.agent.spec.context.repository.clone(),
            base_branch: self.agent.spec.context.branch.clone(),
            branch: self.agent.branch.clone(),
            start: work.kept.clone().unwrap_or_else(|| base.clone()),
            base,
            reuse: *self.turn() != Turn::First || work.dirty,
            unreceived: work.dirty,
        })
    }

    /// Returns the name of the job that runs the agent's program now.
    fn run_name(&self) -> Word {
        job_name(&format!("run-{}", self.agent.runs))
    }

    /// Returns the name of the runtime that was asked for, or the node's own.
    fn runtime_name(&self) -> &str {
        self.agent.spec.runtime.as_ref().map_or(self.o.settings.default_runtime.as_str(), |r| r.as_str())
    }

    /// Returns a runtime of this node.
    fn runtime(&self, name: &str) -> Result<&dyn Runtime, Failure> {
        let runtime = self.o.ports.runtimes.get(name).map(AsRef::as_ref);
        runtime.ok_or_else(|| {
            Failure::new(
                FailureKind::ProgramMissing,
                format!("runtime \"{name}\" is not available on this node"),
            )
        })
    }

    /// Returns the confinement, made again when this driver did not make it.
    async fn confinement(&self, hands: &mut Hands) -> Result<Confinement, Failure> {
        if let Some(confinement) = &hands.confinement {
            return Ok(confinement.clone());
        }
        let confinement = self.o.ports.sandbox.confine(self.agent.id).await?;
        hands.confinement = Some(confinement.clone());
        Ok(confinement)
    }

    /// Returns a job in the agent's confinement with the environment that every agent has.
    fn job(
        &self,
        name: &str,
        command: Vec<String>,
        confinement: &Confinement,
        tree: &std::path::Path,
    ) -> JobSpec {
        let mut env = confinement.env.clone();
        let base = self.agent.work.base.as_ref().map_or(String::new(), ToString::to_string);
        env.push(("MOSAIC_AGENT_ID".to_owned(), self.agent.id.to_string()));
        env.push(("MOSAIC_TASK_ID".to_owned(), self.agent.spec.task_id.to_string()));
        env.push(("MOSAIC_WORKTREE".to_owned(), tree.display().to_string()));
        env.push(("MOSAIC_BASE".to_owned(), base));
        JobSpec {
            agent: self.agent.id,
            name: job_name(name),
            command: confinement.wrap.iter().cloned().chain(command).collect(),
            env,
            cwd: tree.to_owned(),
            stdin: Stdin::Null,
            output: self.o.ports.transcripts.raw(self.agent.id, self.agent.runs),
            output_limit: crate::limits::TRANSCRIPT_BYTES,
            interrupt: None,
            time_limit: None,
            memo: None,
        }
    }
}

fn job_name(text: &str) -> Word {
    text.parse().expect("job names are made of letters, digits and dashes")
}

/// What the stop file ended. Its end is the operator's wish, whatever the file says by now.
fn stopped() -> Failure {
    Failure::new(FailureKind::Stopped, "the file STOP in the data directory ended everything that ran")
}

/// A fault of the supervisor as a step's failure: passing, so that an attempt may be repeated.
fn supervisor_failed(error: &ProcessError) -> Failure {
    Failure::new(FailureKind::Internal, error.to_string())
}
