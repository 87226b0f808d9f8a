//! Asking the remote which of an agent's commits it has: after every push, and where a push was broken off, before the
//! record says how it ended.

use crate::domain::agent::{Agent, State};
use crate::domain::ids::{AgentId, CommitId};
use crate::domain::lifecycle;
use crate::domain::outcome::{Failure, FailureKind};
use crate::domain::publication::RemoteLook;
use crate::limits;
use crate::orchestrator::Orchestrator;
use crate::ports::store::{Change, Safety, StoreError};

impl Orchestrator {
    /// Asks the remote for the newest of the agent's offered commits that it has, at most [`limits::REMOTE_LOOK`].
    pub(crate) async fn shown(&self, agent: &Agent) -> Result<Option<CommitId>, Failure> {
        let context = &agent.spec.context;
        let newest_first: Vec<CommitId> = match &agent.work.pushed {
            Some(pushed) if agent.work.offered.is_empty() => vec![pushed.clone()],
            _ => agent.work.offered.iter().rev().cloned().collect(),
        };
        if newest_first.is_empty() {
            return Ok(None);
        }
        let asked =
            self.ports.publisher.shown(&context.repository, &agent.branch, &context.branch, &newest_first);
        tokio::select! {
            shown = asked => shown,
            () = self.ports.clock.sleep(limits::REMOTE_LOOK) => {
                let text = format!("the remote did not answer within {} s", limits::REMOTE_LOOK.as_secs());
                Err(Failure::new(FailureKind::Network, text))
            }
        }
    }

    /// Asks about a push of which the end is not known. `settled` tells that nothing of it can still arrive: only then
    /// does a remote that has no such commit count as an answer.
    pub(crate) async fn look_for_push(&self, agent: &Agent, settled: bool) -> RemoteLook {
        if !agent.work.publication.is_open() {
            return RemoteLook::Unknown;
        }
        match self.shown(agent).await {
            Ok(Some(commit)) => RemoteLook::Shows(commit),
            Ok(None) if settled => RemoteLook::Absent,
            Ok(None) => RemoteLook::Unknown,
            Err(e) => {
                tracing::warn!(agent.id = %agent.id, error = %e.message, "the remote could not be asked how a push ended; it is asked again");
                RemoteLook::Unknown
            }
        }
    }

    /// Asks the remote again about the push of an agent that has ended, and writes its answer into the record. Returns
    /// the agent as it is known then.
    pub(crate) async fn learn_of_push(&self, id: AgentId) -> Result<Agent, StoreError> {
        let record = self.ports.store.get(id).await?;
        let mut agent = record.agent;
        let State::Settled { end } = &agent.state else { return Ok(agent) };
        let settled = self.now().since(end.at) >= limits::PUSH_ARRIVES;
        let look = self.look_for_push(&agent, settled).await;
        if look == RemoteLook::Unknown {
            return Ok(agent);
        }
        let facts = lifecycle::learn(&mut agent, &look, self.now()).into_iter().collect();
        let change = Change { safety: Safety::Process, agent: agent.clone(), facts };
        match self.ports.store.amend(vec![(record.version, change)]).await?.pop() {
            Some(Err(e @ (StoreError::Unavailable(_) | StoreError::Unusable(_)))) => Err(e),
            // A record that changed meanwhile is asked about again.
            _ => Ok(agent),
        }
    }
}
