//! No sandbox: private directories and nothing around them. A job may read whatever the server's user may read; only
//! supervision and gates stand between it and the result.

use std::path::{Path, PathBuf};

use async_trait::async_trait;
use mosaic_core::domain::ids::AgentId;
use mosaic_core::ports::sandbox::{
    Capabilities, Command, Network, Policy, Probe, Purpose, Sandbox, SandboxError, SandboxHandle, Stopped,
};

use crate::private_dirs::PrivateDirs;

/// The sandbox's name.
const NAME: &str = "none";

/// Confines nothing but names.
#[derive(Debug)]
pub struct NoSandbox {
    dirs: PrivateDirs,
}

impl NoSandbox {
    /// Takes the private directories that agents get.
    pub fn new(dirs: PrivateDirs) -> Self {
        Self { dirs }
    }

    /// Returns the line for people that [`Sandbox::probe`] gives.
    pub fn summary() -> &'static str {
        "no sandbox: agents run as this user"
    }
}

/// Refuses a policy that nothing here could keep.
fn check(policy: &Policy) -> Result<(), SandboxError> {
    let refuse = |demand: String| Err(SandboxError::Unsupported { sandbox: NAME, demand });
    if let Some(limit) = policy.limits().first() {
        return refuse(format!("limit of {limit}"));
    }
    if policy.network != Network::Host {
        return refuse("network of its own".to_owned());
    }
    // A directory that is there already, at its own path and writable, is all that a plain process can be given.
    match policy.mounts.iter().find(|mount| !mount.writable || mount.source != mount.target) {
        Some(mount) => refuse(format!("mount of {} at {}", mount.source.display(), mount.target.display())),
        None => Ok(()),
    }
}

#[async_trait]
impl Sandbox for NoSandbox {
    fn name(&self) -> &'static str {
        NAME
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::default()
    }

    async fn probe(&self) -> Result<Probe, SandboxError> {
        Ok(Probe { summary: Self::summary().to_owned(), version: None })
    }

    async fn prepare(
        &self,
        agent: AgentId,
        purpose: Purpose,
        policy: &Policy,
    ) -> Result<SandboxHandle, SandboxError> {
        check(policy)?;
        self.dirs.prepare(agent, purpose)
    }

    fn command(&self, handle: &SandboxHandle, command: Command) -> Command {
        let env = handle.env.iter().cloned().chain(command.env).collect();
        Command { env, ..command }
    }

    async fn discard(&self, handle: &SandboxHandle) -> Result<(), SandboxError> {
        self.dirs.discard(handle)
    }

    async fn staging(&self, agent: AgentId) -> Result<PathBuf, SandboxError> {
        self.dirs.staging(agent)
    }

    async fn place(&self, agent: AgentId, source: &Path, relative: &str) -> Result<(), SandboxError> {
        self.dirs.place(agent, source, relative)
    }

    async fn stop(&self, _agent: AgentId) -> Result<Stopped, SandboxError> {
        // Whatever runs is a process of a job, and those are ended by their supervisors.
        Ok(Stopped::default())
    }

    async fn leftovers(&self) -> Result<Vec<AgentId>, SandboxError> {
        self.dirs.leftovers()
    }

    async fn release(&self, agent: AgentId) -> Result<(), SandboxError> {
        self.dirs.release(agent)
    }
}
