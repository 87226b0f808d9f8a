//! Agents that change nodes. What an agent's work has come to lies in the bare repository of the node that ran it, and
//! no other node can go on from it: an agent that moves begins its attempt anew, and its record says where the earlier
//! work is. An attempt that a node took with it is not the agent's fault, but no agent loses nodes indefinitely.

use super::super::agent::{Ending, QueueCause, State, Status};
use super::super::facts::{AgentNodeLost, Fact};
use super::super::ids::NodeId;
use super::super::outcome::EndReason;
use super::decision::{Decision, count};

impl Decision {
    /// A node of the fleet took it out of the queue.
    pub(super) fn placed(&mut self, node: NodeId) -> Option<State> {
        let State::Queued { .. } = &self.agent.state else { return None };
        let former = self.agent.node.replace(node.clone());
        if let Some(former) = former.filter(|former| *former != node) {
            self.leave_behind(&former);
        }
        Some(self.agent.state.clone())
    }

    /// The node that held it sent no heartbeat until its lease was over. What was decided stays decided; what it was in
    /// the middle of is done again elsewhere.
    pub(super) fn node_lost(&mut self, node: &NodeId) -> Option<State> {
        let state = self.agent.state.clone();
        match state {
            State::Settled { .. } => return None,
            // Leased, but nothing was done yet: writing the state as it is gives the lease back.
            State::Queued { .. } => return Some(state),
            _ => {}
        }
        self.leave_behind(node);
        self.agent.node = None;
        match state {
            State::Unwinding { ending: Ending::Requeue { cause } } => Some(State::Queued { cause }),
            State::Unwinding { ending: Ending::Settle { mut end } } => {
                end.at = self.now.at;
                Some(State::Settled { end })
            }
            _ => Some(self.again_elsewhere(node)),
        }
    }

    fn again_elsewhere(&mut self, node: &NodeId) -> State {
        self.agent.node_losses += 1;
        let (losses, retries) = (self.agent.node_losses, self.agent.spec.max_retries);
        let (node_lost, attempt) = (node.clone(), self.agent.attempt);
        self.note(Fact::AgentNodeLost(AgentNodeLost { node: node_lost, attempt, losses }));
        // One loss is nobody's fault, also when nothing is to be tried again.
        if losses <= retries.max(1) {
            return State::Queued { cause: QueueCause::Interrupted };
        }
        let text = format!(
            "node {node} was lost while the agent ran there, as {} before it; no other one is tried. Look at those \
             nodes, then retry it.",
            count(losses as usize - 1, "node")
        );
        match self.settle(Status::Failed, EndReason::NodeLost, Some(text)) {
            State::Unwinding { ending: Ending::Settle { end } } => State::Settled { end },
            other => other,
        }
    }

    /// Forgets what only the other node has. What the remote knows stays: the base, the tip, and what may have been
    /// pushed there.
    fn leave_behind(&mut self, node: &NodeId) {
        let agent = &mut self.agent;
        agent.leave_work(node, self.now.at);
        let work = std::mem::take(&mut agent.work);
        agent.work.base = work.base;
        agent.work.remote_tip = work.remote_tip;
        agent.work.offered = work.offered;
        agent.work.pushed = work.pushed;
        agent.work.publication = work.publication;
        agent.work.plan = work.plan;
        agent.fix_round = 0;
    }
}
