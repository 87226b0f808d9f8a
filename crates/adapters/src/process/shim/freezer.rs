//! Freezing a job: by its cgroup, which takes everything at once, else by SIGSTOP to the whole tree, again and again
//! until nothing runs.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use mosaic_core::limits;
use rustix::process::Signal;

use super::super::cgroup::Cgroup;
use super::super::linux::{self, Seen};
use super::ladder::{Ladder, pause};

impl Ladder {
    /// Stops everything from running on; false when something still runs after [`limits::FREEZING`].
    pub(super) fn freeze(&self) -> bool {
        let deadline = Instant::now() + limits::FREEZING;
        let cgroup = self.cgroup.as_ref().filter(|cgroup| cgroup.freeze(true).is_ok());
        // Two looks in a row must find nothing that runs: one alone can pass between a fork and its parent's stop.
        let mut still = 0;
        while still < 2 {
            if Instant::now() > deadline {
                return false;
            }
            let running = self.running(cgroup);
            still = if running.is_empty() && cgroup.is_none_or(Cgroup::is_frozen) { still + 1 } else { 0 };
            // SIGSTOP goes to processes outside of the cgroup too: whoever left it before the order would
            // otherwise go on working for an agent that counts as frozen.
            for seen in running {
                linux::signal(seen.process, Signal::STOP);
            }
            pause(Duration::from_millis(1));
        }
        true
    }

    /// Lets everything run on.
    pub(super) fn thaw(&self) {
        for seen in self.live().iter().filter(|seen| seen.stopped) {
            linux::signal(seen.process, Signal::CONT);
        }
        if let Some(cgroup) = &self.cgroup {
            // Fails only when the cgroup is gone, and everybody with it.
            let _ = cgroup.freeze(false);
        }
    }

    /// Lists what runs and is not held by a frozen cgroup.
    fn running(&self, frozen: Option<&Cgroup>) -> Vec<Seen> {
        let held: HashSet<i32> = frozen.map(Cgroup::members).unwrap_or_default().into_iter().collect();
        let mut live = self.live();
        live.retain(|seen| !seen.stopped && !held.contains(&seen.process.pid));
        live
    }
}
