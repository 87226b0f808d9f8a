//! Settings of a node, as the core needs them.

use std::time::Duration;

use crate::domain::capacity::CapacityLimits;
use crate::domain::ids::{NodeId, Word};
use crate::domain::retention::Retention;

/// Settings of this node.
#[derive(Debug, Clone)]
pub struct Settings {
    /// This node's name.
    pub node: NodeId,
    /// Agents at once on this node, at least 1.
    pub slots: usize,
    /// Agents of one repository at once on this node; as many as there are slots when `None`.
    pub repository_slots: Option<usize>,
    /// Agents of one repository at once on all nodes of the fleet together; no bound when `None`.
    pub repository_fleet_slots: Option<usize>,
    /// First part of every branch name, normally `mosaic`.
    pub branch_prefix: String,
    /// The runtime used when a spawn names none.
    pub default_runtime: Word,
    /// A strict profile with undefined gates runs all the same.
    pub allow_incomplete_strict: bool,
    /// A skill that is not found fails the agent.
    pub require_skills: bool,
    /// The operator's folder of skills.
    pub skills_dir: Option<std::path::PathBuf>,
    /// Time between asking and forcing when something is stopped.
    pub kill_grace: Duration,
    /// Silence after which an agent is killed, whatever speaks for it; the stages before are parts of it.
    pub stall: Duration,
    /// Capacity that must stay free on this machine for new agents to start.
    pub capacity: CapacityLimits,
    /// Bounds of retention, and the disk space that must be free.
    pub retention: Retention,
}

impl Settings {
    /// Makes the settings of a node, with the defaults of all that are not named.
    pub fn of(node: NodeId, slots: usize, default_runtime: Word) -> Self {
        Self {
            node,
            slots,
            default_runtime,
            repository_slots: None,
            repository_fleet_slots: None,
            branch_prefix: "mosaic".to_owned(),
            allow_incomplete_strict: false,
            require_skills: false,
            skills_dir: None,
            kill_grace: crate::limits::KILL_GRACE,
            stall: crate::limits::STALL,
            capacity: CapacityLimits::default(),
            retention: Retention::default(),
        }
    }
}
