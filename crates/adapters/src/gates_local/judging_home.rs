//! The home of one judgement: a checkout and a place in the sandbox that no agent ever saw.

use std::path::PathBuf;

use mosaic_core::domain::gates::GatePlan;
use mosaic_core::domain::ids::{AgentId, CommitId};
use mosaic_core::domain::outcome::Failure;
use mosaic_core::ports::gatekeeper::{CommitSource, JudgeRequest};
use mosaic_core::ports::sandbox::{Mount, Policy, Purpose, SandboxHandle};

use super::options::GateOptions;

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
    /// Checkout of the commit, absolute.
    pub(super) checkout: PathBuf,
    /// Place that its commands run in.
    pub(super) place: SandboxHandle,
}

/// Checks the commit out and prepares a place for its gates.
pub(super) async fn create(
    options: &GateOptions,
    request: JudgeRequest,
    source: &dyn CommitSource,
) -> Result<Judging, Failure> {
    let JudgeRequest { agent, round, commit, plan, .. } = request;
    let checkout = source.checkout().await?.path;
    // The agent's own place is not reused: programs that it left in its HOME or its cache would run as part of the judgement.
    let policy = Policy::of_gates().with(Mount::writable(&checkout));
    let place = options.sandbox.prepare(agent, Purpose::Gate, &policy).await?;
    Ok(Judging { agent, round, commit, plan, checkout, place })
}

impl Judging {
    /// Removes the checkout and the place. What stays is removed with the agent.
    pub(super) async fn remove(&self, options: &GateOptions) {
        // Both are tried whatever becomes of the other, and a failure is no verdict: the agent's removal takes the rest.
        let checkout = options.trash.discard(&self.checkout).map_err(|e| e.to_string());
        let place = options.sandbox.discard(&self.place).await.map_err(|e| e.to_string());
        for (path, gone) in [(&self.checkout, checkout), (&self.place.own, place)] {
            if let Err(error) = gone {
                tracing::warn!(agent.id = %self.agent, path = %path.display(), error, "a directory of a judgement stays until its agent is cleaned up");
            }
        }
    }
}
