//! Names of the refs that a bare repository keeps for agents.

use mosaic_core::domain::ids::AgentId;

/// Where the refs of agents lie, each followed by the agent's id.
pub(super) const PLACES: [&str; 2] = ["refs/agents", "refs/mosaic/salvage"];

/// The ref that holds the newest snapshot of a tree whose agent works.
pub(super) fn live(agent: AgentId) -> String {
    format!("refs/mosaic/live/{agent}")
}

/// The ref that holds an agent's salvaged tree.
pub(super) fn salvage(agent: AgentId) -> String {
    format!("refs/mosaic/salvage/{agent}")
}

/// Where an agent's former salvages lie.
pub(super) fn former_salvages(agent: AgentId) -> String {
    format!("refs/agents/{agent}/salvaged")
}

/// Returns where the replaced tips of an agent's branch lie.
pub(super) fn replaced_tips(agent: AgentId) -> String {
    format!("refs/agents/{agent}/replaced")
}
