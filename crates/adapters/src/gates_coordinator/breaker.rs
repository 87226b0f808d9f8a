//! The circuit breaker: a coordinator that failed several times in a row is left alone for a while; then one request is let through,
//! and how it fares decides.

use std::time::Duration;

use mosaic_core::limits::{CHECK_BREAKER_FAILURES, CHECK_BREAKER_PAUSE};
use parking_lot::Mutex;

#[derive(Debug, Default)]
struct State {
    failures: u32,
    /// Until when nothing is asked, in monotonic time.
    open_until: Option<Duration>,
    /// One request was let through and has not ended.
    trial: bool,
}

/// The breaker of one coordinator.
#[derive(Debug, Default)]
pub(super) struct Breaker(Mutex<State>);

/// A request that was let through. Dropped without an end, it taught nothing.
#[derive(Debug)]
pub(super) struct Passage<'a> {
    breaker: &'a Breaker,
    is_trial: bool,
}

impl Breaker {
    /// Lets a request through; errors with the time after which to ask again.
    pub(super) fn enter(&self, now: Duration) -> Result<Passage<'_>, Duration> {
        let mut state = self.0.lock();
        let Some(until) = state.open_until else { return Ok(Passage { breaker: self, is_trial: false }) };
        if now < until {
            return Err(until.saturating_sub(now));
        }
        if state.trial {
            return Err(CHECK_BREAKER_PAUSE);
        }
        state.trial = true;
        Ok(Passage { breaker: self, is_trial: true })
    }
}

impl Passage<'_> {
    /// Notes how it fared.
    pub(super) fn end(self, works: bool, now: Duration) {
        let mut state = self.breaker.0.lock();
        if works {
            *state = State { trial: state.trial && !self.is_trial, ..State::default() };
            return;
        }
        state.failures = state.failures.saturating_add(1);
        // While it is open, what was sent before must not keep it open any longer.
        let decides = self.is_trial || state.open_until.is_none();
        if decides && (self.is_trial || state.failures >= CHECK_BREAKER_FAILURES) {
            state.open_until = Some(now.saturating_add(CHECK_BREAKER_PAUSE));
        }
    }
}

impl Drop for Passage<'_> {
    fn drop(&mut self) {
        if self.is_trial {
            self.breaker.0.lock().trial = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(100);

    fn fail(breaker: &Breaker, at: Duration) {
        breaker.enter(at).unwrap().end(false, at);
    }

    #[test]
    fn failures_in_a_row_open_it_and_one_that_is_let_through_decides() {
        let breaker = Breaker::default();
        for _ in 1..CHECK_BREAKER_FAILURES {
            fail(&breaker, NOW);
        }
        breaker.enter(NOW).unwrap().end(true, NOW);
        for _ in 0..CHECK_BREAKER_FAILURES {
            fail(&breaker, NOW);
        }
        assert_eq!(breaker.enter(NOW).unwrap_err(), CHECK_BREAKER_PAUSE);
        let due = NOW + CHECK_BREAKER_PAUSE;
        let trial = breaker.enter(due).unwrap();
        assert!(breaker.enter(due).is_err(), "a second one was let through");
        trial.end(false, due);
        assert!(breaker.enter(due).is_err(), "the trial failed");
        let due = due + CHECK_BREAKER_PAUSE;
        breaker.enter(due).unwrap().end(true, due);
        fail(&breaker, due);
        assert!(breaker.enter(due).is_ok(), "it counts anew");
    }

    #[test]
    fn a_trial_that_was_given_up_lets_the_next_one_through() {
        let breaker = Breaker::default();
        for _ in 0..CHECK_BREAKER_FAILURES {
            fail(&breaker, NOW);
        }
        let due = NOW + CHECK_BREAKER_PAUSE;
        drop(breaker.enter(due).unwrap());
        assert!(breaker.enter(due).is_ok());
    }
}
