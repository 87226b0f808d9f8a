//! Calls that wait together share one round trip: whoever finds room for a round trip makes one, for itself and for all that
//! came meanwhile. There is no task beside the callers; one that gives up leaves its place to the next.

use std::collections::VecDeque;

use mosaic_core::ports::store::StoreError;
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::{Semaphore, oneshot};

struct Place<T, R> {
    item: T,
    tell: oneshot::Sender<Result<R, StoreError>>,
}

/// The callers that wait for one kind of round trip.
pub(super) struct Together<T, R> {
    waiting: Mutex<VecDeque<Place<T, R>>>,
    /// Most calls that share a round trip.
    most: usize,
    /// Round trips that may begin.
    trips: Semaphore,
}

impl<T: Send, R: Send> Together<T, R> {
    /// Makes a line for round trips of at most so many calls, with so many under way at once.
    pub(super) fn new(most: usize, trips: usize) -> Self {
        Self { waiting: Mutex::default(), most, trips: Semaphore::new(trips) }
    }

    fn waiting(&self) -> MutexGuard<'_, VecDeque<Place<T, R>>> {
        self.waiting.lock()
    }

    /// Makes a call; `send` carries out several and answers them in their order. A caller that is dropped while it makes
    /// the round trip takes the others' answers with it: they are told that it is not known what became of their calls.
    pub(super) async fn call<F>(&self, item: T, send: impl Fn(Vec<T>) -> F) -> Result<R, StoreError>
    where
        F: Future<Output = Result<Vec<R>, StoreError>>,
    {
        let (tell, mut told) = oneshot::channel();
        self.waiting().push_back(Place { item, tell });
        loop {
            let permit = tokio::select! {
                biased;
                answer = &mut told => return answer.unwrap_or_else(|_| Err(unknown())),
                permit = self.trips.acquire() => permit.expect("it is never closed"),
            };
            // Others that were woken by the same answer get the chance to come along.
            tokio::task::yield_now().await;
            let places: Vec<Place<T, R>> = {
                let mut waiting = self.waiting();
                let count = waiting.len().min(self.most);
                waiting.drain(..count).collect()
            };
            if places.is_empty() {
                drop(permit);
                return told.await.unwrap_or_else(|_| Err(unknown()));
            }
            let (items, tells): (Vec<T>, Vec<_>) =
                places.into_iter().map(|place| (place.item, place.tell)).unzip();
            let answers = send(items).await;
            drop(permit);
            hand_out(answers, tells);
        }
    }
}

fn unknown() -> StoreError {
    StoreError::Unavailable(
        "the call was given up together with another; it may have been carried out".to_owned(),
    )
}

/// Gives each caller its answer. Those that gave up meanwhile need none.
fn hand_out<R>(answers: Result<Vec<R>, StoreError>, tells: Vec<oneshot::Sender<Result<R, StoreError>>>) {
    match answers {
        Ok(answers) if answers.len() == tells.len() => {
            for (answer, tell) in answers.into_iter().zip(tells) {
                drop(tell.send(Ok(answer)));
            }
        }
        other => {
            let why = other.err().map_or_else(|| "it answered something else".to_owned(), |e| e.to_string());
            for tell in tells {
                drop(tell.send(Err(StoreError::Unavailable(why.clone()))));
            }
        }
    }
}
