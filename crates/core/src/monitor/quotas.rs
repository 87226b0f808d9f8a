//! Limits of the model service that have not ended: while one stands, no other agent of the same credential is started on
//! this node. What agents wait for stands in their records, from which a server that starts learns it again, and from which
//! the nodes of a fleet learn it from each other. A wait belongs to its credential: once another one is in force, it is over.

use crate::domain::agent::Agent;
use crate::domain::lifecycle::{self, Event};
use crate::domain::quota::Held;
use crate::limits;
use crate::monitor::Monitor;
use crate::ports::runtime::Runtime;
use crate::ports::store::{Change, Safety, StoreError, Versioned};

impl Monitor {
    /// Takes the limit that an agent waits for, when it does.
    pub(crate) fn note_quota(&self, agent: &Agent) {
        let Some((until, failure)) = agent.quota() else { return };
        let Some(credential) = failure.credential.clone() else { return };
        let held = Held { credential, until, why: failure.message.clone() };
        if self.quotas.lock().hold(held, self.clocks.now()) {
            tracing::warn!(agent.id = %agent.id, until = %until.to_rfc3339(), "the model service's limit is reached; nothing of this credential starts before");
        }
    }

    /// Returns what holds up an agent's credential now.
    pub(crate) fn quota_of(&self, agent: &Agent) -> Option<Held> {
        let credential = self.runtime_of(agent)?.credential()?;
        self.quotas.lock().of(&credential, self.clocks.now()).cloned()
    }

    fn runtime_of(&self, agent: &Agent) -> Option<&dyn Runtime> {
        let name = agent.spec.runtime.as_ref().map_or(self.default_runtime.as_str(), |r| r.as_str());
        self.runtimes.get(name).map(AsRef::as_ref)
    }

    /// Lists the limits of the credentials in force on this node that stand now, the first end first.
    pub(crate) fn quotas(&self) -> Vec<Held> {
        let in_force: Vec<String> = self.runtimes.values().filter_map(|one| one.credential()).collect();
        let mut all = self.quotas.lock().held(self.clocks.now());
        all.retain(|held| in_force.contains(&held.credential));
        all
    }

    /// Looks through the agents that wait until a time: their limits are learnt, and those that wait for a credential which
    /// is not the one in force on this node are due at once. A store that does not answer costs one attempt to learn it anew.
    pub(crate) async fn recall_quotas(&self, takes_work: bool) {
        for runtime in self.runtimes.values() {
            runtime.look_at_credential().await;
        }
        match self.deferred().await {
            Ok(records) => {
                records.iter().for_each(|record| self.note_quota(&record.agent));
                if let Err(e) = self.lift_waits(&records, takes_work).await {
                    tracing::warn!(error = %e, "agents that wait for the limit of another credential could not be released; trying again");
                }
            }
            Err(e) => {
                tracing::warn!(error = %e, "limits of the model service that still stand could not be looked up")
            }
        }
    }

    /// Lists the first of the agents that wait until a time.
    async fn deferred(&self) -> Result<Vec<Versioned>, StoreError> {
        let counts = self.store.counts(self.clocks.now()).await?;
        if counts.delayed == 0 {
            return Ok(Vec::new());
        }
        self.store.waiting(counts.waiting, limits::QUOTA_RECALL, self.clocks.now()).await
    }

    /// Releases the agents that wait for a credential which this node does not use any more.
    async fn lift_waits(&self, records: &[Versioned], takes_work: bool) -> Result<(), StoreError> {
        let lift = |record: &&Versioned| {
            let agent = &record.agent;
            let waits_for = agent.limited_credential();
            let in_force = self.runtime_of(agent).and_then(Runtime::credential);
            waits_for.is_some() && in_force.is_some_and(|now| Some(now.as_str()) != waits_for)
        };
        // Where its own credential is held up as well, or it takes nothing, this node has nothing better to offer.
        let may_start = |record: &&Versioned| takes_work && self.quota_of(&record.agent).is_none();
        let changes: Vec<(u64, Change)> = records
            .iter()
            .filter(lift)
            .filter(may_start)
            .filter_map(|record| {
                let step =
                    lifecycle::next(&record.agent, Event::CredentialChanged, self.decide_now()).ok()?;
                let change = Change { safety: Safety::Process, agent: step.agent, facts: step.facts };
                Some((record.version, change))
            })
            .collect();
        if changes.is_empty() {
            return Ok(());
        }
        tracing::info!(
            agents = changes.len(),
            "another credential is in force; what waited for the limit of the one before is due"
        );
        // What changed meanwhile is looked at the next time.
        self.store.amend(changes).await?;
        self.wake.notify_one();
        Ok(())
    }
}
