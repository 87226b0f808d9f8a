//! Processes: every program that runs an agent's or a repository's code is a *job* under a supervisor of its own
//! (the shim), which owns its pipes, outlives the server, and can stop the whole tree and prove it.

use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::domain::ids::{AgentId, Word};
pub use crate::domain::stop::StopReceipt;

/// Where a job's standard input comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Stdin {
    /// Nothing: end of file at once.
    Null,
    /// These bytes, then end of file.
    Text(String),
    /// First this text, which reaches the program whatever becomes of the server, then what [`Job::write`] sends, until
    /// [`Job::close_stdin`].
    Open {
        /// The text; at most [`crate::limits::STDIN_QUEUE_BYTES`].
        #[serde(default)]
        first: String,
    },
}

/// Specification of a job: its program, and the conditions of its run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JobSpec {
    /// The agent it belongs to.
    pub agent: AgentId,
    /// Its name, unique among the agent's jobs, such as `run-1` or `gate-tests-2`.
    pub name: Word,
    /// Program and arguments.
    pub command: Vec<String>,
    /// The whole environment; nothing is inherited.
    pub env: Vec<(String, String)>,
    /// Working directory.
    pub cwd: PathBuf,
    /// Standard input.
    pub stdin: Stdin,
    /// File to which standard output is appended.
    pub output: PathBuf,
    /// Bytes kept of the output, then a marker; the newest few MiB after it stay readable through [`Job::next`].
    pub output_limit: u64,
    /// Bytes written to standard input as the first rung of a stop, when there is something politer than SIGTERM.
    pub interrupt: Option<String>,
    /// Time after which the shim stops the job by itself, counted from its start.
    pub time_limit: Option<Duration>,
    /// Note for a later server that adopts the job, in words of the caller's; see [`Adopted::memo`].
    #[serde(default)]
    pub memo: Option<String>,
}

/// End of a job's main process.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Exit {
    /// Its exit code; `None` when a signal ended it or it never started.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// The shim's time limit ended it.
    pub timed_out: bool,
    /// Processes that outlived the main one and were ended by the shim.
    pub leaked: u32,
    /// Bytes it wrote to standard output.
    pub output_bytes: u64,
    /// The last part of its standard error, at most 8 KiB, lossy UTF-8.
    pub stderr_tail: String,
    /// Why it could not be started, when it could not.
    pub start_error: Option<String>,
    /// Why its shim ended it without being asked: a stop file, a lease that ran out, too many processes.
    #[serde(default)]
    pub ended_by: Option<String>,
    /// It was the stop file: an order to everything, which no retry may undo.
    #[serde(default)]
    pub stopped: bool,
    /// It was the end of the lease: no fault of the job's.
    #[serde(default)]
    pub lapsed: bool,
    /// Receipt of the shim when it had to end processes: by order, by itself, or after the main one had ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receipt: Option<StopReceipt>,
}

/// Report of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobEvent {
    /// More standard output, at most 64 KiB at once, never empty.
    Output(Vec<u8>),
    /// This many bytes of output were dropped (past the limit, faster than they were read).
    Gap(u64),
    /// The main process has ended, nothing of the job is alive, and all output was reported.
    Exited(Exit),
}

/// Resources that an agent's processes use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Usage {
    /// User and system time of all its processes, ended ones included as far as they were seen. Never goes back while
    /// one of the agent's jobs runs.
    pub cpu: Duration,
    /// Resident memory of its live processes, in bytes; what they share may be counted more than once.
    pub memory_bytes: u64,
    /// Its live processes, supervisors not counted.
    pub processes: u32,
    /// Bytes that its processes read from storage. Never goes back, as `cpu`.
    pub read_bytes: u64,
    /// Bytes that its processes wrote to storage. Never goes back, as `cpu`.
    pub written_bytes: u64,
}

/// Why a job could not be started, reached or stopped.
#[derive(Debug, Error)]
pub enum ProcessError {
    /// The shim could not be started or did not answer in time.
    #[error("supervisor of {job} did not start: {why}")]
    NotStarted {
        /// The job.
        job: String,
        /// Reason of the failure.
        why: String,
    },
    /// The shim is gone without leaving an exit status.
    #[error("supervisor of {0} was lost")]
    Lost(String),
    /// Something of the agent is still alive after the whole ladder.
    #[error("{0} processes of the agent survived")]
    Survivors(u32),
    /// The processes are dead, and the sandbox has not ended what outlives them.
    #[error("the container of agent {agent} is not known to be gone: {container}")]
    ContainerLeft {
        /// The agent.
        agent: AgentId,
        /// The container, or why it is not known.
        container: String,
    },
    /// The operating system refused.
    #[error("{0}")]
    Io(#[from] std::io::Error),
}

/// A running job. Dropping it does not end the job: only [`Processes::stop`] and its own end do.
#[async_trait]
pub trait Job: Send {
    /// Waits for the next event. Cancel-safe. After `Exited` it must not be called again.
    async fn next(&mut self) -> Result<JobEvent, ProcessError>;

    /// Writes to the job's standard input; returns once the shim has taken the bytes, not once they were read. At
    /// most 1 MiB may be waiting; a job that reads nothing gets an error, never a hang.
    async fn write(&mut self, bytes: &[u8]) -> Result<(), ProcessError>;

    /// Writes the answer to a line of output as [`Job::write`] does; `line_end` is the number of output bytes up to the
    /// end of that line. The supervisor takes one answer per line, in the order of the lines, and remembers it: an answer
    /// that is repeated, also by a later server, succeeds and changes nothing.
    async fn answer(&mut self, line_end: u64, bytes: &[u8]) -> Result<(), ProcessError>;

    /// Closes the job's standard input after what was written. Idempotent.
    async fn close_stdin(&mut self) -> Result<(), ProcessError>;
}

fn unsupported(agent: AgentId) -> ProcessError {
    let why = format!("the jobs of agent {agent} run under a supervisor that cannot freeze");
    ProcessError::Io(std::io::Error::new(std::io::ErrorKind::Unsupported, why))
}

/// A job of an earlier server.
pub struct Adopted {
    /// The job, followed from its first byte of output on. It may have ended meanwhile, or turn out to be lost.
    pub job: Box<dyn Job>,
    /// Note of the server that started the job; see [`JobSpec::memo`].
    pub memo: Option<String>,
    /// The machine was started again since: nothing of the job can be alive, however it ended.
    pub rebooted: bool,
}

/// Starts and stops jobs.
#[async_trait]
pub trait Processes: Send + Sync {
    /// Starts a job: writes what is intended, starts its shim, and returns once the program runs (or could not be
    /// started, which the first event then says).
    async fn start(&self, spec: JobSpec) -> Result<Box<dyn Job>, ProcessError>;

    /// Takes over a job that an earlier server started, alive or ended: it can be followed, written to and stopped as
    /// if it had been started here. `None` when there was no such job, or it never came to run anything.
    async fn adopt(&self, agent: AgentId, name: &Word) -> Result<Option<Adopted>, ProcessError>;

    /// Stops every job of the agent, whoever started it: interrupt and SIGTERM share `grace`, then the cgroup or
    /// the process tree is killed, until it is verified that nothing is left. Idempotent; also for jobs whose
    /// shim or server died. Afterwards none of them can start late.
    async fn stop(&self, agent: AgentId, grace: Duration) -> Result<StopReceipt, ProcessError>;

    /// Stops the agent's running jobs from running on, without ending them, until [`Processes::thaw`]. Their time limits
    /// do not run meanwhile; the shim remembers it, whatever becomes of the server. Returns how many jobs are frozen.
    /// Idempotent. A [`Processes::stop`] of a frozen job kills it without letting it run again.
    async fn freeze(&self, agent: AgentId) -> Result<u32, ProcessError> {
        Err(unsupported(agent))
    }

    /// Lets frozen jobs run on; returns how many jobs run now. Idempotent.
    async fn thaw(&self, agent: AgentId) -> Result<u32, ProcessError> {
        Err(unsupported(agent))
    }

    /// Returns for how long jobs of the agent have been frozen; `None` when none is.
    async fn frozen_for(&self, agent: AgentId) -> Result<Option<Duration>, ProcessError> {
        let _ = agent;
        Ok(None)
    }

    /// Sets until when the agent's jobs may run, those that run now and those that are started later, by
    /// [`Clock::elapsed`](super::clock::Clock::elapsed): at that moment each supervisor freezes and kills its job,
    /// whatever becomes of the server. `None`: indefinitely. The newest call counts; [`Processes::forget`] forgets it.
    async fn extend(&self, agent: AgentId, until: Option<Duration>) -> Result<(), ProcessError> {
        let _ = (agent, until);
        Ok(())
    }

    /// Says what the processes of the agent's running jobs use; nothing when none runs. A process is only counted when it
    /// is certain that it is the agent's.
    async fn usage(&self, agent: AgentId) -> Result<Usage, ProcessError>;

    /// Lists the agents that have jobs on this machine that have not ended cleanly.
    async fn unfinished(&self) -> Result<Vec<AgentId>, ProcessError>;

    /// Removes what is recorded about the agent's ended jobs. Idempotent.
    async fn forget(&self, agent: AgentId) -> Result<(), ProcessError>;

    /// Lists the agents of this data directory that have control groups here.
    async fn grouped(&self) -> Result<Vec<AgentId>, ProcessError>;
}
