//! Ctrl-C as an event instead of a sudden end, for the commands that have something to say or to stop first.

/// Calls `told` on every Ctrl-C from now on, in a thread of its own, until it returns false. When the handler cannot be
/// installed Ctrl-C ends the program at once, as it does everywhere else.
pub(crate) fn on_interrupt(mut told: impl FnMut() -> bool + Send + 'static) {
    std::thread::spawn(move || {
        let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return };
        runtime.block_on(async {
            while tokio::signal::ctrl_c().await.is_ok() {
                if !told() {
                    return;
                }
            }
        });
    });
}
