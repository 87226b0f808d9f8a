//! Steps of a frozen agent: they wait, and supervision knows for how long its clocks stand still.

use std::time::Duration;

use tokio::sync::watch;

use crate::domain::lifecycle::Effect;
use crate::driver::AgentHandle;
use crate::steps::context::StepContext;

/// Performs a step once the agent is not frozen. What releases ends the freeze; supervision goes on under it.
pub(crate) async fn held<T>(driver: &AgentHandle, effect: Effect, step: impl Future<Output = T>) -> T {
    match effect {
        Effect::Supervise => {}
        Effect::Unwind => {
            driver.frozen.send_replace(false);
        }
        _ => {
            // Errors when the driver was dropped, which ends this too.
            let _ = driver.frozen.subscribe().wait_for(|frozen| !frozen).await;
        }
    }
    step.await
}

/// Timer of supervision for the freeze of its agent.
pub(crate) struct FreezeTimer {
    frozen: watch::Receiver<bool>,
    /// When it was seen frozen first.
    since: Option<Duration>,
    /// For how long it had been frozen when it was looked at.
    pub(crate) before: Duration,
}

impl FreezeTimer {
    /// Looks whether the program is frozen already: by an earlier server, or by an order that came before the program.
    pub(crate) async fn look(context: &StepContext<'_>) -> Self {
        let (o, id) = (context.orchestrator, context.agent.id);
        let frozen = context.driver.frozen.subscribe();
        // An order that comes meanwhile would be overtaken by one that was given before the program ran.
        let _turn = context.driver.freezing.lock().await;
        let was = o.ports.processes.frozen_for(id).await.ok().flatten();
        if was.is_some() {
            context.driver.frozen.send_replace(true);
        } else if *frozen.borrow()
            && let Err(e) = o.ports.processes.freeze(id).await
        {
            tracing::warn!(agent.id = %id, error = %e, "an agent that is to be frozen runs on");
            context.driver.frozen.send_replace(false);
        }
        let since = frozen.borrow().then(|| o.elapsed());
        Self { frozen, since, before: was.unwrap_or_default() }
    }

    /// Tells whether the clocks stand still.
    pub(crate) fn holds(&self) -> bool {
        self.since.is_some()
    }

    /// Waits until that changes; at a thaw returns for how long the agent stood still since it was
    /// looked at. Cancel-safe.
    pub(crate) async fn turned(&mut self, elapsed: impl Fn() -> Duration) -> Option<Duration> {
        let wanted = self.since.is_none();
        if self.frozen.wait_for(|frozen| *frozen == wanted).await.is_err() {
            // The driver is gone; whoever waits ends with it.
            std::future::pending::<()>().await;
        }
        match self.since.take() {
            Some(since) => Some(elapsed().saturating_sub(since)),
            None => {
                self.since = Some(elapsed());
                None
            }
        }
    }
}
