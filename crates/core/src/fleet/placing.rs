//! Placing: what this node leaves to others, and whether another node could run what failed here.

use crate::domain::agent::{Agent, State};
use crate::domain::blame::{Blame, Part, blame};
use crate::domain::lifecycle::{Elsewhere, Event};
use crate::domain::outcome::{Failure, FailureKind, Outcome};
use crate::domain::placement::missing_labels;
use crate::fleet::membership::FleetMembership;
use crate::limits;
use crate::monitor::breakers::concerns;
use crate::ports::fleet::NodeState;

/// Ability of another node to run an agent.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Chance {
    Never,
    Later,
    Now,
}

impl FleetMembership {
    /// Weighs what failed: where it lies on this node of a fleet, the event says so, and whether another node could do it.
    pub(crate) async fn weigh(&self, agent: &Agent, event: Event) -> Event {
        if !self.is_fleet() {
            return event;
        }
        let Some(failure) = failure_of(&event) else { return event };
        let part = match blame(agent, failure, self.default_runtime.as_str()) {
            Blame::Node(part) => part,
            // Every node meets the same network and the same service: the attempt counts, and its backoff is
            // the answer.
            Blame::Surroundings(_) => return event,
            Blame::Task => {
                if matches!(failure.kind, FailureKind::Crash | FailureKind::NoResult) {
                    self.note_crash(agent, failure);
                }
                return event;
            }
        };
        let elsewhere = self.others_for(agent, &part).await;
        let (failure, warnings) = match event {
            Event::Failed(failure) => (failure, Vec::new()),
            Event::TurnEnded { outcome: Outcome::Failed(failure), warnings, .. } => (failure, warnings),
            event => return event,
        };
        self.avoid(agent.id, failure.message.clone(), self.clocks.elapsed() + limits::NODE_AVOIDS);
        self.note_fault(agent, &part, &failure, elsewhere);
        Event::NodeFailed { node: self.node.clone(), part, failure, warnings, elsewhere }
    }

    /// Says whether another node could run an agent for which a part of this node's work failed.
    async fn others_for(&self, agent: &Agent, part: &Part) -> Elsewhere {
        let listed = tokio::select! {
            nodes = self.fleet.nodes() => nodes.ok(),
            () = self.clocks.sleep(limits::ORDER_LOOK) => None,
        };
        let nodes = listed.unwrap_or_else(|| self.known_nodes());
        let others = nodes.iter().filter(|node| node.info.node != self.node);
        match others.map(|node| self.chance(node, agent, part)).max() {
            Some(Chance::Now) => Elsewhere::Able,
            Some(Chance::Later) => Elsewhere::Away,
            Some(Chance::Never) | None => Elsewhere::Nobody,
        }
    }

    fn chance(&self, node: &NodeState, agent: &Agent, part: &Part) -> Chance {
        let info = &node.info;
        let failed_there = agent.node_faults.iter().any(|fault| fault.node == info.node);
        let runtime = agent.spec.runtime.as_ref().map_or(self.default_runtime.as_str(), |name| name.as_str());
        if failed_there
            || info.health.lacks(runtime)
            || missing_labels(&agent.spec, &info.labels).next().is_some()
            || !self.counts_on(node)
        {
            return Chance::Never;
        }
        let refuses = info.health.breakers.iter().any(|open| open.part == *part);
        if node.alive && !info.draining && node.cordon.is_none() && !refuses {
            Chance::Now
        } else {
            Chance::Later
        }
    }

    /// Tells whether another node could run a waiting agent at once, as far as its newest heartbeat says: nothing is known that
    /// keeps it from that.
    pub(super) fn could_run_now(&self, node: &NodeState, agent: &Agent) -> bool {
        let health = &node.info.health;
        let refuses =
            health.breakers.iter().any(|open| concerns(&open.part, agent, self.default_runtime.as_str()));
        health.held.is_none() && !refuses && self.chance(node, agent, &Part::Machine) == Chance::Now
    }

    /// Tells whether a node is there, or was a moment ago and has not said that it ends.
    pub(crate) fn counts_on(&self, node: &NodeState) -> bool {
        let silent = self.clocks.now().since(node.seen_at);
        node.alive || (!node.info.draining && silent < limits::NODE_ABSENCE)
    }

    /// Says which labels a waiting agent asks for and this node has not, and whether another one has them.
    pub(crate) fn without_labels(&self, agent: &Agent, missing: &str) -> String {
        let nodes = self.known_nodes();
        let has = |node: &&NodeState| missing_labels(&agent.spec, &node.info.labels).next().is_none();
        let able: Vec<&str> =
            nodes.iter().filter(|node| node.alive).filter(has).map(|node| node.info.node.as_str()).collect();
        if able.is_empty() {
            return format!("no node that is alive has the labels that it asks for: {missing}");
        }
        format!("waits for a slot of a node with the labels that it asks for: {}", able.join(", "))
    }
}

fn failure_of(event: &Event) -> Option<&Failure> {
    match event {
        Event::Failed(failure) | Event::TurnEnded { outcome: Outcome::Failed(failure), .. } => Some(failure),
        _ => None,
    }
}

/// Tells whether an agent got further than the part of its life that is about this part of a node's work.
pub(super) fn is_past(part: &Part, agent: &Agent, runs: u32) -> bool {
    use crate::domain::agent::Status;
    if agent.status() == Status::Completed {
        return true;
    }
    let worked =
        matches!(agent.state, State::Committing { .. } | State::Gating { .. } | State::Publishing { .. });
    match part {
        // A push that worked ends its task as completed, which was looked at above. Nothing before that says
        // anything about a push.
        Part::Push { .. } => false,
        Part::Run { .. } => worked,
        Part::Fetch { .. } | Part::Machine => {
            // A run gets its number once it is confined. A higher one that works was therefore fetched and confined.
            worked || (agent.runs > runs && matches!(agent.state, State::Working))
        }
    }
}
