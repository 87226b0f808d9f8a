//! Notices a fork bomb where the kernel does not count for us. Counting a job's processes takes a look at the whole
//! process table, so it is done only when the machine as a whole has become fuller, and now and then.

use std::time::Instant;

use mosaic_core::limits;

use super::ladder::Ladder;

/// The number of tasks on the machine at the last count, the bound of the job's processes, and the times of the next looks.
#[derive(Debug)]
pub(super) struct ForkBombGuard {
    most: u32,
    then: u64,
    next: Instant,
    next_look: Instant,
}

impl ForkBombGuard {
    /// Allows so many processes.
    pub(super) fn new(most: u32, now: Instant) -> Self {
        Self { most, then: tasks(), next: now + limits::FORK_BOMB_LOOK, next_look: now }
    }

    /// Returns how many processes the job has when they are too many.
    pub(super) fn is_over(&mut self, now: Instant, ladder: &Ladder) -> Option<u32> {
        if now < self.next_look {
            return None;
        }
        self.next_look = now + limits::STOP_LOOK;
        // One number of one small file says how many tasks the machine has. Only when that has grown by half
        // of what the job may have is it worth finding out whose they are.
        let all = tasks();
        self.then = self.then.min(all);
        if all < self.then + u64::from(self.most / 2) && now < self.next {
            return None;
        }
        (self.then, self.next) = (all, now + limits::FORK_BOMB_LOOK);
        Some(ladder.count()).filter(|count| *count > self.most)
    }
}

/// Returns how many processes and threads the machine has, from `/proc/loadavg` (fourth field, after the slash).
fn tasks() -> u64 {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let field = text.split(' ').nth(3).and_then(|field| field.split('/').nth(1));
    field.and_then(|count| count.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_machine_has_processes() {
        assert!(super::tasks() > 0);
    }
}
