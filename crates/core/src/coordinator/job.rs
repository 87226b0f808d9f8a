//! A check under way, with the callers who wait for it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::{CheckError, Checked};
use crate::limits;
use crate::ports::clock::Clock;

/// End of a check.
#[derive(Debug, Clone)]
pub(super) struct JobEnd {
    /// Its outcome.
    pub(super) outcome: Result<Arc<Checked>, CheckError>,
    /// When it ended, in monotonic time.
    pub(super) at: Duration,
}

/// A check.
#[derive(Debug)]
pub(super) struct Job {
    end: watch::Sender<Option<JobEnd>>,
    waiting: watch::Sender<usize>,
}

impl Default for Job {
    fn default() -> Self {
        Self { end: watch::Sender::new(None), waiting: watch::Sender::new(0) }
    }
}

impl Job {
    /// Waits for it; as long as what is returned exists, it is wanted.
    pub(super) fn wait(self: &Arc<Self>) -> Waits {
        self.waiting.send_modify(|count| *count += 1);
        Waits(Arc::clone(self))
    }

    pub(super) fn end(&self, end: JobEnd) {
        self.end.send_replace(Some(end));
    }

    /// Tells whether its result is repeated to who asks again.
    pub(super) fn is_remembered(&self, now: Duration) -> bool {
        let end = self.end.borrow();
        end.as_ref().is_none_or(|end| now.saturating_sub(end.at) < limits::CHECK_REMEMBERED)
    }

    /// Returns once nobody has waited for it for [`limits::CHECK_ORPHANED`]: a caller whose connection broke asks again by then.
    pub(super) async fn abandoned(&self, clock: &dyn Clock) {
        let mut waiting = self.waiting.subscribe();
        loop {
            // Errors only when the sender is gone, which is a part of this.
            drop(waiting.wait_for(|count| *count == 0).await);
            let again = async { drop(waiting.wait_for(|count| *count > 0).await) };
            tokio::select! {
                () = again => {}
                () = clock.sleep(limits::CHECK_ORPHANED) => return,
            }
        }
    }
}

/// A caller who waits.
#[derive(Debug)]
pub(super) struct Waits(Arc<Job>);

impl Waits {
    /// Returns the outcome once there is one.
    pub(super) async fn outcome(&self) -> Result<Arc<Checked>, CheckError> {
        let mut end = self.0.end.subscribe();
        let end = end.wait_for(Option::is_some).await.ok().and_then(|end| end.clone());
        end.map_or(Err(CheckError::Ending), |end| end.outcome)
    }
}

impl Drop for Waits {
    fn drop(&mut self) {
        self.0.waiting.send_modify(|count| *count = count.saturating_sub(1));
    }
}
