//! A sandbox that confines nothing and leads nowhere.

use std::path::{Path, PathBuf};

use async_trait::async_trait;
use mosaic_core::domain::ids::AgentId;
use mosaic_core::ports::sandbox::{
    Capabilities, Command, Network, Policy, Probe, Purpose, Sandbox, SandboxError, SandboxHandle, Stopped,
};

use super::knobs::Broken;
use super::world::Part;

/// Returns the handle of an agent's place with these directories, which look the same from inside.
pub fn handle(home: impl Into<PathBuf>, config: impl Into<PathBuf>) -> SandboxHandle {
    let (home, config) = (home.into(), config.into());
    SandboxHandle {
        agent: AgentId(uuid::Uuid::nil()),
        purpose: Purpose::Agent,
        own: home.clone(),
        tmp: home.join("tmp"),
        home,
        config_inside: config.clone(),
        config,
        env: Vec::new(),
    }
}

#[async_trait]
impl Sandbox for Part {
    fn name(&self) -> &'static str {
        "fake"
    }
    fn capabilities(&self) -> Capabilities {
        Capabilities::default()
    }
    async fn probe(&self) -> Result<Probe, SandboxError> {
        Ok(Probe { summary: "a fake".to_owned(), version: None })
    }
    async fn prepare(
        &self,
        agent: AgentId,
        purpose: Purpose,
        policy: &Policy,
    ) -> Result<SandboxHandle, SandboxError> {
        let moved = policy.mounts.iter().any(|mount| mount.source != mount.target);
        if moved || !policy.limits().is_empty() || policy.network != Network::Host {
            return Err(SandboxError::Unsupported { sandbox: "fake", demand: "limits".to_owned() });
        }
        let broken = self.0.knobs.works(self.1.as_str(), Broken::Sandbox);
        broken.map_err(|failure| SandboxError::Unavailable { sandbox: "fake", why: failure.message })?;
        self.0.places.lock().insert(self.place(agent));
        let mut own = PathBuf::from("/nonexistent").join(agent.to_string());
        if purpose != Purpose::Agent {
            own.push(format!("new-{}", uuid::Uuid::new_v4()));
        }
        Ok(SandboxHandle { agent, purpose, ..handle(own.join("home"), own.join("config")) })
    }
    fn command(&self, handle: &SandboxHandle, command: Command) -> Command {
        let env = handle.env.iter().cloned().chain(command.env).collect();
        Command { env, ..command }
    }
    async fn discard(&self, _: &SandboxHandle) -> Result<(), SandboxError> {
        Ok(())
    }
    async fn staging(&self, _: AgentId) -> Result<PathBuf, SandboxError> {
        Ok(PathBuf::from("/nonexistent"))
    }
    async fn place(&self, _: AgentId, _: &Path, _: &str) -> Result<(), SandboxError> {
        Ok(())
    }
    async fn stop(&self, _: AgentId) -> Result<Stopped, SandboxError> {
        let broken = self.0.knobs.works(self.1.as_str(), Broken::SandboxStop);
        let gone = broken.map(|()| Stopped::default());
        gone.map_err(|failure| SandboxError::Unavailable { sandbox: "fake", why: failure.message })
    }
    async fn leftovers(&self) -> Result<Vec<AgentId>, SandboxError> {
        let places = self.0.places.lock();
        Ok(places.iter().filter(|(node, _)| *node == self.1).map(|(_, agent)| *agent).collect())
    }
    async fn release(&self, agent: AgentId) -> Result<(), SandboxError> {
        self.0.places.lock().remove(&self.place(agent));
        Ok(())
    }
}
