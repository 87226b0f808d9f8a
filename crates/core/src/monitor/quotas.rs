//! Limits of the model service that have not ended: while one stands, no other agent of the same credential is started on
//! this node. What agents wait for stands in their records, from which a server that starts learns it again.

use crate::domain::agent::{Agent, Phase};
use crate::domain::quota::Held;
use crate::limits;
use crate::orchestrator::Orchestrator;
use crate::ports::store::Query;

impl Orchestrator {
    /// Takes the limit that an agent waits for, when it does.
    pub(crate) fn note_quota(&self, agent: &Agent) {
        let Some((until, failure)) = agent.quota() else { return };
        let Some(credential) = failure.credential.clone() else { return };
        let held = Held { credential, until, why: failure.message.clone() };
        if self.monitor.quotas.lock().hold(held, self.now()) {
            tracing::warn!(agent.id = %agent.id, until = %until.to_rfc3339(), "the model service's limit is reached; nothing of this credential starts before");
        }
    }

    /// Returns what holds up an agent's credential now.
    pub(crate) fn quota_of(&self, agent: &Agent) -> Option<Held> {
        let name = agent.spec.runtime.as_ref().map_or(self.settings.default_runtime.as_str(), |r| r.as_str());
        let credential = self.ports.runtimes.get(name)?.credential()?;
        self.monitor.quotas.lock().of(&credential, self.now()).cloned()
    }

    /// Lists the limits that stand now, the first end first.
    pub fn quotas(&self) -> Vec<Held> {
        self.monitor.quotas.lock().all(self.now())
    }

    /// Learns from the records what an earlier server knew. A store that does not answer costs one attempt to learn it anew.
    pub(crate) async fn recall_quotas(&self) {
        let waiting = Query { phase: vec![Phase::Backoff], limit: limits::QUOTA_RECALL, ..Query::default() };
        match self.ports.store.list(waiting).await {
            Ok(records) => records.iter().for_each(|record| self.note_quota(&record.agent)),
            Err(e) => {
                tracing::warn!(error = %e, "limits of the model service that still stand could not be looked up")
            }
        }
    }
}
