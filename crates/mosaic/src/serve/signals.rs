//! Signals as orders to a server.

use std::time::Duration;

use anyhow::Context as _;
use mosaic_core::stop::Stop;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use crate::interrupt::{ignores_hangup, next_signal};

/// Time for steps that are under way to come to their end when a server leaves its agents to the next one.
const LEAVING: Duration = Duration::from_secs(10);
/// Longest time that the server takes to end after a second order, whatever hangs.
const INSISTED: Duration = Duration::from_secs(5);
/// SIGXFSZ, the same on every Linux.
const SIZE_LIMIT: i32 = 25;

/// Signals that order a server to end.
pub(super) struct EndSignals {
    term: Signal,
    int: Signal,
    quit: Signal,
    /// `None` where the server was started to outlive its terminal.
    hangup: Option<Signal>,
}

impl EndSignals {
    /// Takes them from now on. Done before the server says that it listens: one that comes while a signal is being taken for the
    /// first time is lost.
    pub(super) fn take() -> anyhow::Result<Self> {
        Ok(Self {
            term: signal(SignalKind::terminate()).context("SIGTERM cannot be waited for")?,
            int: signal(SignalKind::interrupt()).context("SIGINT cannot be waited for")?,
            quit: signal(SignalKind::quit()).context("SIGQUIT cannot be waited for")?,
            hangup: if ignores_hangup() { None } else { signal(SignalKind::hangup()).ok() },
        })
    }

    /// Waits for the next one and returns its kind.
    async fn next(&mut self) -> SignalKind {
        tokio::select! {
            _ = self.term.recv() => SignalKind::terminate(),
            _ = self.int.recv() => SignalKind::interrupt(),
            _ = self.quit.recv() => SignalKind::quit(),
            () = next_signal(&mut self.hangup) => SignalKind::hangup(),
        }
    }

    /// Turns the first one into a stop and the second into an end at once; what then still hangs, such as a disk, is left behind
    /// after [`INSISTED`]. A closed terminal ends the server as orderly as the others do. Agents outlive this server where they can,
    /// and are left to the next one; where they cannot, they get their time and are released with their work. A server that does
    /// not listen yet ends at once, with 128 and the number of the signal: its start may hang in a call to a disk.
    pub(super) async fn orders(
        mut self,
        stop: watch::Sender<Stop>,
        drain: Duration,
        listens: watch::Receiver<bool>,
    ) -> anyhow::Result<()> {
        let alone = agents_end_with_us();
        let mut count = 0;
        // Counted from the second order: more of them must not put the end off.
        let mut insisted = tokio::time::Instant::now();
        loop {
            tokio::select! {
                kind = self.next() => if !*listens.borrow() {
                    std::process::exit(128 + kind.as_raw_value());
                },
                () = tokio::time::sleep_until(insisted), if count > 1 && !alone => {
                    anyhow::bail!("a part of the server did not end after it was told twice, and was left; agents run on under their supervisors");
                }
            }
            count += 1;
            if count == 2 {
                insisted = tokio::time::Instant::now() + INSISTED;
            }
            let order = match (alone, count) {
                (true, 1) => Stop::Drain(drain),
                (true, _) => Stop::Now,
                (false, 1) => Stop::Leave(LEAVING),
                (false, _) => Stop::Leave(Duration::ZERO),
            };
            if count == 1 && alone {
                tracing::info!(
                    seconds = drain.as_secs_f64(),
                    "stopping: nothing new is taken, running agents get their time; again to stop at once"
                );
            }
            stop.send_replace(order);
        }
    }
}

/// Takes the signals that would end the server by default although nobody who sends them means that: a log rotation's SIGUSR1, a
/// timer's SIGALRM, and SIGXFSZ, which makes a file that reaches a size limit an error of that write. They are handled and not
/// ignored, because programs that are started inherit what is ignored. One that cannot be taken keeps its effect.
pub(super) fn harmless_signals() -> Vec<Signal> {
    let user =
        [SignalKind::user_defined1(), SignalKind::user_defined2(), SignalKind::alarm(), SignalKind::io()];
    // SIGXCPU, SIGXFSZ, SIGVTALRM, SIGPROF, SIGPWR, and the real-time signals that are free for everybody.
    let others = [24, SIZE_LIMIT, 26, 27, 30].into_iter().chain(34..=64).map(SignalKind::from_raw);
    user.into_iter().chain(others).filter_map(|kind| signal(kind).ok()).collect()
}

/// Tells whether nothing can outlive this process: it is the first of its container, which ends with it.
pub(super) fn agents_end_with_us() -> bool {
    // The kernel kills every process of a pid namespace together with its first one, supervisors included.
    std::process::id() == 1
}
