//! Precedence of a thread that has to kill what may keep every core busy.

use rustix::process::{getpriority_process, setpriority_process};

/// The least nice.
const LEAST_NICE: i32 = -20;

/// Puts this thread before all others, as far as it may, until the value is dropped: what has to be killed may keep every
/// core busy.
#[derive(Debug)]
pub(super) struct First(i32);

impl First {
    pub(super) fn now() -> Option<Self> {
        let before = getpriority_process(None).ok()?;
        // Only few may do that; a job is nicer all the same.
        setpriority_process(None, LEAST_NICE).is_ok().then_some(Self(before))
    }
}

/// Puts a process before all others as far as this one may: it has to come to its end first.
pub(super) fn put_first(pid: i32) {
    // Only few may do that, and who is gone needs nothing.
    let _ = rustix::process::Pid::from_raw(pid).map(|pid| setpriority_process(Some(pid), LEAST_NICE));
}

impl Drop for First {
    fn drop(&mut self) {
        // Becoming nicer is always allowed.
        let _ = setpriority_process(None, self.0);
    }
}
