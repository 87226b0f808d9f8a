//! A look into the tree of an agent at work: what it has committed and what it has not, as one commit. The job that makes it
//! runs in the agent's confinement beside its program, changes nothing in the tree and runs nothing that the agent set up.

use super::commit;
use super::context::StepContext;
use crate::domain::agent::State;
use crate::domain::ids::{AgentId, CommitId};
use crate::domain::outcome::{Failure, FailureKind};
use crate::limits;
use crate::orchestrator::Orchestrator;

/// The tree of an agent at work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum LiveTree {
    /// It does not work on this node now: what is kept of it tells more.
    NotAtWork,
    /// It has changed nothing.
    Unchanged,
    /// The commit that holds everything that is in it.
    Changed(CommitId),
}

impl Orchestrator {
    /// Looks into the tree of an agent at work. Errors while it is frozen or the kill switch is engaged: then no job of an
    /// agent starts; and when the job fails or takes longer than [`limits::LIVE_DIFF`].
    pub(crate) async fn live_tree(&self, id: AgentId) -> Result<LiveTree, Failure> {
        let Some(driver) = self.live().get(&id).cloned() else { return Ok(LiveTree::NotAtWork) };
        let agent = driver.seen().agent.clone();
        if !matches!(agent.state, State::Working) {
            return Ok(LiveTree::NotAtWork);
        }
        let no = |why: &str| Failure::new(FailureKind::Internal, why);
        if self.orders.latch().is_some() {
            return Err(no(
                "the kill switch is engaged, under which no job of an agent starts, so its tree cannot be looked at",
            ));
        }
        if *driver.frozen.borrow() {
            return Err(no(
                "the agent is frozen, so its tree cannot be looked at from its confinement; thaw it first",
            ));
        }
        let look = async {
            // One look at a time: the next one removes what this one works on.
            let _one = driver.looks.lock().await;
            let context = StepContext { orchestrator: self, agent: &agent, driver: &driver };
            commit::snapshot(&context).await
        };
        let looked = tokio::select! {
            looked = Box::pin(look) => looked,
            () = self.ports.clock.sleep(limits::LIVE_DIFF + limits::BACKSTOP) => Err(no("the look at the agent's tree took too long")),
        };
        match looked {
            Ok(Some(head)) => Ok(LiveTree::Changed(head)),
            Ok(None) => Ok(LiveTree::Unchanged),
            // It has ended meanwhile, and the look with it.
            Err(_) if !matches!(driver.seen().agent.state, State::Working) => Ok(LiveTree::NotAtWork),
            Err(e) => Err(Failure::new(e.kind, self.ports.scanner.mask(&e.message))),
        }
    }
}
