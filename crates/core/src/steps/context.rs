//! The surroundings of a step, and what a driver holds in memory between two of them.

use std::path::Path;

use crate::domain::agent::{Agent, Ending, State, Status, Turn};
use crate::domain::ids::{AgentId, Word};
use crate::domain::outcome::{Failure, FailureKind};
use crate::driver::AgentHandle;
use crate::limits;
use crate::orchestrator::Orchestrator;
use crate::ports::processes::{Job, JobSpec, ProcessError, Stdin};
use crate::ports::repositories::{TreeRequest, Worktree};
use crate::ports::runtime::{Dialogue, Opening, Runtime};
use crate::ports::sandbox::{Command, Mount, Policy, Purpose, SandboxHandle};
use crate::ports::transcripts::TranscriptCursor;

/// State that a driver holds in memory between two steps. Everything in it can be lost: what must be released is found again
/// through the ports by the agent's id.
#[derive(Default)]
pub(crate) struct StepState {
    /// The agent's place in the sandbox, prepared by step 4.
    pub(super) sandbox: Option<SandboxHandle>,
    /// The running program, from step 5 to step 6.
    pub(super) running: Option<Running>,
    /// The tracked paths of the base commit.
    pub(super) files: Option<Vec<String>>,
    /// Warnings of step 4, told with the end of step 5.
    pub(super) warnings: Vec<String>,
    /// The tree made by step 3.
    pub(super) tree: Option<Worktree>,
    /// The kill that is being carried out has stopped every process already.
    pub(super) stopped: bool,
    /// No push of an earlier step can still arrive at the remote.
    pub(super) push_over: bool,
}

/// A running program and its conversation.
pub(super) struct Running {
    pub(super) job: Box<dyn Job>,
    pub(super) dialogue: Box<dyn Dialogue>,
    /// Opening of the conversation, and the runtime in which it began.
    pub(super) opening: Opening,
    pub(super) runtime: String,
    /// Mark of the credential that it was started with.
    pub(super) credential: Option<String>,
    /// Part of the output that the transcript has already; nothing unless an earlier server followed it.
    pub(super) cursor: TranscriptCursor,
    /// This server started it, and knows by its own timer how long it has run.
    pub(super) ours: bool,
}

/// One step's surroundings.
pub(crate) struct StepContext<'a> {
    pub(crate) orchestrator: &'a Orchestrator,
    pub(crate) agent: &'a Agent,
    pub(crate) driver: &'a AgentHandle,
}

impl StepContext<'_> {
    /// Returns what the agent is told now.
    pub(super) fn turn(&self) -> &Turn {
        match &self.agent.state {
            State::Checkout { turn } | State::Confining { turn } | State::Launching { turn } => turn,
            _ => &Turn::Again,
        }
    }

    /// Returns the request that describes the agent's tree. Errors before the base is known.
    pub(super) fn tree(&self) -> Result<TreeRequest, Failure> {
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
    pub(super) fn run_name(&self) -> Word {
        job_name(&format!("run-{}", self.agent.runs))
    }

    /// Returns the name of the runtime that was asked for, or the node's own.
    pub(super) fn runtime_name(&self) -> &str {
        self.agent
            .spec
            .runtime
            .as_ref()
            .map_or(self.orchestrator.settings.default_runtime.as_str(), |r| r.as_str())
    }

    /// Returns a runtime of this node.
    pub(super) fn runtime(&self, name: &str) -> Result<&dyn Runtime, Failure> {
        let runtime = self.orchestrator.ports.runtimes.get(name).map(AsRef::as_ref);
        runtime.ok_or_else(|| {
            Failure::new(
                FailureKind::ProgramMissing,
                format!("runtime \"{name}\" is not available on this node"),
            )
        })
    }

    /// Returns the agent's place in the sandbox, prepared again when this driver did not prepare it.
    pub(super) async fn sandbox(&self, step_state: &mut StepState) -> Result<SandboxHandle, Failure> {
        if let Some(handle) = &step_state.sandbox {
            return Ok(handle.clone());
        }
        let tree = step_state.tree.as_ref().map(|tree| tree.path.clone());
        let policy = Policy::of(self.agent.spec.agent_type);
        let policy = tree.map(Mount::writable).into_iter().fold(policy, Policy::with);
        let sandbox = &self.orchestrator.ports.sandbox;
        let handle = sandbox.prepare(self.agent.id, Purpose::Agent, &policy).await?;
        step_state.sandbox = Some(handle.clone());
        Ok(handle)
    }

    /// Returns a job in a prepared place, with the environment that every agent has and then its own.
    pub(super) fn job(
        &self,
        name: &str,
        handle: &SandboxHandle,
        argv: Vec<String>,
        env: Vec<(String, String)>,
        tree: &Path,
    ) -> JobSpec {
        self.owner().job(self.orchestrator, name, handle, (argv, env), tree)
    }

    /// Returns the agent as its jobs know it.
    pub(super) fn owner(&self) -> JobOwner {
        JobOwner {
            agent: self.agent.id,
            task: self.agent.spec.task_id.to_string(),
            base: self.agent.work.base.as_ref().map_or(String::new(), ToString::to_string),
            runs: self.agent.runs,
        }
    }
}

/// An agent as its jobs know it, record or not.
pub(super) struct JobOwner {
    pub(super) agent: AgentId,
    task: String,
    base: String,
    /// Number of its runs so far: jobs and logs of one run are named by it.
    pub(super) runs: u32,
}

impl JobOwner {
    /// Returns the owner of a tree whose record is lost.
    pub(super) fn of_tree(tree: &TreeRequest) -> Self {
        Self { agent: tree.agent, task: tree.task.clone(), base: tree.base.to_string(), runs: 0 }
    }

    /// Returns a job in a prepared place, with the environment that every job of an agent has and then its own.
    pub(super) fn job(
        &self,
        o: &Orchestrator,
        name: &str,
        handle: &SandboxHandle,
        (argv, env): (Vec<String>, Vec<(String, String)>),
        directory: &Path,
    ) -> JobSpec {
        let of_agent = [
            ("MOSAIC_AGENT_ID", self.agent.to_string()),
            ("MOSAIC_TASK_ID", self.task.clone()),
            ("MOSAIC_WORKTREE", directory.display().to_string()),
            ("MOSAIC_BASE", self.base.clone()),
        ];
        let of_agent = of_agent.into_iter().map(|(name, value)| (name.to_owned(), value));
        let command = Command { argv, env: of_agent.chain(env).collect(), cwd: directory.to_owned() };
        let command = o.ports.sandbox.command(handle, command);
        JobSpec {
            agent: self.agent,
            name: job_name(name),
            command: command.argv,
            env: command.env,
            cwd: command.cwd,
            stdin: Stdin::Null,
            output: o.ports.transcripts.raw(self.agent, self.runs),
            output_limit: limits::TRANSCRIPT_BYTES,
            interrupt: None,
            time_limit: None,
            memo: None,
        }
    }
}

pub(super) fn job_name(text: &str) -> Word {
    text.parse().expect("job names are made of letters, digits and dashes")
}

/// Returns the failure of a program that the stop file ended. Its end is the operator's wish, whatever the file says by now.
pub(super) fn stopped() -> Failure {
    Failure::new(FailureKind::Stopped, "the file STOP in the data directory ended everything that ran")
}

/// A fault of the supervisor as a step's failure: passing, so that an attempt may be repeated.
pub(super) fn supervisor_failed(error: &ProcessError) -> Failure {
    Failure::new(FailureKind::Internal, error.to_string())
}

pub(super) fn is_kill(state: &State) -> bool {
    matches!(state, State::Unwinding { ending: Ending::Settle { end } } if end.status == Status::Killed)
}
