//! Step 2, lease: a free slot takes the best entry that this node takes now, under a lease with an epoch. What it does not
//! take stays at its place in the queue for others.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::domain::agent::Agent;
use crate::domain::lifecycle::{self, Event};
use crate::domain::placement::{Conditions, missing_labels};
use crate::domain::quota::Held;
use crate::driver::Taken;
use crate::limits;
use crate::orchestrator::Orchestrator;
use crate::ports::store::{Change, Lease, Safety, Versioned};

/// Takes the best entry that may start here, when there is one, the machine has room, and the store answers.
pub(crate) async fn take(o: &Orchestrator) -> Option<Taken> {
    loop {
        let asked = o.elapsed();
        let taken = o.ports.store.lease_within(&o.settings.node, o.now(), &o.conditions()).await;
        let (lease, record) = taken.unwrap_or_else(|e| {
            tracing::warn!(error = %e, "queue could not be read; looking again in a moment");
            None
        })?;
        // Asked first: a breaker lets one agent through to see how it fares.
        let held = o.monitor.quota_of(&record.agent).map(|held| Deferral {
            why: limit_message(&held),
            wait: held.until.since(o.now()),
            credential: Some(held.credential),
        });
        let refused = || {
            let (why, wait) =
                o.monitor.breakers.may_start(&record.agent, o.default_runtime(), o.elapsed()).err()?;
            Some(Deferral { why, wait, credential: None })
        };
        let Some(deferral) = held.or_else(refused) else {
            return Some(Taken { lease, record, asked });
        };
        put_off(o, &lease, &record, deferral).await?;
    }
}

/// Why and for how long an entry is not started.
struct Deferral {
    why: String,
    wait: Duration,
    /// Mark of the credential whose limit it waits for, when that is why.
    credential: Option<String>,
}

fn limit_message(held: &Held) -> String {
    format!("the model service's limit is reached until {}: {}", held.until.to_rfc3339(), held.why)
}

impl Orchestrator {
    pub(crate) fn default_runtime(&self) -> &str {
        self.settings.default_runtime.as_str()
    }

    /// Returns the conditions under which this node takes work now.
    pub(crate) fn conditions(&self) -> Conditions {
        let mut conditions = Conditions { labels: self.fleet.labels(), ..Conditions::default() };
        self.monitor.breakers.add_refusals(&mut conditions, self.elapsed());
        if self.is_fleet() {
            // Another node may have another credential. Alone, what waits for a limit waits until that time, and says so.
            let held = self.monitor.quotas();
            let is_held = |credential: &str| held.iter().any(|one| one.credential == credential);
            let runtimes = self.ports.runtimes.iter();
            let limited = runtimes.filter(|(_, one)| one.credential().is_some_and(|c| is_held(&c)));
            conditions.runtimes.extend(limited.map(|(name, _)| name.clone()));
            conditions.runtimes.extend(self.fleet.left_to_others());
        }
        self.fleet.add_avoided(&mut conditions, self.elapsed());
        if let Some(most) = self.settings.repository_slots {
            let full = self.running_by_repository().into_iter().filter(|(_, running)| *running >= most);
            conditions.repositories.extend(full.map(|(repository, _)| repository));
        }
        conditions.repository_leases = self.settings.repository_fleet_slots;
        conditions
    }

    /// Counts the agents that run on this node, by repository.
    fn running_by_repository(&self) -> BTreeMap<String, usize> {
        let mut running = BTreeMap::new();
        for driver in self.live().values() {
            let repository = driver.seen().agent.spec.context.repository.to_string();
            *running.entry(repository).or_default() += 1;
        }
        running
    }

    /// Says that as many agents of its repository run here as may, when that is so.
    fn repository_is_full(&self, agent: &Agent) -> Option<String> {
        let most = self.settings.repository_slots?;
        let running = self.running_by_repository();
        let here = running.get(&agent.spec.context.repository.to_string()).copied().unwrap_or_default();
        (here >= most).then(|| {
            format!("{here} agents of its repository run, and no more may at once (MOSAIC_REPOSITORY_SLOTS)")
        })
    }

    /// Counts what runs on all nodes of the repositories of these agents, where that is bounded. Empty where it is not, or while
    /// the store does not say.
    pub async fn leased_beside(&self, agents: impl Iterator<Item = &Agent>) -> BTreeMap<String, usize> {
        if self.settings.repository_fleet_slots.is_none() {
            return BTreeMap::new();
        }
        let repositories = agents.map(|agent| agent.spec.context.repository.to_string()).collect();
        self.ports.store.leased_of(&repositories).await.unwrap_or_default()
    }

    /// Says that as many agents of its repository run on all nodes as may, when that is so.
    fn repository_is_full_everywhere(
        &self,
        agent: &Agent,
        leased: &BTreeMap<String, usize>,
    ) -> Option<String> {
        let most = self.settings.repository_fleet_slots?;
        let running = leased.get(agent.spec.context.repository.as_str()).copied().unwrap_or_default();
        (running >= most).then(|| {
            format!(
                "{running} agents of its repository run on all nodes together, and no more may at once \
                 (MOSAIC_REPOSITORY_FLEET_SLOTS)"
            )
        })
    }

    /// Says why this node does not take a waiting agent now, when that is so; `leased` is what [`Self::leased_beside`] counted.
    pub fn held_here(&self, agent: &Agent, leased: &BTreeMap<String, usize>) -> Option<String> {
        if let Some(full) = self.repository_is_full_everywhere(agent, leased) {
            return Some(full);
        }
        let labels = self.fleet.labels();
        let missing: Vec<String> =
            missing_labels(&agent.spec, &labels).map(|(name, value)| format!("{name}={value}")).collect();
        let here = |why: String| format!("held on node {}: {why}", self.settings.node);
        if !missing.is_empty() {
            return Some(self.fleet.without_labels(agent, &missing.join(", ")));
        }
        let refusal = self.monitor.breakers.refusal(agent, self.default_runtime(), self.elapsed());
        let refusal = refusal.or_else(|| self.monitor.quota_of(agent).map(|held| limit_message(&held)));
        let runtime = agent.spec.runtime.as_ref().map_or(self.default_runtime(), |name| name.as_str());
        let lacking = || {
            let left = self.is_fleet() && self.fleet.left_to_others().iter().any(|name| name == runtime);
            left.then(|| format!("the runtime {runtime} cannot be used here"))
        };
        let refusal = refusal.or_else(lacking).or_else(|| self.repository_is_full(agent));
        refusal.or_else(|| self.fleet.avoids(agent.id, self.elapsed())).map(here)
    }
}

/// Puts a leased entry back into the queue until it is worth asking again. `None` when the store did not take it: then
/// it is found again as one that nobody drives.
async fn put_off(o: &Orchestrator, lease: &Lease, record: &Versioned, deferral: Deferral) -> Option<()> {
    let Deferral { why, wait, credential } = deferral;
    let now = o.decide_now();
    // Spread over a little time, so that those deferred together do not come back together.
    let until = now.at.plus(wait).plus(limits::DISPATCH_PERIOD.mul_f64(now.dice * 5.0));
    let event = if o.is_fleet() {
        // It is taken by others at once, and not by this node: the conditions say so from now on.
        o.fleet.avoid(lease.agent, why, o.elapsed() + wait);
        Event::Interrupted
    } else {
        Event::PutOff { until, why, credential }
    };
    let step = lifecycle::next(&record.agent, event, now).ok()?;
    let change = Change { safety: Safety::Process, agent: step.agent, facts: step.facts };
    match o.ports.store.advance(lease, change).await {
        Ok(_) => Some(()),
        Err(e) => {
            tracing::warn!(agent.id = %lease.agent, error = %e, "agent could not be put back");
            None
        }
    }
}
