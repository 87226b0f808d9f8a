//! Threads that a disk may keep. The async runtime's own are not used for that: it waits for them when the program ends, and
//! its tasks stand still while all of them hang.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::time::Duration;

use mosaic_core::limits;
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::oneshot;
use tracing::Instrument as _;

/// Time for which a thread without work is kept for the next call: calls come in bursts.
const IDLE: Duration = Duration::from_secs(5);

type Work = Box<dyn FnOnce() + Send>;

/// An idle thread's number, and the way to give it work.
type Idle = (usize, SyncSender<Work>);

static THREADS: AtomicUsize = AtomicUsize::new(0);
static NUMBER: AtomicUsize = AtomicUsize::new(0);
static WAITING: Mutex<Vec<Idle>> = Mutex::new(Vec::new());

fn waiting() -> MutexGuard<'static, Vec<Idle>> {
    WAITING.lock()
}

/// Does the work on a thread that may hang; its answer comes over the channel. Errors when too many hang already.
pub(crate) fn begin<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<oneshot::Receiver<T>> {
    let (tell, answer) = oneshot::channel();
    start(Box::new(move || {
        // The caller may have given up.
        let _ = tell.send(work());
    }))?;
    Ok(answer)
}

/// Does the work on a thread that may hang, and returns what it came to. The caller waits as long as the disk does, but
/// holds up nobody else, and may give up at any time.
pub async fn run<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
    begin(work)?.await.map_err(|_| broken())
}

/// Drives a future whose steps may block on a thread that may hang. A caller that gives up ends it at its next step.
pub async fn drive<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> io::Result<T> {
    let handle = tokio::runtime::Handle::current();
    let (alive, ended) = oneshot::channel::<()>();
    let work = async move {
        tokio::select! {
            // The end of the caller is looked at first, so that a caller that gave up is noticed before the
            // next step and not after it.
            biased;
            _ = ended => None,
            done = work => Some(done),
        }
    };
    let work = work.in_current_span();
    let done = run(move || handle.block_on(work)).await;
    drop(alive);
    done?.ok_or_else(broken)
}

/// Drives a future as [`drive`] does, at most this long. `None` when it is not done by then, or broke.
pub(crate) async fn drive_for<T: Send + 'static>(
    patience: Duration,
    work: impl Future<Output = T> + Send + 'static,
) -> Option<T> {
    tokio::time::timeout(patience, drive(work)).await.ok()?.ok()
}

/// Does the work on a thread that may hang and waits for it at most this long: for callers that may block themselves, but
/// not for as long as a disk does. `None` when it is not done by then.
pub fn within<T: Send + 'static>(patience: Duration, work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let (tell, answer) = mpsc::sync_channel(1);
    start(Box::new(move || {
        // The caller may have given up.
        let _ = tell.send(work());
    }))
    .ok()?;
    answer.recv_timeout(patience).ok()
}

fn broken() -> io::Error {
    io::Error::other("the call broke")
}

/// Gives the work to a thread, in the caller's runtime if there is one: what goes on afterwards, such as a deletion, is begun there.
fn start(work: Work) -> io::Result<()> {
    let runtime = tokio::runtime::Handle::try_current().ok();
    let mut work: Work = Box::new(move || {
        let _entered = runtime.as_ref().map(tokio::runtime::Handle::enter);
        work();
    });
    loop {
        let Some((_, thread)) = waiting().pop() else { return another(work) };
        match thread.send(work) {
            Ok(()) => return Ok(()),
            // It broke; the next one is asked.
            Err(returned) => work = returned.0,
        }
    }
}

fn another(work: Work) -> io::Result<()> {
    let place = ThreadSlot::take().ok_or_else(|| {
        let why = format!("{} calls to the disk are under way and do not return", limits::DISK_THREADS);
        io::Error::new(io::ErrorKind::TimedOut, why)
    })?;
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let serve = move || {
        let _place = place;
        serve(number, work);
    };
    std::thread::Builder::new().name("disk".to_owned()).spawn(serve)?;
    Ok(())
}

/// Does one piece of work after the other, until none came for a while.
fn serve(number: usize, mut work: Work) {
    let (sender, receiver) = mpsc::sync_channel(1);
    loop {
        work();
        // The thread puts itself into the list only when it is free. A thread that a disk keeps is therefore
        // never given anything, and those that work are used again, the newest first.
        waiting().push((number, sender.clone()));
        work = match next(number, &receiver) {
            Some(work) => work,
            None => return,
        };
    }
}

fn next(number: usize, receiver: &Receiver<Work>) -> Option<Work> {
    match receiver.recv_timeout(IDLE) {
        Ok(work) => Some(work),
        Err(RecvTimeoutError::Disconnected) => None,
        Err(RecvTimeoutError::Timeout) => {
            let before = {
                let mut waiting = waiting();
                let before = waiting.len();
                waiting.retain(|(one, _)| *one != number);
                before != waiting.len()
            };
            // Whoever took this thread from the list gives it work right now.
            if before { None } else { receiver.recv().ok() }
        }
    }
}

/// One thread's place among those there may be.
struct ThreadSlot;

impl ThreadSlot {
    fn take() -> Option<Self> {
        let more = |n: usize| (n < limits::DISK_THREADS).then_some(n + 1);
        THREADS.fetch_update(Ordering::SeqCst, Ordering::SeqCst, more).ok()?;
        Some(Self)
    }
}

impl Drop for ThreadSlot {
    fn drop(&mut self) {
        THREADS.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn work_that_hangs_holds_up_no_task_and_ends_with_its_caller() {
        let (release, held) = mpsc::channel::<()>();
        let hangs = tokio::spawn(run(move || held.recv().is_ok()));
        // This test's runtime has one thread; it goes on.
        for n in 0..100 {
            assert_eq!(run(move || n + 1).await.unwrap(), n + 1);
        }
        release.send(()).unwrap();
        assert!(hangs.await.unwrap().unwrap());
        assert_eq!(run(|| tokio::spawn(async { 7 })).await.unwrap().await.unwrap(), 7);
        let (begun, mut dropped) = (oneshot::channel(), oneshot::channel::<()>());
        let work = async move {
            begun.0.send(()).unwrap();
            let _ends_with_this = dropped.0;
            std::future::pending::<()>().await;
        };
        let driven = tokio::spawn(drive(work));
        begun.1.await.unwrap();
        driven.abort();
        assert!((&mut dropped.1).await.is_err(), "it is dropped once its caller is gone");
    }
}
