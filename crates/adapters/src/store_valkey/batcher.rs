//! Calls of one verb that wait at this client at the same time go to the server as one script, each with an answer of its
//! own: while one call is on its way, the next ones gather. They are carried out in the order in which they came.

use mosaic_core::limits::{STORE_BATCH_BYTES, STORE_SHARED_BATCH, STORE_WAITING_WRITES};
use mosaic_core::ports::store::StoreError;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::args::{Args, strange};

/// A call that waits, with who waits for its answer.
struct Waiting<A> {
    item: Args,
    answer: oneshot::Sender<Result<A, StoreError>>,
}

/// Gathers the calls of one verb.
pub(super) struct Batcher<A> {
    calls: mpsc::Sender<Waiting<A>>,
    task: JoinHandle<()>,
}

impl<A> Drop for Batcher<A> {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl<A: Send + 'static> Batcher<A> {
    /// Starts a batcher; `run` carries out several calls at once, one answer each.
    pub(super) fn start<Run, Answers>(run: Run) -> Self
    where
        Run: Fn(Vec<Args>) -> Answers + Send + 'static,
        Answers: Future<Output = Result<Vec<A>, StoreError>> + Send,
    {
        let (calls, mut waiting) = mpsc::channel(STORE_WAITING_WRITES);
        // One round at a time: two scripts under way at once gained nothing measurable (docs/valkey.md), and the order in which
        // calls came is the order in which the server sees them.
        let task = tokio::spawn(async move {
            let mut left = None;
            while let Some((items, callers)) = gather(&mut waiting, &mut left).await {
                answer(run(items).await, callers);
            }
        });
        Self { calls, task }
    }

    /// Has a call carried out together with others.
    pub(super) async fn call(&self, item: Args) -> Result<A, StoreError> {
        let closed = || StoreError::Unavailable("the store was closed".to_owned());
        let (answer, told) = oneshot::channel();
        self.calls.send(Waiting { item, answer }).await.map_err(|_| closed())?;
        told.await.map_err(|_| closed())?
    }
}

type Callers<A> = Vec<oneshot::Sender<Result<A, StoreError>>>;

/// Waits for a call and takes those behind it, as long as they fit. What does not fit is `left` for the next round.
async fn gather<A>(
    waiting: &mut mpsc::Receiver<Waiting<A>>,
    left: &mut Option<Waiting<A>>,
) -> Option<(Vec<Args>, Callers<A>)> {
    let first = match left.take() {
        Some(first) => first,
        None => waiting.recv().await?,
    };
    let mut bytes = first.item.bytes();
    let (mut items, mut callers) = (vec![first.item], vec![first.answer]);
    while items.len() < STORE_SHARED_BATCH {
        // What has come is taken, what has not is not waited for: a call alone pays no delay for the chance of company.
        let Ok(next) = waiting.try_recv() else { break };
        // The server carries a script out as a whole and answers nobody meanwhile, so the size of one is
        // bounded. What was taken from the line cannot be put back, so it waits for the next round here.
        bytes += next.item.bytes();
        if bytes > STORE_BATCH_BYTES {
            *left = Some(next);
            break;
        }
        items.push(next.item);
        callers.push(next.answer);
    }
    Some((items, callers))
}

fn answer<A>(answers: Result<Vec<A>, StoreError>, callers: Callers<A>) {
    let refuse = |why: &str, callers: Callers<A>| {
        for caller in callers {
            // Whoever does not wait any more needs no answer.
            drop(caller.send(Err(StoreError::Unavailable(why.to_owned()))));
        }
    };
    match answers {
        Ok(answers) if answers.len() == callers.len() => {
            for (caller, answer) in callers.into_iter().zip(answers) {
                drop(caller.send(Ok(answer)));
            }
        }
        // With an answer too few or too many it is not known which call each of them belongs to, so no caller may take
        // one for its own.
        Ok(_) => refuse(&strange("a write").to_string(), callers),
        Err(StoreError::Unavailable(why)) => refuse(&why, callers),
        // This error keeps its kind for every caller: the store is there and its replicas are not, which operators are
        // told by that name and mend in another way.
        Err(StoreError::NotSafe(why)) => {
            for caller in callers {
                drop(caller.send(Err(StoreError::NotSafe(why.clone()))));
            }
        }
        Err(other) => refuse(&other.to_string(), callers),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test]
    async fn calls_that_wait_together_go_together_each_with_its_answer() {
        let rounds = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&rounds);
        let batcher = Arc::new(Batcher::start(move |items: Vec<Args>| {
            counted.fetch_add(1, Ordering::Relaxed);
            async move {
                tokio::task::yield_now().await;
                Ok(items.into_iter().map(|item| item.done().remove(0)).collect::<Vec<_>>())
            }
        }));
        let mut callers = tokio::task::JoinSet::new();
        for n in 0..500u64 {
            let batcher = Arc::clone(&batcher);
            callers.spawn(async move {
                let answer = batcher.call(Args::default().number(n)).await.unwrap();
                assert_eq!(answer, n.to_string().into_bytes());
            });
        }
        callers.join_all().await;
        let rounds = rounds.load(Ordering::Relaxed);
        assert!((4..100).contains(&rounds), "{rounds} rounds for 500 calls");
    }

    #[tokio::test]
    async fn a_round_that_fails_is_told_to_everybody_in_it() {
        let batcher = Batcher::<u64>::start(|_| async { Err(StoreError::Unavailable("gone".to_owned())) });
        let answer = batcher.call(Args::default()).await;
        assert!(matches!(&answer, Err(StoreError::Unavailable(why)) if why == "gone"), "{answer:?}");
        let batcher = Batcher::<u64>::start(|_| async { Ok(vec![1, 2]) });
        assert!(batcher.call(Args::default()).await.is_err(), "an answer too many is nobody's");
    }

    #[tokio::test]
    async fn a_large_call_waits_for_the_next_round() {
        let batcher = Arc::new(Batcher::start(|items: Vec<Args>| async move {
            let bytes: usize = items.iter().map(Args::bytes).sum();
            Ok(vec![(items.len(), bytes); items.len()])
        }));
        let mut callers = tokio::task::JoinSet::new();
        for _ in 0..4 {
            let batcher = Arc::clone(&batcher);
            let item = Args::default().bytes_of(vec![0; STORE_BATCH_BYTES * 2 / 3]);
            callers.spawn(async move { batcher.call(item).await.unwrap() });
        }
        for (together, _) in callers.join_all().await {
            assert_eq!(together, 1);
        }
    }
}
