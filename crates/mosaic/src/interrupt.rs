//! Ctrl-C as an event instead of a sudden end, for the commands that have something to say or to stop first.

use std::sync::mpsc::channel;

use tokio::signal::unix::{SignalKind, signal};

use crate::exit::Exit;

/// Calls `told` on every Ctrl-C from now on, in a thread of its own. Once `told` returns false (nobody listens any
/// more) the next Ctrl-C ends the program at once. Returns when the handler stands; when it cannot be installed
/// Ctrl-C ends the program at once, as it does everywhere else.
pub(crate) fn on_interrupt(mut told: impl FnMut() -> bool + Send + 'static) {
    let (stands, ready) = channel();
    std::thread::spawn(move || {
        let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return };
        runtime.block_on(async {
            let Ok(mut interrupts) = signal(SignalKind::interrupt()) else { return };
            // Whoever waits may be gone only together with the program.
            let _ = stands.send(());
            while interrupts.recv().await.is_some() {
                if !told() {
                    std::process::exit(Exit::Interrupted as i32);
                }
            }
        });
    });
    // An error means that the handler could not be installed.
    let _ = ready.recv();
}
