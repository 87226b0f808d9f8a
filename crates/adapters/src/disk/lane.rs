//! Calls to one place on a disk, with a deadline, a few of them at once.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

use super::threads;

/// Calls under way at once in one lane, before a next one is refused: each is a thread that a disk may keep.
const UNDER_WAY: usize = 4;

/// Work on files that may hang: it keeps neither the caller past a deadline nor the program from ending.
#[derive(Debug, Clone)]
pub struct Lane {
    places: Arc<Semaphore>,
    /// A call waits for a place, within its deadline.
    waits: bool,
}

impl Default for Lane {
    fn default() -> Self {
        Self { places: Arc::new(Semaphore::new(UNDER_WAY)), waits: false }
    }
}

impl Lane {
    /// Makes a lane in which so many calls are under way at once, and others wait for their turn.
    pub fn queued(places: usize) -> Self {
        Self { places: Arc::new(Semaphore::new(places)), waits: true }
    }

    /// Tells whether a call is under way, or somebody else has this lane in hand.
    pub fn is_used(&self) -> bool {
        Arc::strong_count(&self.places) > 1
    }

    /// Does the work and waits for it at most this long. Errors with `TimedOut` then, and at once where nobody waits while
    /// as many calls as may be under way do not return.
    pub async fn run<T: Send + 'static>(
        &self,
        patience: Duration,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> io::Result<T> {
        let late = |why: &str| io::Error::new(io::ErrorKind::TimedOut, why.to_owned());
        if !self.waits && self.places.available_permits() == 0 {
            return Err(late("earlier calls have not returned"));
        }
        let done = async {
            let place = Arc::clone(&self.places).acquire_owned().await.map_err(io::Error::other)?;
            let answer = threads::begin(move || {
                let done = work();
                drop(place);
                done
            })?;
            answer.await.map_err(|_| io::Error::other("the call broke"))
        };
        match tokio::time::timeout(patience, done).await {
            Ok(answer) => answer,
            Err(_) => Err(late(&format!("no answer within {} s", patience.as_secs_f64()))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use parking_lot::Mutex;
    use std::sync::mpsc;

    #[tokio::test]
    async fn a_call_that_hangs_keeps_nobody_past_the_deadline_and_few_hang_at_once() {
        let (lane, (release, held)) = (Lane::default(), mpsc::channel::<()>());
        let held = Arc::new(Mutex::new(held));
        for _ in 0..UNDER_WAY {
            let held = Arc::clone(&held);
            let hang = move || held.lock().recv().is_ok();
            let error = lane.run(Duration::from_millis(1), hang).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        }
        let error = lane.run(Duration::from_secs(60), || ()).await.unwrap_err();
        assert!(error.to_string().contains("have not returned"), "{error}");
        drop(release);
        // Each gives its place back once it returns.
        while lane.run(Duration::from_secs(60), || ()).await.is_err() {
            tokio::task::yield_now().await;
        }
    }
}
