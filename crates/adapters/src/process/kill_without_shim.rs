//! Ends a job whose supervisor is dead, never came, or does not answer: by its cgroup, its session, and the
//! agent's id in the environment of its processes, together with all their descendants.

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use mosaic_core::domain::ids::AgentId;
use mosaic_core::limits;
use mosaic_core::ports::processes::Exit;
use rustix::process::Signal;

use crate::disk;

use super::cgroup::{self, Cgroup};
use super::fence::Fence;
use super::layout::{ExitFile, JobDir, LAYOUT, ShimFile, SpecFile};
use super::linux::{self, Seen};
use super::precedence::First;
use super::process_table::ProcessTable;
use super::rung::Rung;
use super::v1_freezer;

/// Longest rest between two looks at what is dying.
const LONGEST_REST: Duration = Duration::from_millis(500);

/// The extent of the search for a job's processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    /// Only what belongs to this job for certain.
    Job,
    /// Also everything that has the agent's id in its environment.
    Agent,
}

/// Counts of live processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) before: u32,
    pub(super) after: u32,
}

/// Kills what is left of a job and records its end, so that it cannot start late. Blocks, at most for the time
/// that a proof may take.
pub(super) fn end(dir: &JobDir, agent: AgentId, reach: Reach, parent: Option<&Path>) -> io::Result<Counts> {
    let sweep = Arc::new(Sweep::new(dir, agent, reach, parent)?);
    let counts = sweep.end();
    if counts.after > 0 {
        return Ok(counts);
    }
    let (place, found) = (dir.clone(), Arc::clone(&sweep));
    // On a disk that hangs it is recorded whenever that answers again.
    let recorded = disk::within(limits::DISK_ANSWER, move || record(&place, &found, counts.before));
    if let Err(e) = recorded.unwrap_or_else(|| Err(io::Error::other("the disk does not answer"))) {
        // A full disk, or a directory that the agent has spoiled, must not make a kill fail that is done. No supervisor
        // can start late either: it could not write who it is. Whoever looks at the job again records its end.
        tracing::warn!(agent.id = %agent, job = %dir.label(), error = %e, "the end of a job could not be recorded");
    }
    Ok(counts)
}

/// Kills whatever is the agent's, whatever its records say: they lie where it could write. Blocks like [`end`].
pub(super) fn sweep(
    data: &Path,
    agent: AgentId,
    parent: Option<&Path>,
    fences: Option<&Path>,
) -> io::Result<Counts> {
    let cgroups = parent.map(|parent| cgroup::of_agent(parent, data, agent)).unwrap_or_default();
    let fences = fences.map(|parent| Fence::of_agent(parent, data, agent)).unwrap_or_default();
    let sweep = Sweep { fences, ..Sweep::of_agent(Some(data), agent, cgroups)? };
    Ok(sweep.end())
}

impl Sweep {
    /// Kills until nothing is left, or the deadline.
    fn end(&self) -> Counts {
        // What is to be killed may keep every core busy, and this thread has to run between its forks.
        let _first = First::now();
        let deadline = Instant::now() + limits::STOP_PROOF;
        // A fork bomb grows while the process table is read. A cgroup is killed by one write, whatever is in
        // it, so that is done first.
        // Nothing is looked up or counted before what can be killed as a whole is.
        let dying = self.kill_groups();
        let mut before = None;
        let (mut clean, mut looks) = (0, 0_u32);
        // Two looks in a row must find nothing: one alone can pass between a fork and its parent's end.
        while clean < 2 && Instant::now() < deadline {
            let began = Instant::now();
            let found = self.find();
            before.get_or_insert(count(&found).max(u32::try_from(dying).unwrap_or(u32::MAX)));
            clean = if found.is_empty() && self.is_empty() { clean + 1 } else { 0 };
            self.kill(&found);
            if looks > 0 {
                self.release(&found);
            }
            looks += 1;
            if clean == 0 {
                // Who dies needs the processor too: half of the time is theirs.
                std::thread::sleep(began.elapsed().clamp(Duration::from_millis(1), LONGEST_REST));
            }
        }
        let after = if clean < 2 { count(&self.find()).max(1) } else { 0 };
        Counts { before: before.unwrap_or(0), after }
    }
}

fn count(found: &[Seen]) -> u32 {
    u32::try_from(found.len()).unwrap_or(u32::MAX)
}

/// Writes the exit file with the job's lock held, unless the shim did so at the last moment. A shim that comes
/// later finds it and goes.
fn record(dir: &JobDir, sweep: &Sweep, before: u32) -> io::Result<()> {
    let deadline = Instant::now() + limits::SHIM_PROOF;
    // The supervisor that was just killed holds the lock until the kernel has closed its files. With the lock
    // held here, a supervisor that is only now on its way finds the exit and goes, instead of starting a
    // program after its agent was declared dead.
    let _lock = loop {
        match dir.try_lock()? {
            Some(lock) => break lock,
            None if dir.has_ended() => return Ok(()),
            None if Instant::now() > deadline => {
                return Err(io::Error::other("the job's lock is still held"));
            }
            None => std::thread::sleep(Duration::from_millis(1)),
        }
    };
    if dir.has_ended() {
        return Ok(());
    }
    let started = sweep.shim.is_some();
    let exit = Exit {
        code: None,
        signal: started.then(|| Signal::KILL.as_raw()),
        timed_out: false,
        leaked: 0,
        output_bytes: sweep.output_bytes(),
        stderr_tail: String::new(),
        start_error: (!started).then(|| "stopped before it started".to_owned()),
        ended_by: None,
        stopped: false,
        lapsed: false,
        // The stop that looks from outside has one of its own.
        receipt: None,
    };
    let rung = if before > 0 { Rung::Sweep } else { Rung::None }.word().to_owned();
    let why = Some("its supervisor was lost".to_owned()).filter(|_| started);
    for cgroup in &sweep.cgroups {
        // What stays is removed when the job is forgotten.
        let _ = cgroup.remove();
    }
    for fence in &sweep.fences {
        // The same.
        let _ = fence.remove();
    }
    let containment = sweep.shim.as_ref().map(|shim| shim.containment);
    dir.save(&ExitFile { version: LAYOUT, exit, rung, containment, output_error: why })
}

/// The records and cgroups of the job whose processes are searched for.
struct Sweep {
    spec: Option<SpecFile>,
    shim: Option<ShimFile>,
    cgroups: Vec<Cgroup>,
    fences: Vec<Fence>,
    /// The agent, when whatever has its id in its environment belongs to the job.
    marked: Option<AgentId>,
    /// The data directory; what another one's servers started is not the agent's here.
    data: Option<PathBuf>,
    own: i32,
}

impl Sweep {
    fn new(dir: &JobDir, agent: AgentId, reach: Reach, parent: Option<&Path>) -> io::Result<Self> {
        // A damaged file, or a disk that hangs, must not keep a job alive: the other ways of finding it remain.
        let place = dir.clone();
        let load = move || {
            (place.load::<SpecFile>().unwrap_or_default(), place.load::<ShimFile>().unwrap_or_default())
        };
        let (spec, shim) = disk::within(limits::DISK_ANSWER, load).unwrap_or_default();
        let named = shim.as_ref().and_then(|shim| shim.cgroup.clone());
        let recorded = named.or_else(|| spec.as_ref()?.cgroup.clone());
        let cgroups = cgroup::of_job(dir, agent, recorded.as_deref(), parent);
        let fenced = shim.as_ref().and_then(|shim| shim.fence.clone());
        let fenced = fenced.or_else(|| spec.as_ref()?.fence.clone());
        let fences = Fence::of_job(dir, agent, fenced.as_deref()).into_iter().collect();
        let sweep = Self::of_agent(dir.data(), agent, cgroups.into_iter().collect())?;
        let marked = Some(agent).filter(|_| reach == Reach::Agent);
        Ok(Self { spec, shim, fences, marked, ..sweep })
    }

    fn of_agent(data: Option<&Path>, agent: AgentId, cgroups: Vec<Cgroup>) -> io::Result<Self> {
        let data = data.map(Path::to_owned);
        let own = i32::try_from(std::process::id()).map_err(io::Error::other)?;
        let fences = Vec::new();
        Ok(Self { spec: None, shim: None, cgroups, fences, marked: Some(agent), data, own })
    }

    /// Lists what is in the job's groups.
    fn grouped(&self) -> HashSet<i32> {
        let grouped = self.cgroups.iter().flat_map(Cgroup::members);
        grouped.chain(self.fences.iter().flat_map(Fence::members)).collect()
    }

    /// Kills every cgroup as a whole, and lets nothing in a fence start anything new. Returns how many were in the cgroups.
    fn kill_groups(&self) -> usize {
        for fence in &self.fences {
            fence.close();
        }
        self.cgroups.iter().filter(|cgroup| !cgroup.is_empty()).map(Cgroup::kill_counted).sum()
    }

    /// Lists the job's live processes, a living shim last.
    fn find(&self) -> Vec<Seen> {
        let table = ProcessTable::take();
        let all = &table.all;
        let members = self.grouped();
        // Numbers of another boot name strangers.
        let known = self.shim.as_ref().filter(|shim| shim.boot_id == linux::boot_id());
        let shim = known.and_then(|known| all.iter().find(|seen| seen.process == known.shim));
        let recycled = known.is_some_and(|known| {
            // A session keeps its number while anybody is in it; another leader means that ours is over.
            all.iter().any(|seen| seen.process.pid == known.shim.pid && seen.process != known.shim)
        });
        let in_session = |seen: &Seen| {
            known
                .is_some_and(|known| seen.session == known.shim.pid && seen.process.start >= known.shim.start)
                && !recycled
        };
        let marked =
            |pid: i32| self.marked.is_some_and(|agent| table.is_marked(pid, agent, self.data.as_deref()));
        // There are four ways to find a process, since each of them can be escaped by itself: a cgroup may be
        // missing, `setsid` leaves the session, a double fork leaves the tree, and `env -i` leaves the mark.
        // Whatever is found by one of them is followed down the tree, so that escaping takes all four at once
        // and before the first look.
        let is_root = |seen: &&Seen| {
            let pid = seen.process.pid;
            members.contains(&pid)
                || in_session(seen)
                || known.is_some_and(|known| known.child == Some(seen.process))
                || marked(pid)
        };
        let mut found: Vec<Seen> = all.iter().filter(is_root).copied().collect();
        let roots: Vec<i32> = found.iter().chain(shim).map(|seen| seen.process.pid).collect();
        let known: HashSet<i32> = found.iter().map(|seen| seen.process.pid).collect();
        let below = linux::below(all, &roots);
        found.extend(below.into_iter().filter(|seen| !known.contains(&seen.process.pid)));
        // The shim is kept out of the middle of the list. It is the subreaper of the job: while it lives,
        // whatever loses its parent becomes its child and is found below it; once it is dead, orphans go to
        // init.
        found.retain(|seen| !seen.zombie && seen.process.pid != self.own && Some(seen) != shim);
        found.extend(shim.filter(|seen| !seen.zombie));
        found
    }

    /// Kills them. The shim goes last and alone: while it lives, nothing can slip away from under it.
    fn kill(&self, found: &[Seen]) {
        self.kill_groups();
        let shim = self.shim.as_ref().map(|shim| shim.shim);
        for seen in found.iter().filter(|seen| found.len() == 1 || Some(seen.process) != shim) {
            linux::signal(seen.process, Signal::KILL);
        }
    }

    /// Lets those out of a freezer of cgroup v1 that a look after their kill still finds.
    fn release(&self, found: &[Seen]) {
        let shim = self.shim.as_ref().map(|shim| shim.shim);
        // The shim, too, once it was killed: an agent of the same user may have frozen it.
        let killed = found.iter().filter(|seen| found.len() == 1 || Some(seen.process) != shim);
        for seen in killed.take(limits::LEADERLESS_AMONG) {
            v1_freezer::release(seen.process.pid);
        }
    }

    fn is_empty(&self) -> bool {
        self.cgroups.iter().all(Cgroup::is_empty)
    }

    /// Returns how much of the output is in the file, since nobody counted to the end.
    fn output_bytes(&self) -> u64 {
        let Some((spec, shim)) = self.spec.as_ref().zip(self.shim.as_ref()) else { return 0 };
        let length = std::fs::metadata(&spec.job.output).map_or(0, |meta| meta.len());
        length.saturating_sub(shim.output_base).min(spec.job.output_limit)
    }
}
