//! Ctrl-C, SIGTERM and SIGHUP as events instead of a sudden end, for the commands that have something to say or to
//! stop first. A SIGHUP that is ignored from the start (`nohup`) stays ignored.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;

use parking_lot::Mutex;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::exit::Exit;

/// Is told of an interruption; returns false once nobody listens any more.
type Listener = Box<dyn FnMut() -> bool + Send>;

/// Interruptions are caught from now on to the end of the program.
pub(crate) struct Interrupts {
    caught: Arc<AtomicBool>,
    listener: Arc<Mutex<Option<Listener>>>,
}

/// Catches interruptions. Returns when the handlers stand; when they cannot be installed an interruption ends the
/// program at once, as it does everywhere else.
pub(crate) fn catch() -> Interrupts {
    let interrupts = Interrupts { caught: Arc::default(), listener: Arc::default() };
    let (caught, listener) = (Arc::clone(&interrupts.caught), Arc::clone(&interrupts.listener));
    let (stands, ready) = channel();
    std::thread::spawn(move || {
        let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return };
        runtime.block_on(async {
            let (Ok(mut int), Ok(mut term)) =
                (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
            else {
                return;
            };
            let mut hangup = if ignores_hangup() { None } else { signal(SignalKind::hangup()).ok() };
            // Whoever waits may be gone only together with the program.
            let _ = stands.send(());
            loop {
                tokio::select! {
                    _ = int.recv() => {}
                    _ = term.recv() => {}
                    () = next_signal(&mut hangup) => {}
                }
                let again = caught.swap(true, Ordering::SeqCst);
                let mut listener = listener.lock();
                let heard = match listener.as_mut() {
                    Some(told) => told(),
                    // Before anybody listens the first one is kept.
                    None => !again,
                };
                if !heard {
                    std::process::exit(Exit::Interrupted as i32);
                }
            }
        });
    });
    // An error means that the handlers could not be installed.
    let _ = ready.recv();
    interrupts
}

/// Waits for a signal that is caught; indefinitely for one that is not.
pub(crate) async fn next_signal(hangup: &mut Option<Signal>) {
    match hangup {
        Some(hangup) => {
            hangup.recv().await;
        }
        None => std::future::pending().await,
    }
}

/// Tells whether whoever started this program wants hang-ups ignored.
pub(crate) fn ignores_hangup() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    // Bit 0 stands for signal 1, which is SIGHUP.
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & 1 == 1)
}

impl Interrupts {
    /// Tells whether there was an interruption so far.
    pub(crate) fn caught(&self) -> bool {
        self.caught.load(Ordering::SeqCst)
    }

    /// Calls `told` on every interruption from now on, in a thread of its own, and at once when there was one
    /// already. Once it returns false the next interruption ends the program at once.
    pub(crate) fn tell(&self, mut told: impl FnMut() -> bool + Send + 'static) {
        let mut listener = self.listener.lock();
        // The signal thread sets `caught` before it takes this lock. So an interruption is either seen here, or it
        // finds the listener.
        if self.caught() {
            told();
        }
        *listener = Some(Box::new(told));
    }
}
