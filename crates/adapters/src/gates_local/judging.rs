//! One judgement: the checkout that all gates copy, and what is said about all of them.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use mosaic_core::domain::changed_lines::ChangedLines;
use mosaic_core::domain::gates::{GatePlan, Isolation};
use mosaic_core::domain::ids::{AgentId, CommitId};
use mosaic_core::domain::outcome::Failure;
use mosaic_core::limits;
use mosaic_core::ports::gatekeeper::{CommitSource, JudgeRequest};
use tokio::sync::Semaphore;

use super::options::GateOptions;
use super::setup::Given;
use crate::isolation::Means;

/// A judgement that can begin.
pub(super) struct Judging {
    /// The agent.
    pub(super) agent: AgentId,
    /// Number of the judgement.
    pub(super) round: u32,
    /// The commit.
    pub(super) commit: CommitId,
    /// The plan.
    pub(super) plan: GatePlan,
    /// Lines that the commit changes, when they are known.
    pub(super) changed_lines: Option<Arc<[ChangedLines]>>,
    /// Checkout of the commit, absolute. Nothing runs in it.
    pub(super) checkout: PathBuf,
    /// Separation of the commit's code from its judge.
    pub(super) isolation: Isolation,
    /// Warnings that people should read.
    pub(super) warnings: Vec<String>,
    /// Files of the setup that its gates find.
    pub(super) given: Option<Given>,
    /// The setup's command, where each gate has to run it first.
    pub(super) setup_first: Option<String>,
    /// Lets so many gates run at once.
    pub(super) at_once: Semaphore,
    begun: Duration,
}

/// Checks the commit out and finds out how its gates are isolated.
pub(super) async fn begin(
    options: &GateOptions,
    request: JudgeRequest,
    source: &dyn CommitSource,
) -> Result<Judging, Failure> {
    let JudgeRequest { agent, round, commit, plan, changed_lines, .. } = request;
    let changed_lines = changed_lines.map(Arc::from);
    let begun = options.clock.elapsed();
    let checkout = source.checkout().await?.path;
    let (isolation, warnings) = match options.isolator.means().await {
        Means::User | Means::Namespaces => (Isolation::Strong, Vec::new()),
        Means::Nothing(why) => (Isolation::Weak, vec![weak(why)]),
    };
    let at_once = Semaphore::new(options.at_once.max(1));
    let (given, setup_first) = (None, None);
    Ok(Judging {
        agent,
        round,
        commit,
        plan,
        changed_lines,
        checkout,
        isolation,
        warnings,
        given,
        setup_first,
        at_once,
        begun,
    })
}

/// Says what weak isolation means and how to do better.
fn weak(why: &str) -> String {
    format!(
        "weak isolation: the judged code can reach what judges it ({why}); run the server as root, or let its user make user \
         namespaces"
    )
}

impl Judging {
    /// Tells whether gates run isolated.
    pub(super) fn is_isolated(&self) -> bool {
        self.isolation == Isolation::Strong
    }

    /// Tells whether another run that takes so long still fits into the time of one judgement.
    pub(super) fn has_time_for(&self, options: &GateOptions, run: Duration) -> bool {
        options.clock.elapsed().saturating_sub(self.begun) + run <= limits::GATE_LONGEST
    }

    /// Removes the checkout. What stays is removed with the agent.
    pub(super) fn remove(&self, options: &GateOptions) {
        if let Err(error) = options.trash.discard(&self.checkout) {
            let path = self.checkout.display();
            tracing::warn!(agent.id = %self.agent, %path, %error, "a checkout that was judged stays until its agent is cleaned up");
        }
    }
}
