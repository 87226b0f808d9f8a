//! Processes by what they cannot hide: their command line, and the environment they were started with.

use std::fs;
use std::sync::atomic::{AtomicU32, Ordering};

/// A number of seconds that no other process sleeps for, so that `sleep <marker>` can be found again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Marker(String);

impl Marker {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        Self(format!("86400.{}{n:03}", std::process::id()))
    }

    /// Returns processes that have it as an argument.
    pub(crate) fn alive(&self) -> Vec<String> {
        in_cmdline(&self.0)
    }
}

impl std::fmt::Display for Marker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

fn looking_in(file: &str, found: impl Fn(&[u8]) -> bool) -> Vec<String> {
    let pids = fs::read_dir("/proc").unwrap().flatten();
    let pids = pids.filter(|entry| entry.file_name().to_string_lossy().bytes().all(|b| b.is_ascii_digit()));
    let mut all = Vec::new();
    for entry in pids {
        // A process that ended after the listing has no such file any more, and is not found.
        let text = fs::read(entry.path().join(file)).unwrap_or_default();
        if found(&text) {
            let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            let line = String::from_utf8_lossy(&line).replace('\0', " ");
            all.push(format!("{}: {line}", entry.file_name().to_string_lossy()));
        }
    }
    all
}

/// Returns processes with exactly this argument.
fn in_cmdline(argument: &str) -> Vec<String> {
    looking_in("cmdline", |text| text.split(|b| *b == 0).any(|word| word == argument.as_bytes()))
}

/// Returns processes that were started with this entry in their environment.
pub(crate) fn in_environment(entry: &str) -> Vec<String> {
    looking_in("environ", |text| text.split(|b| *b == 0).any(|word| word == entry.as_bytes()))
}
