//! Sandboxes: a place for the jobs of one agent, made for a purpose under a policy. The conformance suite is
//! `mosaic_testkit::sandbox_suite`.

use std::io;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use thiserror::Error;

use crate::domain::ids::AgentId;
use crate::domain::outcome::{Failure, FailureKind};
pub use crate::domain::policy::{Mount, Network, Policy, Purpose};

/// Abilities of a sandbox. A [`Policy`] that needs another one is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Capabilities {
    /// It can bound memory, processor time and processes.
    pub limits: bool,
    /// It can give a network of its own, or none.
    pub own_network: bool,
    /// It can mount a directory at another path or read-only.
    pub mounts: bool,
    /// It can prove that nothing of an agent runs any more, without help of the processes' supervisor.
    pub proof_of_emptiness: bool,
}

/// Availability of a sandbox on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// One line for people on what stands between an agent and this machine, such as `no sandbox: agents run as this user`.
    pub summary: String,
    /// The version of its program, when it has one.
    pub version: Option<String>,
}

/// A place that is ready for jobs of one purpose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SandboxHandle {
    /// The agent.
    pub agent: AgentId,
    /// The purpose it was prepared for.
    pub purpose: Purpose,
    /// Private directory of this preparation on this machine, for the server's own files about it.
    pub own: PathBuf,
    /// Home directory of the jobs.
    pub home: PathBuf,
    /// Directory of the jobs for temporary files.
    pub tmp: PathBuf,
    /// Configuration directory for the agent's runtime, as this server reaches it. The agent's own outlives a run, so that
    /// sessions resume.
    pub config: PathBuf,
    /// The same directory, as the jobs see it.
    pub config_inside: PathBuf,
    /// Environment built from empty: `PATH`, `HOME`, `TMPDIR`, `LANG` and the like.
    pub env: Vec<(String, String)>,
}

/// Command of a job. Its paths are those that its programs see.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Command {
    /// Program and arguments.
    pub argv: Vec<String>,
    /// Environment; of two values for a name the later one counts.
    pub env: Vec<(String, String)>,
    /// Working directory.
    pub cwd: PathBuf,
}

/// Result of a stop.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Stopped {
    /// Name of the container that could not be ended. `None` when there is none, which is what a stop promises.
    pub container: Option<String>,
}

/// Reason why a sandbox could not do something.
#[derive(Debug, Error)]
pub enum SandboxError {
    /// It cannot be used on this machine.
    #[error("the sandbox \"{sandbox}\" cannot be used here: {why}")]
    Unavailable {
        /// The sandbox's name.
        sandbox: &'static str,
        /// The reason, with what to do about it.
        why: String,
    },
    /// It cannot keep a policy.
    #[error(
        "the sandbox \"{sandbox}\" cannot keep the policy: it has no {demand}; choose another sandbox or policy"
    )]
    Unsupported {
        /// The sandbox's name.
        sandbox: &'static str,
        /// Demand that it cannot meet.
        demand: String,
    },
    /// A file or directory of the agent could not be made, moved or removed.
    #[error("cannot {action} the agent's directory {}: {source}", directory.display())]
    Directory {
        /// The action, such as `make`.
        action: String,
        /// The directory.
        directory: PathBuf,
        /// The operating system's answer.
        source: io::Error,
    },
    /// The state directory does not answer.
    #[error("the state directory does not answer: {0}")]
    NoAnswer(#[source] io::Error),
}

impl SandboxError {
    /// Returns the kind of failure that it is for the agent.
    pub fn kind(&self) -> FailureKind {
        match self {
            Self::Directory { source, .. }
                if matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) =>
            {
                FailureKind::Disk
            }
            Self::Unavailable { .. } | Self::Directory { .. } | Self::NoAnswer(_) => FailureKind::Internal,
            Self::Unsupported { .. } => FailureKind::BadInput,
        }
    }
}

impl From<SandboxError> for Failure {
    fn from(error: SandboxError) -> Self {
        Self::new(error.kind(), error.to_string())
    }
}

/// Prepares places for an agent's jobs and releases them.
#[async_trait]
pub trait Sandbox: Send + Sync {
    /// Returns the sandbox's name: `none`, `bubblewrap`, `docker`.
    fn name(&self) -> &'static str;

    /// Returns its abilities.
    fn capabilities(&self) -> Capabilities;

    /// Looks whether it can be used here; errors with what to do about it. Asked by `doctor` and at the start; takes at
    /// most a few seconds.
    async fn probe(&self) -> Result<Probe, SandboxError>;

    /// Makes a place for jobs of this purpose. For the agent it is the same place every time, and what is in it is
    /// kept; for harvests and gates each place is new, and no agent ever saw it. Errors with `Unsupported` for a policy that it
    /// cannot keep, before anything is made.
    async fn prepare(
        &self,
        agent: AgentId,
        purpose: Purpose,
        policy: &Policy,
    ) -> Result<SandboxHandle, SandboxError>;

    /// Turns a command into the one that runs it in a prepared place: the environment is the place's, then the command's.
    fn command(&self, handle: &SandboxHandle, command: Command) -> Command;

    /// Releases one place before its agent is released: that of a gate or a harvest. The agent's own stays. Idempotent.
    async fn discard(&self, handle: &SandboxHandle) -> Result<(), SandboxError>;

    /// Makes an empty directory that no agent has ever seen, to put together what [`Sandbox::place`] then moves. It is
    /// removed with the agent's place.
    async fn staging(&self, agent: AgentId) -> Result<PathBuf, SandboxError>;

    /// Puts a directory into the agent's configuration directory, at this relative path and in the place of whatever
    /// is there. One from [`Sandbox::staging`] is moved; any other is copied, without its links. No link that the agent
    /// planted is followed.
    async fn place(&self, agent: AgentId, source: &Path, relative: &str) -> Result<(), SandboxError>;

    /// Ends what outlives the processes that started it: a container outlives its client. Called after
    /// [`Processes::stop`](super::processes::Processes::stop) of the same agent. Idempotent.
    async fn stop(&self, agent: AgentId) -> Result<Stopped, SandboxError>;

    /// Lists the agents of which it has anything: containers, private directories.
    async fn leftovers(&self) -> Result<Vec<AgentId>, SandboxError>;

    /// Releases every place of the agent, private directories included. Idempotent.
    async fn release(&self, agent: AgentId) -> Result<(), SandboxError>;
}
