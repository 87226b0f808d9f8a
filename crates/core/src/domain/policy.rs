//! Policy of a sandbox: the demands that an agent's jobs make on it, as data. A sandbox keeps a policy or refuses it by name;
//! it never weakens one.

use std::path::PathBuf;

use super::spec::AgentType;

/// Purpose of a job in a sandbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// The agent's own program.
    Agent,
    /// Reading commits and files out of the agent's tree.
    Harvest,
    /// Commands that judge a commit. They see nothing that the agent could write to.
    Gate,
}

/// Network that a sandbox gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Network {
    /// The machine's own.
    #[default]
    Host,
    /// None, not even the machine's loopback.
    None,
}

/// Directory that is visible inside a sandbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// The directory on this machine.
    pub source: PathBuf,
    /// Its path inside.
    pub target: PathBuf,
    /// True when jobs may write there.
    pub writable: bool,
}

impl Mount {
    /// Mounts a directory at its own path, writable.
    pub fn writable(path: impl Into<PathBuf>) -> Self {
        let source = path.into();
        Self { target: source.clone(), source, writable: true }
    }
}

/// Demands on a sandbox. `None` leaves a limit to the machine.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Policy {
    /// Directories that must be visible, besides the private ones that the sandbox makes itself.
    pub mounts: Vec<Mount>,
    /// Most memory of all jobs together, in bytes.
    pub memory_bytes: Option<u64>,
    /// Most processor time, in thousandths of one core.
    pub cpu_millis: Option<u32>,
    /// Most processes at a time.
    pub processes: Option<u32>,
    /// The network.
    pub network: Network,
}

impl Policy {
    /// Returns the default policy of an agent type's jobs: the same for every type as long as every sandbox must keep it.
    pub fn of(agent_type: AgentType) -> Self {
        match agent_type {
            AgentType::Worker | AgentType::Reviewer | AgentType::Tester => Self::default(),
        }
    }

    /// Returns the default policy of harvests, which run nothing of an agent's and so do not depend on its type.
    pub fn of_harvests() -> Self {
        Self::default()
    }

    /// Returns the default policy of gates.
    pub fn of_gates() -> Self {
        Self::default()
    }

    /// Adds a directory.
    #[must_use]
    pub fn with(mut self, mount: Mount) -> Self {
        self.mounts.push(mount);
        self
    }

    /// Names the limits that this policy sets, in words for people.
    pub fn limits(&self) -> Vec<&'static str> {
        let set = [
            (self.memory_bytes.is_some(), "memory"),
            (self.cpu_millis.is_some(), "processor time"),
            (self.processes.is_some(), "processes"),
        ];
        set.into_iter().filter_map(|(is, name)| is.then_some(name)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_policy_of_every_agent_type_demands_nothing_that_a_machine_without_sandbox_lacks() {
        for agent_type in AgentType::ALL {
            let policy = Policy::of(agent_type);
            assert!(policy.limits().is_empty() && policy.network == Network::Host);
        }
        let strict = Policy { memory_bytes: Some(1), processes: Some(1), ..Policy::of_gates() };
        assert_eq!(strict.limits(), ["memory", "processes"]);
    }
}
