//! Spreading: before this node takes an entry, it leaves it for a moment to nodes that have a smaller share of their slots in use
//! and could run it. Loads are those of the newest heartbeats; the moment is bounded, and so is the time that is spent in vain.

use std::time::Duration;

use crate::domain::agent::Agent;
use crate::domain::ids::AgentId;
use crate::domain::placement::Conditions;
use crate::domain::spreading::Load;
use crate::fleet::membership::{FleetMembership, Given};
use crate::limits;
use crate::ports::fleet::{NodeInfo, NodeState};

fn load(info: &NodeInfo) -> Load {
    Load { running: info.running, slots: info.slots }
}

impl FleetMembership {
    /// Tells whether the best entry is left to other nodes now. Each entry is left once at most, for a moment; then it is taken.
    pub(crate) async fn gives_way(&self, conditions: impl Fn() -> Conditions) -> bool {
        let now = self.clocks.elapsed();
        // Copied: how many agents run is behind another lock.
        let nodes = {
            let seen = self.seen();
            if let Some(given) = &seen.spreading.given {
                return given.until > now;
            }
            if seen.nodes.len() < 2 || !seen.spreading.unused.allow(now) {
                return false;
            }
            seen.nodes.clone()
        };
        let lighter = self.lighter(&nodes);
        if lighter.is_empty() {
            return false;
        }
        let Some(entry) = self.best_entry(conditions).await else { return false };
        let own = Load { running: self.drivers.count(), slots: self.slots };
        let able = lighter.iter().filter(|node| self.could_run_now(node, &entry));
        let moment = able.map(|node| own.gives_way_to(load(&node.info))).max().unwrap_or_default();
        if moment.is_zero() {
            return false;
        }
        let until = self.clocks.elapsed() + moment;
        self.seen().spreading.given = Some(Given { entry: entry.id, moment, until });
        true
    }

    /// Returns for how long the best entry is still left to other nodes.
    pub(crate) fn giving_way(&self) -> Duration {
        let until = self.seen().spreading.given.as_ref().map(|given| given.until);
        until.unwrap_or_default().saturating_sub(self.clocks.elapsed())
    }

    /// Takes note of what this node took after a moment that it gave to others. Where no other node took the entry, because this
    /// one got it or it waits still, the moment was in vain.
    pub(crate) async fn gave_way(&self, taken: Option<AgentId>) {
        let Some(given) = self.seen().spreading.given.take() else { return };
        let unused = taken == Some(given.entry) || self.still_waits(given.entry).await;
        if unused {
            let now = self.clocks.elapsed();
            self.seen().spreading.unused.add(given.moment, now);
        }
    }

    /// Ends a moment that is over and after which this node took nothing, since it may not take anything now. It was in vain.
    pub(crate) fn forget_moment_given(&self) {
        let now = self.clocks.elapsed();
        let spreading = &mut self.seen().spreading;
        if let Some(given) = spreading.given.take_if(|given| given.until <= now) {
            spreading.unused.add(given.moment, now);
        }
    }

    async fn still_waits(&self, agent: AgentId) -> bool {
        let record = tokio::select! {
            record = self.store.glance(agent) => record,
            () = self.clocks.sleep(limits::SPREAD_MOMENT) => return true,
        };
        record.is_ok_and(|record| record.node.is_none() && !record.agent.is_terminal())
    }

    /// Returns the nodes that have a smaller share of their slots in use and send heartbeats regularly.
    fn lighter(&self, nodes: &[NodeState]) -> Vec<NodeState> {
        let own = Load { running: self.drivers.count(), slots: self.slots };
        // Two heartbeats may be missing, and each may be as late as a look for orders.
        let silence = limits::NODE_HEARTBEAT
            .min(self.fleet.term().unwrap_or_default() / limits::HEARTBEATS_PER_LEASE)
            * 2
            + limits::ORDER_LOOK;
        let is_lighter = |node: &&NodeState| {
            node.info.node != self.node
                && self.clocks.now().since(node.seen_at) < silence
                && !own.gives_way_to(load(&node.info)).is_zero()
        };
        nodes.iter().filter(is_lighter).cloned().collect()
    }

    /// Returns the entry that this node would take now; none where the store does not say so in time.
    async fn best_entry(&self, conditions: impl Fn() -> Conditions) -> Option<Agent> {
        let now = self.clocks.now();
        let waiting = tokio::select! {
            waiting = self.store.waiting(0, limits::SPREAD_LOOK, now) => waiting.ok()?,
            () = self.clocks.sleep(limits::SPREAD_MOMENT) => return None,
        };
        let conditions = conditions();
        let ready = waiting.into_iter().map(|record| record.agent);
        ready.filter(|agent| agent.not_before().is_none_or(|at| at <= now)).find(|one| conditions.allow(one))
    }
}
