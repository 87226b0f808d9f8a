//! The resource usage of an agent: by its cgroup's own books where the kernel keeps them, else summed over `/proc`. A
//! process counts when it is in the job's cgroup or below its supervisor, which is known by number and start time.
//!
//! Sums over live processes go back when one ends without having been waited for, so the newest sums are remembered
//! per agent and never fall below them while one of its jobs runs.

use std::collections::{HashMap, HashSet};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mosaic_core::domain::ids::AgentId;
use mosaic_core::limits;
use mosaic_core::ports::processes::Usage;
use parking_lot::Mutex;

use super::cgroup::{self, Cgroup};
use super::job_list;
use super::layout::{JobDir, ShimFile};
use super::linux::{self, ProcessRef, Seen};

/// Reads usage and remembers what must not go back.
#[derive(Debug, Default)]
pub(super) struct Meter {
    table: Mutex<Option<(Instant, Arc<Vec<Seen>>)>>,
    newest: Mutex<HashMap<AgentId, Newest>>,
}

/// The newest sums of one agent with the jobs they are of.
#[derive(Debug, Clone, Default)]
struct Newest {
    /// Sums of jobs that have ended since the agent was first seen.
    ended: Sums,
    /// Sums of its running jobs, by their supervisors.
    running: HashMap<ProcessRef, Sums>,
}

/// Sums that only grow.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Sums {
    cpu: Duration,
    read: u64,
    written: u64,
}

impl Sums {
    fn plus(self, other: Self) -> Self {
        Self {
            cpu: self.cpu.saturating_add(other.cpu),
            read: self.read.saturating_add(other.read),
            written: self.written.saturating_add(other.written),
        }
    }

    fn at_least(self, other: Self) -> Self {
        Self {
            cpu: self.cpu.max(other.cpu),
            read: self.read.max(other.read),
            written: self.written.max(other.written),
        }
    }
}

/// The resource usage of one running job.
#[derive(Debug, Clone, Copy, Default)]
struct JobUsage {
    sums: Sums,
    memory_bytes: u64,
    processes: u32,
}

impl Meter {
    /// Sums up the agent's running jobs. Blocks on `/proc` and the cgroup hierarchy.
    pub(super) fn read(&self, data: &Path, agent: AgentId, parent: Option<&Path>) -> io::Result<Usage> {
        let boot = linux::boot_id();
        let mut now: HashMap<ProcessRef, JobUsage> = HashMap::new();
        for dir in job_list::unended(data, agent)? {
            // The record of the supervisor is written by a process of the same user as the agent, so of it
            // only a number is believed that the kernel confirms together with its start time.
            // A job that is just starting or ending has no books worth reading.
            let Ok(Some(shim)) = dir.load::<ShimFile>() else { continue };
            if shim.boot_id == boot {
                now.insert(shim.shim, self.job(&dir, agent, &shim, parent));
            }
        }
        let sums = self.remember(agent, &now);
        Ok(Usage {
            cpu: sums.cpu,
            memory_bytes: now.values().map(|job| job.memory_bytes).sum(),
            processes: now.values().map(|job| job.processes).sum(),
            read_bytes: sums.read,
            written_bytes: sums.written,
        })
    }

    fn job(&self, dir: &JobDir, agent: AgentId, shim: &ShimFile, parent: Option<&Path>) -> JobUsage {
        let group = shim.cgroup.as_deref().and_then(|path| cgroup::of_job(dir, agent, Some(path), parent));
        let tree = || {
            let all = self.table();
            // Whoever has the supervisor's number without its start time is a stranger.
            let is_there = all.iter().any(|seen| seen.process == shim.shim);
            if is_there { linux::below(&all, &[shim.shim.pid]) } else { Vec::new() }
        };
        let inside: Vec<Seen> = match &group {
            Some(group) => {
                group.members().into_iter().take(limits::MEASURED_PROCESSES).filter_map(linux::look).collect()
            }
            None => tree(),
        };
        let mut usage = walked(&inside, shim.shim, group.is_none());
        if let Some(group) = group {
            books(&group, &mut usage);
        }
        usage
    }

    /// Returns the process table, read again only after a moment: agents are asked about one after the other.
    fn table(&self) -> Arc<Vec<Seen>> {
        let mut table = self.table.lock();
        match &*table {
            Some((at, all)) if at.elapsed() < limits::PROCESS_TABLE => Arc::clone(all),
            _ => {
                let all = Arc::new(linux::everything());
                *table = Some((Instant::now(), Arc::clone(&all)));
                all
            }
        }
    }

    /// Takes new sums and returns the agent's, which never are less than before while one of its jobs runs.
    fn remember(&self, agent: AgentId, now: &HashMap<ProcessRef, JobUsage>) -> Sums {
        let mut newest = self.newest.lock();
        if now.is_empty() {
            newest.remove(&agent);
            return Sums::default();
        }
        if newest.len() >= limits::USAGE_LEDGERS && !newest.contains_key(&agent) {
            return now.values().fold(Sums::default(), |sum, job| sum.plus(job.sums));
        }
        let known = newest.entry(agent).or_default();
        // A job that is not among the running ones any more has ended. Its last sums are added to the agent's
        // for good, as the kernel forgets them with the process.
        let ended: Vec<Sums> =
            known.running.iter().filter(|(shim, _)| !now.contains_key(shim)).map(|(_, sums)| *sums).collect();
        known.ended = ended.into_iter().fold(known.ended, Sums::plus);
        let before = std::mem::take(&mut known.running);
        known.running = now
            .iter()
            .map(|(shim, job)| (*shim, job.sums.at_least(before.get(shim).copied().unwrap_or_default())))
            .collect();
        known.running.values().fold(known.ended, |sum, job| sum.plus(*job))
    }
}

/// Sums over processes that were seen. `waited` adds what the supervisor waited for: orphans of the job end there.
fn walked(inside: &[Seen], shim: ProcessRef, waited: bool) -> JobUsage {
    let tick = |ticks: u64| {
        Duration::from_millis(ticks.saturating_mul(1000) / rustix::param::clock_ticks_per_second().max(1))
    };
    let page = u64::try_from(rustix::param::page_size()).unwrap_or(4096);
    let mut usage = JobUsage::default();
    let mut known = HashSet::new();
    for seen in inside.iter().filter(|seen| seen.process != shim && known.insert(seen.process.pid)) {
        let Some(figures) = linux::figures(seen.process) else { continue };
        usage.sums.cpu += tick(figures.cpu);
        usage.sums.read += figures.read;
        usage.sums.written += figures.written;
        // A zombie has used its time and has given its memory back.
        if !seen.zombie {
            usage.memory_bytes += figures.pages * page;
            usage.processes += 1;
        }
    }
    if let Some(figures) = linux::figures(shim).filter(|_| waited) {
        usage.sums.cpu += tick(figures.children);
    }
    usage
}

/// Puts the cgroup's own figures in the place of sums where the kernel keeps them: they miss nothing.
fn books(group: &Cgroup, usage: &mut JobUsage) {
    let number = |file: &str| group.read(file).and_then(|text| text.trim().parse::<u64>().ok());
    let cpu = group.read("cpu.stat");
    let cpu = cpu.as_deref().and_then(|text| keyed(text, "usage_usec"));
    if let Some(usec) = cpu {
        usage.sums.cpu = Duration::from_micros(usec);
    }
    if let Some(bytes) = number("memory.current") {
        usage.memory_bytes = bytes;
    }
    if let Some(count) = number("pids.current") {
        // The walk ends after so many processes. This file counts all of them, threads included, so the larger number is
        // taken.
        usage.processes = usage.processes.max(u32::try_from(count).unwrap_or(u32::MAX));
    }
    if let Some(text) = group.read("io.stat") {
        let sum = |name: &str| -> u64 {
            text.split_ascii_whitespace()
                .filter_map(|field| field.strip_prefix(name)?.parse::<u64>().ok())
                .sum()
        };
        usage.sums.read = usage.sums.read.max(sum("rbytes="));
        usage.sums.written = usage.sums.written.max(sum("wbytes="));
    }
}

fn keyed(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(key)?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn used(ms: u64) -> JobUsage {
        let sums = Sums { cpu: Duration::from_millis(ms), read: ms, written: ms };
        JobUsage { sums, memory_bytes: 1, processes: 1 }
    }

    #[test]
    fn sums_never_go_back_while_a_job_runs_and_start_anew_afterwards() {
        let (meter, agent) = (Meter::default(), AgentId(uuid::Uuid::new_v4()));
        let job = |pid: i32| ProcessRef { pid, start: 1 };
        let sum = |jobs: &[(i32, u64)]| {
            let now = jobs.iter().map(|(pid, ms)| (job(*pid), used(*ms))).collect();
            u64::try_from(meter.remember(agent, &now).cpu.as_millis()).unwrap()
        };
        assert_eq!(sum(&[(1, 100)]), 100);
        assert_eq!(sum(&[(1, 40)]), 100, "a child that nobody waited for took its time with it");
        assert_eq!(sum(&[(1, 120), (2, 5)]), 125);
        assert_eq!(sum(&[(2, 7)]), 127, "a job that ended took its time with it");
        assert_eq!(sum(&[]), 0);
        assert_eq!(sum(&[(3, 1)]), 1);
    }

    #[test]
    fn a_cgroups_books_are_read_by_key() {
        let text = "usage_usec 1234\nuser_usec 1000\nsystem_usec 234\n";
        assert_eq!(keyed(text, "usage_usec"), Some(1234));
        assert_eq!(keyed(text, "nr_periods"), None);
    }
}
