//! Calls that wait together share one round trip: the caller that finds a free round trip makes it, for itself and for all calls
//! that came meanwhile. There is no task in addition to the callers; one that gives up leaves its turn to the next.

use std::collections::VecDeque;

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::{Semaphore, oneshot};

use super::types::QueueError;

struct Caller<T, R> {
    item: T,
    tell: oneshot::Sender<Result<R, QueueError>>,
}

/// The callers that wait for one kind of round trip.
pub(super) struct SharedTrips<T, R> {
    waiting: Mutex<VecDeque<Caller<T, R>>>,
    /// Most calls that share a round trip.
    most: usize,
    /// Round trips that may begin.
    trips: Semaphore,
}

impl<T: Send, R: Send> SharedTrips<T, R> {
    /// Makes a line for round trips of at most so many calls, with so many under way at once.
    pub(super) fn new(most: usize, trips: usize) -> Self {
        Self { waiting: Mutex::default(), most, trips: Semaphore::new(trips) }
    }

    fn waiting(&self) -> MutexGuard<'_, VecDeque<Caller<T, R>>> {
        self.waiting.lock()
    }

    /// Makes a call; `send` carries out several and answers them in their order. A caller that is dropped while it makes
    /// the round trip takes the others' answers with it: they are told that it is not known what became of their calls.
    pub(super) async fn call<F>(&self, item: T, send: impl Fn(Vec<T>) -> F) -> Result<R, QueueError>
    where
        F: Future<Output = Result<Vec<R>, QueueError>>,
    {
        let (tell, mut told) = oneshot::channel();
        self.waiting().push_back(Caller { item, tell });
        loop {
            let permit = tokio::select! {
                biased;
                answer = &mut told => return answer.unwrap_or_else(|_| Err(QueueError::GivenUp)),
                permit = self.trips.acquire() => permit.expect("it is never closed"),
            };
            // Others that were woken by the same answer get the chance to come along.
            tokio::task::yield_now().await;
            let callers: Vec<Caller<T, R>> = {
                let mut waiting = self.waiting();
                let count = waiting.len().min(self.most);
                waiting.drain(..count).collect()
            };
            if callers.is_empty() {
                drop(permit);
                return told.await.unwrap_or_else(|_| Err(QueueError::GivenUp));
            }
            let (items, tells): (Vec<T>, Vec<_>) =
                callers.into_iter().map(|caller| (caller.item, caller.tell)).unzip();
            let answers = send(items).await;
            drop(permit);
            hand_out(answers, tells);
        }
    }
}

/// Gives each caller its answer. Those that gave up meanwhile need none.
fn hand_out<R>(answers: Result<Vec<R>, QueueError>, tells: Vec<oneshot::Sender<Result<R, QueueError>>>) {
    match answers {
        Ok(answers) if answers.len() == tells.len() => {
            for (answer, tell) in answers.into_iter().zip(tells) {
                drop(tell.send(Ok(answer)));
            }
        }
        other => {
            let why = other.err().map_or_else(|| "it answered something else".to_owned(), |e| e.to_string());
            for tell in tells {
                drop(tell.send(Err(QueueError::Shared(why.clone()))));
            }
        }
    }
}
