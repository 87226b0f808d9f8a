//! Confinement around an agent's tree: what is visible, which directories are private, how a command is wrapped.

use std::path::{Path, PathBuf};

use async_trait::async_trait;

use crate::domain::ids::AgentId;
use crate::domain::outcome::Failure;

/// The confinement of one agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Confinement {
    /// The agent's private home directory.
    pub home: PathBuf,
    /// The agent's private configuration directory for its runtime. It outlives a run, so that sessions resume.
    pub config: PathBuf,
    /// Environment built from empty: `PATH`, `HOME`, `TMPDIR`, `LANG` and the like.
    pub env: Vec<(String, String)>,
    /// Words put in front of every command line; empty without a sandbox.
    pub wrap: Vec<String>,
}

/// Makes and removes confinements.
#[async_trait]
pub trait Sandbox: Send + Sync {
    /// Returns the sandbox's name for people: `none`, `bubblewrap`, `docker`.
    fn name(&self) -> &'static str;

    /// Makes the confinement of an agent. Idempotent: private directories that exist are kept.
    async fn confine(&self, agent: AgentId) -> Result<Confinement, Failure>;

    /// Makes an empty directory that no agent has ever seen, to put together what [`Sandbox::place`] then moves. It goes
    /// away with the confinement.
    async fn staging(&self, agent: AgentId) -> Result<PathBuf, Failure>;

    /// Puts a directory into the agent's configuration directory, at this relative path and in the place of whatever
    /// is there. One from [`Sandbox::staging`] is moved; any other is copied, without its links. No link that the agent
    /// planted is followed.
    async fn place(&self, agent: AgentId, source: &Path, relative: &str) -> Result<(), Failure>;

    /// Gives it back, private directories included. Idempotent.
    async fn release(&self, agent: AgentId) -> Result<(), Failure>;
}
