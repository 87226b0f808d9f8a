//! Timers of a run: its deadline, the look at its silence, and the wait for its exit after a result.

use std::pin::Pin;
use std::time::Duration;

use crate::limits;
use crate::ports::clock::Clock;
use crate::steps::context::StepContext;
use crate::steps::freeze::FreezeTimer;

/// Stage of the end of a program that has sent its last message, or seems to have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Closing {
    /// It works, or its background tasks do.
    No,
    /// Another turn is about to begin.
    FollowUp,
    /// The last result is there; counts from then on, whatever the program still prints.
    AfterResult,
}

impl Closing {
    fn patience(self) -> Duration {
        match self {
            Self::No | Self::FollowUp => limits::FOLLOW_UP,
            Self::AfterResult => limits::AFTER_RESULT,
        }
    }
}

/// One wait of the clock.
type Sleep<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

/// Timers of one run. Time during which the agent is frozen counts for none of them.
pub(super) struct Timers<'a> {
    pub(super) clock: &'a dyn Clock,
    pub(super) freeze: FreezeTimer,
    begun: Duration,
    /// Time that the run has from `begun` on.
    granted: Duration,
    pub(super) deadline: Sleep<'a>,
    /// Time between two looks at its silence.
    pub(super) pause: Duration,
    pub(super) look: Sleep<'a>,
    pub(super) tend: Sleep<'a>,
    pub(super) closing: Closing,
    pub(super) wait: Sleep<'a>,
}

impl<'a> Timers<'a> {
    /// Starts the timers. `is_new` is true for a program that this server has started just now.
    pub(super) async fn start(context: &'a StepContext<'_>, is_new: bool) -> Self {
        let (o, agent) = (context.orchestrator, context.agent);
        let clock = o.ports.clock.as_ref();
        // However the clock was set meanwhile, no run gets more than the whole time.
        let most = Duration::from_secs(agent.spec.timeout_seconds);
        let freeze = FreezeTimer::look(context).await;
        let ends = agent.work.deadline.map(|at| at.plus(freeze.before));
        let granted = match (is_new, ends) {
            // Just begun: the wall clock may have jumped since the deadline was written down.
            (true, Some(_)) => agent.work.time_left_ms.map_or(most, Duration::from_millis),
            (_, ends) => ends.map_or(most, |at| at.since(o.now()).min(most)),
        };
        let pause = (o.settings.stall / 20).clamp(*limits::STALL_LOOK.start(), *limits::STALL_LOOK.end());
        Self {
            clock,
            freeze,
            begun: clock.elapsed(),
            granted,
            deadline: clock.sleep(granted),
            pause,
            look: clock.sleep(pause),
            tend: clock.sleep(limits::TEND_PERIOD),
            closing: Closing::No,
            wait: clock.sleep(limits::FOLLOW_UP),
        }
    }

    /// Starts the wait that belongs to a stage of the end when that stage begins.
    pub(super) fn wait_after_result(&mut self, now: Closing) {
        if now != self.closing {
            self.closing = now;
            self.wait = self.clock.sleep(now.patience());
        }
    }

    /// Gives the run back the time for which it stood still, which was neither work nor silence.
    pub(super) fn thaw(&mut self, frozen: Duration) {
        self.granted += frozen;
        self.deadline = self.clock.sleep(self.left());
        self.closing = Closing::No;
    }

    /// Returns the time that is left by the timer that ran here: the wall clock may have jumped meanwhile.
    pub(super) fn left(&self) -> Duration {
        self.granted.saturating_sub(self.clock.elapsed().saturating_sub(self.begun))
    }
}
