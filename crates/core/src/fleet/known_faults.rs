//! Memory of a node about its own faults, and whether other nodes have them too.

use std::collections::VecDeque;
use std::time::Duration;

use crate::domain::blame::Part;
use crate::domain::ids::{AgentId, NodeId};
use crate::limits;
use crate::ports::fleet::{NodeState, RuntimeHealth};

/// Knowledge of a node about its own health.
#[derive(Default)]
pub(super) struct Health {
    pub(super) runtimes: Vec<RuntimeHealth>,
    pub(super) probed: Option<Duration>,
    /// Tasks that failed here for reasons of this node, whose fate elsewhere is not known yet.
    pub(super) moved: VecDeque<Moved>,
    /// Number of such tasks that got past the failed part on another node, since something last worked here.
    pub(super) confirmed: u32,
    /// Newest failure for a reason of this node: the part that failed and the reason.
    pub(super) newest: Option<(Part, String)>,
    /// Number of failures for a reason of this node, since something last worked here.
    pub(super) faults: u32,
    /// When the next fault after this one may be taken the risk of.
    pub(super) taking_again: Duration,
    /// Agents that crashed here one after the other, and the newest one's words.
    pub(super) crashes: u32,
    pub(super) crash: String,
    /// Number of agents that other nodes had completed when these crashes began.
    pub(super) completed_before: u64,
    /// Agents whose program came to its end well since this server started.
    pub(super) completed: u64,
    pub(super) own: Option<OwnCordon>,
    /// Number of times that the node took itself out of service without anything working in between.
    pub(super) rounds: u32,
    /// A person said that it takes work although this ails it; until it does not any more.
    pub(super) overruled: Option<Ailment>,
}

pub(super) struct Moved {
    pub(super) agent: AgentId,
    pub(super) part: Part,
    pub(super) runs: u32,
}

/// Why a node takes itself out of service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ailment {
    Disk,
    Runtimes,
    Faults,
}

pub(super) struct OwnCordon {
    pub(super) ailment: Ailment,
    /// When tasks are risked again, when nothing else tells that the cause is gone.
    pub(super) trial: Duration,
}

impl Health {
    /// Says that agents crash here one after the other while other nodes complete theirs, when that is so.
    pub(super) fn crash_message(&self, nodes: &[NodeState], own: &NodeId) -> Option<String> {
        let done = completed_elsewhere(nodes, own).saturating_sub(self.completed_before);
        let crashes = self.crashes;
        (crashes >= limits::NODE_CRASHES && done >= u64::from(crashes)).then(|| {
            format!(
                "the last {crashes} agents crashed here, while other nodes completed {done}: {}",
                self.crash
            )
        })
    }

    pub(super) fn remember(&mut self, moved: Moved) {
        if self.moved.len() >= limits::NODE_MOVED {
            self.moved.pop_front();
        }
        self.moved.push_back(moved);
    }

    /// Returns why a runtime cannot be used, when that was found.
    pub(super) fn missing(&self, runtime: &str) -> Option<&str> {
        let known = self.runtimes.iter().find(|one| one.name == runtime);
        known.and_then(|one| one.error.as_deref())
    }
}

pub(super) fn completed_elsewhere(nodes: &[NodeState], own: &NodeId) -> u64 {
    let others = nodes.iter().filter(|node| node.info.node != *own);
    others.map(|node| node.info.health.completed).sum()
}
