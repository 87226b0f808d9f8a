//! This node among the nodes of its fleet. It says that it is alive and holds what it holds on to with heartbeats, and it
//! knows by its own clock until when that counts: earlier than the store, by a margin in which what runs here can be
//! frozen and killed before anybody else may start it. The supervisors are told the same moment, so that it comes true
//! without this process, too. Where leases never end there is one node, and nothing of this holds anything up.

pub mod health;
mod held_leases;
mod known_faults;
pub mod membership;
mod placing;
mod spreading;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::watch;

use crate::domain::facts::{
    Fact, NodeCordoned, NodeDrained, NodeJoined, NodeLost, NodeRemoved, NodeUncordoned,
};
use crate::domain::ids::{AgentId, NodeId, Stamp};
use crate::domain::journal::LogRecord;
use crate::driver::AgentHandle;
use crate::fleet::membership::{About, FleetMembership};
use crate::limits;
use crate::ports::fleet::{
    Cordon, FORMAT, HeartbeatReply, JoinError, LostNode, NodeInfo, NodeRemoval, NodeState,
};
use crate::ports::store::{Lease, StoreError};
use crate::stop::Stop;

/// Returns how much earlier than the store this node takes a lease for over.
pub fn lease_margin(term: Duration) -> Duration {
    (term / limits::LEASE_MARGIN_PART).min(limits::LEASE_MARGIN)
}

/// Returns what must be left of a lease for a push to start.
pub fn push_lease(term: Duration) -> Duration {
    (term / 2).min(limits::PUSH_LEASE)
}

/// Joins, unless that was done already; waits while the store does not answer or the name is taken, until told to stop.
pub(crate) async fn joined(membership: &FleetMembership, stop: &mut watch::Receiver<Stop>) {
    while *stop.borrow() == Stop::No && !*membership.joined.borrow() {
        let Err(e) = membership.join().await else { return };
        tracing::warn!(error = %e, "this node is not one of the fleet yet; nothing is taken until it is");
        tokio::select! {
            () = membership.clocks.sleep(limits::ORDER_LOOK) => {}
            changed = stop.changed() => if changed.is_err() { return },
        }
    }
}

/// Says again and again that this node is alive.
pub(crate) async fn heartbeat_loop(membership: &FleetMembership) {
    // Errors never: the sender lives as long as the orchestrator.
    let _ = membership.joined.subscribe().wait_for(|joined| *joined).await;
    let period = membership.fleet.term().map_or(limits::NODE_HEARTBEAT, |term| {
        (term / limits::HEARTBEATS_PER_LEASE).min(limits::NODE_HEARTBEAT)
    });
    loop {
        let begun = membership.clocks.elapsed();
        let heard = membership.heartbeat(period).await;
        if membership.is_fleet() {
            membership.look_at_nodes(period).await;
        }
        let pause = if heard { period } else { period.min(limits::ORDER_LOOK) };
        let mut changes = membership.external_queue.changes();
        changes.mark_unchanged();
        tokio::select! {
            () = membership.clocks.sleep(pause.saturating_sub(membership.clocks.elapsed().saturating_sub(begun))) => {}
            // Somebody may have cordoned this node. Whatever else stirs costs a heartbeat now and then.
            Ok(()) = changes.changed() => membership.clocks.sleep(period.min(limits::CHANGE_HEARTBEAT)).await,
        }
    }
}

impl FleetMembership {
    /// Tells whether leases end here, because other nodes could take what this one holds.
    pub(crate) fn is_fleet(&self) -> bool {
        self.clocks.is_shared()
    }

    /// Says what others are told of this node. Only the first call counts; without one it has no address.
    pub(crate) fn introduce(&self, about: About) {
        self.about.get_or_init(|| about);
    }

    /// Makes this node one of the fleet, before it takes anything.
    pub(crate) async fn join(&self) -> Result<(), JoinError> {
        // The store's time is learnt first: the fact that is logged below must not carry the time of a clock
        // that may be wrong.
        self.clocks.measure().await?;
        self.fleet.join(&self.info()).await?;
        self.joined.send_replace(true);
        if self.is_fleet() {
            let (node, slots) = (self.node.clone(), self.slots);
            self.log_node(Fact::NodeJoined(NodeJoined { node, slots })).await;
        }
        Ok(())
    }

    /// Returns the nodes as they were at the last heartbeat; nothing where there is only this one.
    pub(crate) fn known_nodes(&self) -> Vec<NodeState> {
        self.seen().nodes.clone()
    }

    /// Returns the labels of this node.
    pub(crate) fn labels(&self) -> BTreeMap<String, String> {
        self.about.get().map(|about| about.labels.clone()).unwrap_or_default()
    }

    /// Returns how many nodes there are, and how many of them are alive.
    pub(crate) fn node_counts(&self) -> (usize, usize) {
        let nodes = self.known_nodes();
        let alive = nodes.iter().filter(|node| node.alive).count();
        if nodes.is_empty() { (1, 1) } else { (nodes.len(), alive) }
    }

    /// Says whether this node is one of the fleet, and how many there are.
    pub(crate) fn summary(&self) -> Result<String, String> {
        if !*self.joined.borrow() {
            return Err("this node has not joined the fleet yet: nothing is taken until it has".to_owned());
        }
        let (known, alive) = self.node_counts();
        let cordoned = self.cordoned().map(|cordon| {
            let reason = cordon.reason.unwrap_or_else(|| "no reason given".to_owned());
            format!(
                "; this one takes nothing new, by {} since {}: {reason}",
                cordon.by,
                cordon.at.to_rfc3339()
            )
        });
        let cordoned = cordoned.unwrap_or_default();
        let ailing = self.ailing_message().map(|words| format!("; {words}")).unwrap_or_default();
        match known {
            1 => Ok(format!("1 node{cordoned}{ailing}")),
            _ => Ok(format!("{known} nodes, {alive} alive{cordoned}{ailing}")),
        }
    }

    /// Returns why this node takes nothing new, when somebody said so.
    pub(crate) fn cordoned(&self) -> Option<Cordon> {
        self.seen().cordon.clone()
    }

    /// Says that a node takes nothing new (`Some`) or takes work again; false when there is no such node. Idempotent.
    pub(crate) async fn cordon(&self, node: &NodeId, cordon: Option<Cordon>) -> Result<bool, StoreError> {
        let name = node.clone();
        let fact = match &cordon {
            Some(Cordon { by, reason, drain, .. }) => Fact::NodeCordoned(NodeCordoned {
                node: name,
                by: by.clone(),
                reason: reason.clone(),
                drain: *drain,
            }),
            None => Fact::NodeUncordoned(NodeUncordoned { node: name }),
        };
        let fact = LogRecord::new(&fact, self.clocks.now());
        let known = self.fleet.cordon(node, cordon.clone(), fact).await?;
        if known && *node == self.node {
            // The node forgets its own cordon before it lifts it through this call. One that is still
            // remembered here is lifted by a person, against what the node found.
            if cordon.is_none() {
                self.overruled();
            }
            self.obey(cordon);
        }
        Ok(known)
    }

    /// Takes a node that is gone off the list; with `lost` everything that only it had is given up as well.
    pub(crate) async fn remove_node(
        &self,
        node: &NodeId,
        lost: Option<&LostNode>,
        by: &str,
    ) -> Result<NodeRemoval, StoreError> {
        let removed = Fact::NodeRemoved(NodeRemoved {
            node: node.clone(),
            by: by.to_owned(),
            reason: lost.and_then(|lost| lost.reason.clone()),
            lost: lost.is_some(),
        });
        let fact = LogRecord::new(&removed, self.clocks.now());
        let done = self.fleet.remove_node(node, lost, fact).await?;
        if done == NodeRemoval::Done && lost.is_some() {
            self.seen().lost.insert(node.clone());
        }
        Ok(done)
    }

    /// Tells whether a node was declared lost for good, as of the last heartbeat.
    pub(crate) fn is_known_lost(&self, node: &NodeId) -> bool {
        self.seen().lost.contains(node)
    }

    /// Returns the nodes that were declared lost for good, as of the last heartbeat.
    pub(crate) fn lost_nodes(&self) -> BTreeSet<NodeId> {
        self.seen().lost.clone()
    }

    /// Tells whether what is left of the agent lies on another node, so that nothing here says anything about it.
    pub(crate) fn is_elsewhere(&self, node: Option<&NodeId>) -> bool {
        self.is_fleet() && node != Some(&self.node)
    }

    /// Returns until when a lease holds that was asked for at this moment; indefinitely where leases never end.
    pub(crate) fn holds_until(&self, asked: Duration) -> Option<Duration> {
        self.fleet.term().map(|term| asked + term - lease_margin(term))
    }

    /// Tells an agent's supervisors until when it may run. One that cannot be reached keeps to what it was told before.
    pub(crate) async fn tell_supervisors(&self, agent: AgentId, until: Option<Duration>) {
        if let Err(e) = self.processes.extend(agent, until).await {
            tracing::debug!(agent.id = %agent, error = %e, "a supervisor was not told that its lease goes on");
        }
    }

    /// Lets every supervisor go on as long as can be, before this server leaves them to the next one.
    pub(crate) async fn final_heartbeat(&self) {
        if self.is_fleet() && *self.joined.borrow() {
            self.heartbeat(limits::NODE_HEARTBEAT).await;
        }
    }

    /// Says that this server ends.
    pub(crate) async fn leave_fleet(&self, drained: bool) {
        if !*self.joined.borrow() {
            return;
        }
        if drained && self.is_fleet() {
            self.log_node(Fact::NodeDrained(NodeDrained { node: self.node.clone() })).await;
        }
        let left = self.clocks.timely(self.fleet.leave(&self.node)).await;
        if let Ok(Err(e)) = left {
            tracing::warn!(error = %e, "the fleet could not be told that this node ends; it will be missed");
        }
    }

    fn info(&self) -> NodeInfo {
        let about = self.about.get().cloned().unwrap_or_default();
        let instance = Some(about.instance).filter(|instance| !instance.is_empty());
        NodeInfo {
            node: self.node.clone(),
            instance: instance.unwrap_or_else(|| self.node.to_string()),
            directory: about.directory,
            boot: about.boot,
            url: about.url,
            version: about.version,
            slots: self.slots,
            running: self.drivers.count(),
            labels: about.labels,
            clock_offset_ms: self.clocks.offset().map(|offset| offset.offset_ms),
            clock_error_ms: self.clocks.offset().map(|offset| offset.error_ms),
            archives: true,
            format: FORMAT,
            started_at: *self.started.get_or_init(|| self.clocks.now()),
            draining: self.shutdown.is_draining(),
            health: self.health(),
        }
    }

    /// Extends every lease that a driver has; returns whether the store answered in time.
    async fn heartbeat(&self, patience: Duration) -> bool {
        let drivers: Vec<(Lease, Arc<AgentHandle>)> = self
            .drivers
            .lock()
            .values()
            .filter_map(|driver| Some((driver.lease.clone()?, Arc::clone(driver))))
            .collect();
        let leases: Vec<Lease> = drivers.iter().map(|(lease, _)| lease.clone()).collect();
        // Before it is sent: the store's time begins later.
        let asked = self.clocks.elapsed();
        let info = self.info();
        let both = async {
            // Asked first, and shown with the next heartbeat.
            let (measured, answer) =
                tokio::join!(self.clocks.measure(), self.fleet.heartbeat(&info, &leases));
            if let Err(e) = measured {
                tracing::debug!(error = %e, "the store's time could not be had");
            }
            answer
        };
        let answer = tokio::select! {
            answer = both => answer,
            () = self.clocks.sleep(patience.max(limits::ORDER_LOOK)) => {
                Err(StoreError::Unavailable("no answer to a heartbeat".to_owned()))
            }
        };
        match answer {
            Ok(reply) => {
                if std::mem::take(&mut self.seen().failing) {
                    tracing::info!("heartbeats are answered again");
                }
                self.apply_reply(reply, &drivers, asked, patience).await;
                true
            }
            Err(e) => {
                if !std::mem::replace(&mut self.seen().failing, true) {
                    tracing::warn!(error = %e, "a heartbeat was not answered; agents run on until their leases end");
                }
                false
            }
        }
    }

    async fn apply_reply(
        &self,
        reply: HeartbeatReply,
        drivers: &[(Lease, Arc<AgentHandle>)],
        asked: Duration,
        patience: Duration,
    ) {
        self.obey(reply.cordon);
        let until = self.holds_until(asked);
        if until.is_none() {
            return;
        }
        let (lost, held): (Vec<_>, Vec<_>) =
            drivers.iter().partition(|(lease, _)| reply.lost.contains(&lease.agent));
        for (lease, driver) in lost {
            tracing::warn!(agent.id = %lease.agent, "the lease was given to somebody else; ending what runs here");
            driver.lost.send_replace(true);
        }
        for (_, driver) in &held {
            driver.held.send_replace(until);
        }
        let told = join_all(held.iter().map(|(lease, _)| self.tell_supervisors(lease.agent, until)));
        tokio::select! {
            _ = told => {}
            // A supervisor that hangs must not hold up the next heartbeat.
            () = self.clocks.sleep(patience) => {}
        }
    }

    /// Does what a cordon says. A drain that stood when this server started was carried out by the one before.
    fn obey(&self, cordon: Option<Cordon>) {
        let mut seen = self.seen();
        let new = seen.cordon != cordon;
        let drains = new && seen.heard && cordon.as_ref().is_some_and(|cordon| cordon.drain);
        seen.heard = true;
        seen.cordon = cordon;
        drop(seen);
        if drains {
            tracing::info!("this node is drained by order");
            self.shutdown.drain();
        }
        if new {
            self.wake.notify_one();
        }
    }

    /// Looks who is there, and notes once who sends no heartbeat any more: the first of those that are does it for all.
    pub(crate) async fn look_at_nodes(&self, patience: Duration) {
        let nodes = tokio::select! {
            nodes = self.fleet.nodes() => nodes,
            () = self.clocks.sleep(patience) => return,
        };
        let Ok(nodes) = nodes else { return };
        if let Ok(Ok(lost)) = self.clocks.timely(self.fleet.lost_nodes()).await {
            self.seen().lost = lost.into_iter().map(|lost| lost.node).collect();
        }
        let before = std::mem::replace(&mut self.seen().nodes, nodes.clone());
        let alive = |node: &&NodeState| node.alive;
        let first = nodes.iter().find(alive).is_some_and(|first| first.info.node == self.node);
        let was = |name: &NodeId| before.iter().filter(alive).any(|node| node.info.node == *name);
        // A server that ended in order is listed as draining. Only a node that vanished is worth a warning.
        let lost = nodes.iter().filter(|n| !n.alive && !n.info.draining && was(&n.info.node));
        for node in lost {
            let name = &node.info.node;
            tracing::warn!(node = %name, "a node of the fleet sends no heartbeat any more");
            if first {
                let (node, seen_at) = (name.clone(), Stamp(node.seen_at));
                self.log_node(Fact::NodeLost(NodeLost { node, seen_at })).await;
            }
        }
    }

    async fn log_node(&self, fact: Fact) {
        let kind = fact.kind();
        match self.clocks.timely(self.store.log(vec![LogRecord::new(&fact, self.clocks.now())])).await {
            Ok(Ok(())) => {}
            Ok(Err(e)) => tracing::warn!(error = %e, kind, "an event of a node could not be logged"),
            Err(why) => tracing::warn!(%why, kind, "an event of a node could not be logged"),
        }
    }
}
