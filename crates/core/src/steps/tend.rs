//! Credentials that a run was lent and renews by itself, such as a login: brought back while it runs, when it has ended, and once more
//! before its directories go, whoever was there meanwhile.

use super::context::{StepContext, StepState};
use crate::domain::outcome::Failure;
use crate::limits;

/// Loan to the run of one agent.
pub(super) struct Lent {
    config: std::path::PathBuf,
    runtime: String,
    mark: Option<String>,
    /// The last message, so that it is not said again at every look.
    said: Option<String>,
}

impl Lent {
    /// Finds where it lies. `None` when the agent's place in the sandbox is gone.
    pub(super) async fn find(
        context: &StepContext<'_>,
        step_state: &mut StepState,
        runtime: String,
        mark: Option<String>,
    ) -> Option<Self> {
        let handle = context.sandbox(step_state).await.ok()?;
        Some(Self { config: handle.config, runtime, mark, said: None })
    }

    /// Looks once; returns what a person should know that was not said before. A fault of it ends nothing.
    pub(super) async fn look(&mut self, context: &StepContext<'_>) -> Option<String> {
        let runtime = context.runtime(&self.runtime).ok()?;
        let tended = tokio::select! {
            tended = runtime.tend(context.agent.id, &self.config, self.mark.as_deref()) => tended,
            () = context.orchestrator.ports.clock.sleep(limits::TEND) => Err(Failure::new(
                crate::domain::outcome::FailureKind::Internal,
                "what the agent was lent could not be looked after in time",
            )),
        };
        let text = match tended {
            Ok(text) => text?,
            Err(failure) => failure.message,
        };
        let text = context.orchestrator.ports.scanner.mask(&text);
        tracing::info!(agent.id = %context.agent.id, "{text}");
        (self.said.replace(text.clone()) != Some(text.clone())).then_some(text)
    }
}
