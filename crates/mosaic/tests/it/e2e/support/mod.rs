//! Common parts of all stories: a server with a data directory of its own, a client, remotes, processes by their marks.

mod answers;
mod http;
mod procs;
mod server;
mod stories;

pub(crate) use answers::{Answers, asking};
pub(crate) use http::Http;
pub(crate) use procs::{Marker, in_environment};
pub(crate) use server::{Home, Server};
pub(crate) use stories::{body, claude_stand_in, fixture_with_gates, script, spawn_claude};

use std::time::{Duration, Instant};

/// Longest wait for anything in these tests: far more than a busy machine needs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Returns the size of a test, such as its rounds: `few`, or as much as the environment variable `name` says.
pub(crate) fn rounds(name: &str, few: usize) -> usize {
    std::env::var(name).map_or(few, |text| text.parse().unwrap())
}

/// Looks again and again until there is an answer; fails with what was waited for. For states that announce
/// themselves to nobody, such as a process that is gone.
pub(crate) fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < end, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
