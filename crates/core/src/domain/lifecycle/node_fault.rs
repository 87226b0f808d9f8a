//! Failures that lie on the node: no attempt of the task's. It goes back to its place in the queue for another node; where
//! none is able now, it waits longer each time; where no other could, or that did not help, it ends with every node's reason.

use std::time::Duration;

use super::super::agent::{NodeFault, QueueCause, State};
use super::super::facts::{AgentMoved, Fact};
use super::super::ids::{NodeId, Stamp};
use super::super::outcome::{Failure, FailureKind, cut};
use super::decision::Decision;
use super::event::Elsewhere;
use crate::limits;

impl Decision {
    /// Requeues or ends an agent after a failure that lies on the node that ran it.
    pub(super) fn node_failed(
        &mut self,
        node: NodeId,
        failure: Failure,
        elsewhere: Elsewhere,
        in_setup: bool,
    ) -> State {
        // A task that fills the disk does so wherever it runs.
        let again = |fault: &NodeFault| fault.kind == FailureKind::Disk && fault.node != node;
        let own = failure.kind == FailureKind::Disk && self.agent.node_faults.iter().any(again);
        self.remember_fault(&node, &failure);
        let tries = self.agent.node_tries;
        if own || tries > limits::NODE_TRIES || elsewhere == Elsewhere::Nobody {
            return self.failed_on_nodes(failure, in_setup);
        }
        let until = (elsewhere == Elsewhere::Away).then(|| self.now.at.plus(pause(tries)));
        self.note(Fact::AgentMoved(AgentMoved {
            node: node.clone(),
            error: failure.message.clone(),
            tries,
            until: until.map(Stamp),
        }));
        let cause = match until {
            None => QueueCause::Interrupted,
            Some(until) => {
                let why =
                    format!("failed on node {node}, and no other node can run it now: {}", failure.message);
                let why = cut(why, limits::REASON_BYTES);
                let before = Box::new(QueueCause::Interrupted);
                QueueCause::Delayed { until, why, before, credential: None }
            }
        };
        Self::requeue(cause)
    }

    fn remember_fault(&mut self, node: &NodeId, failure: &Failure) {
        let agent = &mut self.agent;
        agent.node_tries = agent.node_tries.saturating_add(1);
        agent.node_faults.retain(|fault| fault.node != *node);
        if agent.node_faults.len() >= limits::NODE_FAULTS {
            agent.node_faults.remove(0);
        }
        let error = cut(failure.message.clone(), limits::REASON_BYTES);
        agent.node_faults.push(NodeFault { node: node.clone(), kind: failure.kind, error, at: self.now.at });
    }

    /// Fails as it would without other nodes, and names what those said.
    fn failed_on_nodes(&mut self, failure: Failure, in_setup: bool) -> State {
        let own = self.agent.node_faults.last().map(|fault| fault.node.clone());
        let others = self.agent.node_faults.iter().filter(|fault| Some(&fault.node) != own.as_ref());
        let others: Vec<String> =
            others.map(|fault| format!("on node {}: {}", fault.node, fault.error)).collect();
        let failure = if others.is_empty() {
            failure
        } else {
            failure.reworded(|text| format!("{text} (and {})", others.join("; ")))
        };
        self.failed(failure, in_setup)
    }
}

/// Returns how long to wait for another node after so many tries.
fn pause(tries: u32) -> Duration {
    let doublings = tries.saturating_sub(1).min(16);
    limits::NODE_RETRY.saturating_mul(1 << doublings).min(limits::NODE_RETRY_CAP)
}
