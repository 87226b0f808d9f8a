//! The health of this node: what it can run, and the faults that other nodes do not have. A node that fails what others do
//! takes itself out of service, says why, looks again and again whether the cause is gone, and comes back by itself.

use std::time::Duration;

use super::known_faults::{Ailment, Moved, OwnCordon, completed_elsewhere};
use super::placing::is_past;
use crate::domain::agent::Agent;
use crate::domain::blame::Part;
use crate::domain::breaker::Sign;
use crate::domain::lifecycle::Elsewhere;
use crate::domain::outcome::{Failure, cut};
use crate::fleet::membership::FleetMembership;
use crate::limits;
use crate::ports::fleet::{Cordon, NodeHealth, NodeState, RuntimeHealth};
use crate::ports::runtime::ProbeError;

/// The word in `by` of a cordon that a node put on itself.
pub const ITSELF: &str = "mosaic";

/// Looks after this node's health again and again, beside the heartbeats: a program that does not answer holds up none.
pub(crate) async fn watch(membership: &FleetMembership) {
    // Errors never: the sender lives as long as the orchestrator.
    let _ = membership.joined.subscribe().wait_for(|joined| *joined).await;
    let period = membership.fleet.term().map_or(limits::NODE_HEARTBEAT, |term| {
        (term / limits::HEARTBEATS_PER_LEASE).min(limits::NODE_HEARTBEAT)
    });
    loop {
        membership.look_after_itself().await;
        membership.clocks.sleep(period).await;
    }
}

impl FleetMembership {
    /// Looks around and at itself, before this node takes anything.
    pub(crate) async fn look_before_taking(&self) {
        if self.is_fleet() && *self.joined.borrow() {
            self.look_at_nodes(limits::ORDER_LOOK).await;
            self.look_after_itself().await;
        }
    }

    /// Returns what this node says of its health with every heartbeat.
    pub(super) fn health(&self) -> NodeHealth {
        let mut breakers = self.monitor.breakers.shown(self.clocks.elapsed());
        breakers.truncate(limits::NODE_BREAKERS);
        for breaker in &mut breakers {
            breaker.why = cut(self.scanner.mask(&breaker.why), limits::NODE_REASON_BYTES);
        }
        let (runtimes, seen) = {
            let seen = self.seen();
            (seen.health.runtimes.clone(), (seen.health.crashes, seen.health.completed))
        };
        NodeHealth {
            runtimes,
            sandbox: Some(self.sandbox.name().to_owned()),
            breakers,
            held: self.held(),
            crashes: seen.0,
            completed: seen.1,
        }
    }

    /// Returns what this machine has against new agents, whatever orders stand: what other nodes are told of it.
    fn held(&self) -> Option<String> {
        let unread = self.orders.unread().map(|why| format!("orders: {why}"));
        unread.or_else(|| self.clocks.fault()).or_else(|| self.monitor.refusal())
    }

    /// Returns for how long this node takes nothing after its newest fault, so that a node that fails fast does not take
    /// everything before the others.
    pub(crate) fn taking_again(&self) -> Duration {
        self.seen().health.taking_again.saturating_sub(self.clocks.elapsed())
    }

    /// Takes note of what failed for a reason of this node.
    pub(super) fn note_fault(&self, agent: &Agent, part: &Part, failure: &Failure, elsewhere: Elsewhere) {
        let now = self.clocks.elapsed();
        let mut seen = self.seen();
        let health = &mut seen.health;
        health.faults = health.faults.saturating_add(1);
        let doublings = health.faults.saturating_sub(1).min(16);
        let pause = limits::NODE_FAULT_PAUSE.saturating_mul(1 << doublings).min(limits::NODE_FAULT_PAUSE_CAP);
        // Where no other node could do better now, a pause would only delay what fails anyway.
        if elsewhere == Elsewhere::Able {
            health.taking_again = now + pause;
            health.remember(Moved { agent: agent.id, part: part.clone(), runs: agent.runs });
        }
        let why = cut(self.scanner.mask(&failure.message), limits::NODE_REASON_BYTES);
        health.newest = Some((part.clone(), why));
    }

    /// Takes note of an agent that crashed. That is the task's own affair, unless it happens here only.
    pub(super) fn note_crash(&self, agent: &Agent, failure: &Failure) {
        let nodes = self.known_nodes();
        let (now, own) = (self.clocks.elapsed(), &self.node);
        let completed = completed_elsewhere(&nodes, own);
        let why = cut(self.scanner.mask(&failure.message), limits::NODE_REASON_BYTES);
        let mut seen = self.seen();
        let health = &mut seen.health;
        if health.crashes == 0 {
            health.completed_before = completed;
        }
        health.crashes = health.crashes.saturating_add(1);
        health.crash = why;
        let crashes = health.crashes;
        // Only while another node that fares better could take it instead.
        let better = |node: &&NodeState| {
            let info = &node.info;
            info.node != *own
                && node.alive
                && node.cordon.is_none()
                && !info.draining
                && info.running < info.slots
                && info.health.crashes < crashes
        };
        if crashes >= limits::NODE_CRASHES_SLOW && nodes.iter().any(|node| better(&node)) {
            let doublings = (crashes - limits::NODE_CRASHES_SLOW).min(3);
            health.taking_again = now + limits::NODE_CRASH_PAUSE.saturating_mul(1 << doublings);
        }
        if agent.attempt <= agent.spec.max_retries {
            let runtime =
                agent.spec.runtime.as_ref().map_or(self.default_runtime.as_str(), |name| name.as_str());
            let part = Part::Run { runtime: runtime.to_owned() };
            health.remember(Moved { agent: agent.id, part, runs: agent.runs });
        }
    }

    /// Takes note of what works here.
    pub(crate) fn note_sign(&self, part: &Part, sign: &Sign) {
        if *sign != Sign::Works {
            return;
        }
        let mut seen = self.seen();
        let health = &mut seen.health;
        if matches!(part, Part::Run { .. }) {
            health.crashes = 0;
            health.completed = health.completed.saturating_add(1);
        }
        // Every task fetches before anything else can fail: that says nothing about the rest.
        let covers = |newest: &Part| match part {
            Part::Fetch { .. } => newest == part,
            Part::Run { .. } => newest == part || *newest == Part::Machine,
            Part::Push { .. } | Part::Machine => true,
        };
        if health.newest.as_ref().is_none_or(|(newest, _)| covers(newest)) {
            (health.faults, health.confirmed, health.rounds) = (0, 0, 0);
            health.taking_again = Duration::ZERO;
            health.newest = None;
            health.moved.clear();
        }
    }

    /// Looks whether this node is fit to take work; takes it out of service, or back. Where it is alone there is nothing to
    /// compare with, and what fails says so itself.
    pub(crate) async fn look_after_itself(&self) {
        if !self.is_fleet() {
            return;
        }
        self.probe_runtimes().await;
        self.look_for_moved().await;
        let ailment = self.ailment().await;
        let now = self.clocks.elapsed();
        let cordon = self.cordoned();
        let decided = {
            let mut seen = self.seen();
            let health = &mut seen.health;
            // A person's word covers the ailment that the person saw. Another one, or the same after it was
            // gone, may take the node out of service again.
            if health.overruled != ailment.as_ref().map(|(ailment, _)| *ailment) {
                health.overruled = None;
            }
            match (&cordon, ailment) {
                (None, _) if health.own.take().is_some() => {
                    // A person said that it takes work again: what is known so far does not count any more.
                    (health.confirmed, health.faults, health.rounds) = (0, 0, 0);
                    health.moved.clear();
                    None
                }
                (None, Some((ailment, why))) if health.overruled.is_none() => {
                    let pause = limits::BREAKER_FIRST.saturating_mul(1 << health.rounds.min(16));
                    let trial = now + pause.min(limits::BREAKER_CAP);
                    health.rounds = health.rounds.saturating_add(1);
                    health.own = Some(OwnCordon { ailment, trial });
                    Some(Some(why))
                }
                (Some(cordon), ailment) if cordon.by == ITSELF => {
                    let over = match &health.own {
                        // Of an earlier server of this node.
                        None => ailment.is_none(),
                        Some(own) if own.ailment == Ailment::Faults => now >= own.trial,
                        Some(_) => ailment.is_none(),
                    };
                    if over {
                        health.own = None;
                        // The next one that goes on elsewhere decides at once.
                        health.confirmed = health.confirmed.min(limits::NODE_CONFIRMED - 1);
                    }
                    over.then_some(None)
                }
                _ => None,
            }
        };
        match decided {
            Some(Some(why)) => self.cordon_itself(Some(why)).await,
            Some(None) => self.cordon_itself(None).await,
            None => {}
        }
    }

    /// Says that a person lets this node take work although it took itself out of service.
    pub(super) fn overruled(&self) {
        let mut seen = self.seen();
        let health = &mut seen.health;
        if let Some(own) = health.own.take() {
            health.overruled = Some(own.ailment);
            (health.confirmed, health.faults, health.rounds) = (0, 0, 0);
            health.moved.clear();
        }
    }

    async fn cordon_itself(&self, why: Option<String>) {
        match &why {
            Some(why) => tracing::error!(why, "this node takes nothing new: it is not fit to"),
            None => tracing::info!("this node takes work again: what it was out of service for is gone"),
        }
        let cordon = why.map(|why| Cordon {
            by: ITSELF.to_owned(),
            reason: Some(why),
            at: self.clocks.now(),
            drain: false,
        });
        let done = self.clocks.timely(self.cordon(&self.node, cordon)).await;
        if let Ok(Err(e)) = done {
            tracing::warn!(error = %e, "this node's own cordon could not be written; it is tried again");
            // Forgotten, because a cordon that is remembered here and missing in the store would be taken for
            // one that a person lifted.
            self.seen().health.own = None;
        }
    }

    /// Says what makes this node unfit while others are not.
    async fn ailment(&self) -> Option<(Ailment, String)> {
        let nodes = self.known_nodes();
        let others = || nodes.iter().filter(|node| node.info.node != self.node && self.counts_on(node));
        others().next()?;
        if let Some(why) = self.disk_ails().await {
            return Some((Ailment::Disk, why));
        }
        let seen = self.seen();
        let health = &seen.health;
        let runtime = self.default_runtime.as_str();
        if let Some(why) = health.missing(runtime)
            // What no node can do fails at once and says so, instead of waiting without end.
            && others().any(|node| !node.info.health.lacks(runtime))
        {
            return Some((Ailment::Runtimes, format!("its runtime {runtime} cannot be used here: {why}")));
        }
        if let Some(why) = health.crash_message(&nodes, &self.node) {
            return Some((Ailment::Faults, why));
        }
        let (part, why) = health.newest.as_ref()?;
        (health.confirmed >= limits::NODE_CONFIRMED).then(|| {
            let n = health.confirmed;
            let text = format!(
                "{n} agents that failed here went on elsewhere; the newest, {}: {why}",
                part.message()
            );
            (Ailment::Faults, text)
        })
    }

    /// Says why the disk takes nothing more. A host that does not say how much is free, or not in time, holds nothing up.
    async fn disk_ails(&self) -> Option<String> {
        let look = async {
            // Asked by itself, because the next answer does not tell a full disk from a host that does not
            // say, and only the first is an ailment.
            self.host.free_bytes().await.ok()?;
            self.monitor.disk_capacity().await.err()
        };
        tokio::select! {
            why = look => why,
            () = self.clocks.sleep(limits::ORDER_LOOK) => None,
        }
    }

    /// Looks whether the runtimes' programs are there: often while one is not, now and then while all are.
    pub(super) async fn probe_runtimes(&self) {
        let now = self.clocks.elapsed();
        {
            let seen = self.seen();
            let health = &seen.health;
            let missing = health.runtimes.iter().any(|one| one.error.is_some());
            let period = if missing { limits::NODE_PROBE_AGAIN } else { limits::NODE_PROBE };
            if health.probed.is_some_and(|at| now.saturating_sub(at) < period) {
                return;
            }
        }
        let mut found = Vec::new();
        for (name, runtime) in &self.runtimes {
            let answer = tokio::select! {
                answer = runtime.probe() => answer,
                () = self.clocks.sleep(limits::PROBE * 2) => Err(ProbeError::new("it did not answer in time")),
            };
            let why = answer.as_ref().err().map(ToString::to_string);
            let error = why.map(|why| cut(self.scanner.mask(&why), limits::NODE_REASON_BYTES));
            let version = answer.ok().and_then(|probe| probe.version);
            found.push(RuntimeHealth { name: name.clone(), version, error });
        }
        let mut seen = self.seen();
        (seen.health.probed, seen.health.runtimes) = (Some(now), found);
    }

    /// Returns the runtimes that this node leaves to others, because their programs are not here and another node has them.
    pub(crate) fn left_to_others(&self) -> Vec<String> {
        let nodes = self.known_nodes();
        let has = |name: &str| {
            nodes.iter().any(|node| {
                node.info.node != self.node && self.counts_on(node) && !node.info.health.lacks(name)
            })
        };
        let seen = self.seen();
        let missing = seen.health.runtimes.iter().filter(|one| one.error.is_some());
        missing.map(|one| one.name.clone()).collect::<Vec<_>>().into_iter().filter(|name| has(name)).collect()
    }

    /// Says which runtimes cannot be used here although they are meant to: the node's own, and what another node has.
    pub(crate) fn missing_runtimes(&self) -> Vec<RuntimeHealth> {
        let left = self.left_to_others();
        let is_meant =
            |one: &&RuntimeHealth| one.name == self.default_runtime.as_str() || left.contains(&one.name);
        let seen = self.seen();
        let missing = seen.health.runtimes.iter().filter(|one| one.error.is_some());
        missing.filter(is_meant).cloned().collect()
    }

    /// Looks what became of tasks that failed here, a few at a time: those that went on elsewhere tell that this node is at
    /// fault, and not they.
    async fn look_for_moved(&self) {
        for _ in 0..limits::NODE_MOVED_LOOKS {
            let Some(moved) = self.seen().health.moved.pop_front() else { return };
            let Ok(Ok(record)) = self.clocks.timely(self.store.get(moved.agent)).await else {
                continue;
            };
            let agent = &record.agent;
            let elsewhere = record.home.as_ref().is_some_and(|home| *home != self.node);
            let mut seen = self.seen();
            let health = &mut seen.health;
            if elsewhere && is_past(&moved.part, agent, moved.runs) {
                health.confirmed = health.confirmed.saturating_add(1);
            } else if !agent.is_terminal() {
                health.moved.push_back(moved);
            }
        }
    }

    /// Returns the words for readiness: what of this node's work others must do.
    pub(crate) fn ailing_message(&self) -> Option<String> {
        let breakers = self.monitor.breakers.shown(self.clocks.elapsed());
        let missing = self.missing_runtimes();
        let mut parts: Vec<String> = missing
            .iter()
            .map(|one| format!("{} cannot be used: {}", one.name, one.error.as_deref().unwrap_or_default()))
            .collect();
        parts.extend(
            breakers.iter().map(|one| format!("takes nothing new for {}: {}", one.part.message(), one.why)),
        );
        (!parts.is_empty()).then(|| parts.join("; "))
    }
}
