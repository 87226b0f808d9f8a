//! The kill ladder inside a shim: interrupt, SIGTERM, grace, the cgroup or the whole tree by SIGKILL, until the
//! kernel says that there is no child left. As the shim is a subreaper, having no child means having no
//! descendant: whoever loses its parent becomes the shim's own child.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use mosaic_core::limits;
use rustix::io::Errno;
use rustix::process::{Signal, WaitOptions, wait};

use super::super::cgroup::Cgroup;
use super::super::containment::Containment;
use super::super::fence::Fence;
use super::super::linux::{self, Seen};
use super::super::precedence::{self, First};
use super::super::rung::Rung;
use super::super::v1_freezer;
use super::namespace;

/// Longest time of one sweep before other things are looked after again.
const SWEEP_SLICE: Duration = Duration::from_millis(200);
/// Time that processes which were killed as a whole get to die before the process table is read: with thousands of processes
/// reading it costs more than it finds.
const GROUP_DYING: Duration = Duration::from_secs(2);
/// After this time a process that was killed and is still there is looked at less often.
const SWEEP_BUSY: Duration = Duration::from_secs(5);

/// Time between two looks for a program that is about to start in its namespace.
const NOT_YET: Duration = Duration::from_millis(10);

/// The end of the main process: exit code or signal.
pub(super) type Ended = (Option<i32>, Option<i32>);

/// The ladder and where the job stands on it.
#[derive(Debug)]
pub(super) struct Ladder {
    own: i32,
    pub(super) cgroup: Option<Cgroup>,
    /// The fence that bounds the job's processes and lists them, where its cgroup does not count.
    pub(super) fence: Option<Fence>,
    /// Main process of a job in a pid namespace, whose helpers are left alone until everything is killed.
    pub(super) namespace: Option<i32>,
    term_at: Option<Instant>,
    kill_at: Option<Instant>,
    sweeping: Option<Instant>,
    /// Held once it has to be quick.
    first: Option<First>,
    /// The furthest rung so far.
    pub(super) rung: Rung,
    /// The cgroup was killed before the first sweep, which may then find nothing.
    group_killed: bool,
}

impl Ladder {
    /// Stands at the foot.
    pub(super) fn new(own: i32, cgroup: Option<Cgroup>) -> Self {
        Self {
            own,
            cgroup,
            fence: None,
            namespace: None,
            term_at: None,
            kill_at: None,
            sweeping: None,
            first: None,
            rung: Rung::None,
            group_killed: false,
        }
    }

    /// Orders a stop. A second order can only make it faster. With `interrupted` a short share of the grace passes
    /// before SIGTERM; what is left of it belongs to both.
    pub(super) fn order(&mut self, now: Instant, grace: Duration, interrupted: bool) {
        self.hurry();
        let grace = grace.min(limits::LONGEST_GRACE);
        let kill_at = now + grace;
        let share = (grace / limits::INTERRUPT_SHARE).min(limits::LONGEST_INTERRUPT);
        if self.kill_at.is_none() {
            self.term_at = Some(if interrupted { now + share } else { now });
            if interrupted {
                self.rung = Rung::Interrupt;
            }
        }
        // The earlier end counts. An operator who lost patience is not made to wait for the grace of the
        // first order, and one who is generous later does not lengthen it.
        self.kill_at = Some(self.kill_at.map_or(kill_at, |before| before.min(kill_at)));
    }

    /// Tells whether a stop was ordered.
    pub(super) fn is_ordered(&self) -> bool {
        self.kill_at.is_some()
    }

    /// Returns when [`Ladder::climb`] has something to do next.
    pub(super) fn next(&self) -> Option<Instant> {
        if self.sweeping.is_some() { None } else { self.term_at.into_iter().chain(self.kill_at).min() }
    }

    /// Does what is due.
    pub(super) fn climb(&mut self, now: Instant) {
        if self.kill_at.is_some_and(|at| at <= now) {
            self.start_sweep(now);
        } else if self.term_at.is_some_and(|at| at <= now) {
            self.term_at = None;
            self.rung = self.rung.max(Rung::Term);
            // SIGTERM goes to each process and not to the group of the first: a program that starts its
            // children in groups of their own, as shells with job control do, would leave them without a
            // chance to end well.
            let members = self.members();
            if members.is_empty() && self.namespace.is_some() {
                // Its init has not started the program yet.
                self.term_at = Some(now + NOT_YET);
            }
            let until = Instant::now() + limits::TERM_SLICE;
            for pid in members {
                // The first ones are the job's oldest. Who has more than can be told in this time is killed with the rest.
                if Instant::now() > until {
                    break;
                }
                if let Some(seen) = linux::look(pid).filter(|seen| !seen.zombie) {
                    linux::signal(seen.process, Signal::TERM);
                }
            }
        }
    }

    /// Freezes the job, then kills it: what lost its lease must not do one thing more.
    pub(super) fn freeze_and_kill(&mut self, now: Instant) {
        match &self.cgroup {
            Some(cgroup) => {
                // Best effort, the kill follows.
                let _ = cgroup.freeze(true);
            }
            // The kernel ends a namespace as a whole.
            None if self.namespace.is_some() => {}
            None => {
                // Without a cgroup only what is seen at this moment stands still. The sweep that begins at
                // once is what ends the rest.
                for seen in self.live() {
                    linux::signal(seen.process, Signal::STOP);
                }
            }
        }
        self.start_sweep(now);
    }

    /// Goes before all others from now on.
    fn hurry(&mut self) {
        if self.first.is_none() {
            self.first = First::now();
            // The kernel ends a namespace once its init has had the processor.
            self.namespace.map(namespace::helpers_of).into_iter().flatten().for_each(precedence::put_first);
        }
    }

    /// Begins to kill everything.
    pub(super) fn start_sweep(&mut self, now: Instant) {
        if self.sweeping.is_none() {
            self.hurry();
            (self.term_at, self.kill_at) = (None, Some(now));
            self.sweeping = Some(now);
        }
    }

    /// Tells whether everything is being killed.
    pub(super) fn is_sweeping(&self) -> bool {
        self.sweeping.is_some()
    }

    /// Lists the job's processes without the helpers that its namespace needs. Asks the cgroup or the fence where there is
    /// one, which costs one read of a bounded list; who left it is found when everything is killed.
    fn members(&self) -> Vec<i32> {
        if let Some(cgroup) = &self.cgroup {
            return cgroup.members();
        }
        // The kernel keeps the list of a fence. Walking the tree instead reads all of `/proc`, on a machine
        // that a fork bomb may have filled.
        let fenced = self.fence.as_ref().map(Fence::members);
        if let Some(mut fenced) = fenced {
            let helpers = self.namespace.map(namespace::helpers_of).unwrap_or_default();
            fenced.retain(|pid| !helpers.contains(pid));
            return fenced;
        }
        let mut live: Vec<Seen> = self.live();
        if let Some(main) = self.namespace {
            let helpers = namespace::helpers(main, &live);
            live.retain(|seen| !helpers.contains(&seen.process.pid));
        }
        live.retain(|seen| !seen.zombie);
        live.into_iter().map(|seen| seen.process.pid).collect()
    }

    /// Counts the job's live processes.
    pub(super) fn count(&self) -> u32 {
        u32::try_from(self.members().len()).unwrap_or(u32::MAX)
    }

    /// Returns what holds the job together.
    pub(super) fn containment(&self) -> Containment {
        match (&self.cgroup, self.namespace) {
            (Some(_), _) => Containment::Cgroup,
            (None, Some(_)) => Containment::PidNamespace,
            (None, None) => Containment::Subreaper,
        }
    }

    /// Lists the job's live processes and their helpers.
    pub(super) fn live(&self) -> Vec<Seen> {
        let all = linux::everything();
        let mut live = linux::below(&all, &[self.own]);
        let fenced = self.fence.as_ref().map(Fence::members).unwrap_or_default();
        let grouped = self.cgroup.as_ref().map(Cgroup::members).unwrap_or_default();
        let members: HashSet<i32> = grouped.into_iter().chain(fenced).collect();
        let known: HashSet<i32> = live.iter().map(|seen| seen.process.pid).collect();
        for seen in all.iter().filter(|seen| members.contains(&seen.process.pid)) {
            if !known.contains(&seen.process.pid) {
                live.push(*seen);
            }
        }
        live.retain(|seen| !seen.zombie);
        live
    }

    /// Reaps every ended child; `main` gets its end. Returns how many ended and whether no child is left.
    pub(super) fn reap(&self, main: i32, end: &mut Option<Ended>) -> (u32, bool) {
        let mut reaped = 0;
        // Any child is waited for, not only the program: orphans of the job become children of this process,
        // and a zombie that nobody buries would make the job look alive.
        loop {
            match wait(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) => {
                    reaped += 1;
                    if pid.as_raw_nonzero().get() == main {
                        *end = Some((status.exit_status(), status.terminating_signal()));
                    }
                }
                Err(Errno::INTR) => {}
                Err(Errno::CHILD) => return (reaped, true),
                Ok(None) | Err(_) => return (reaped, false),
            }
        }
    }

    /// Tells whether nothing is left when there is no child any more.
    pub(super) fn is_empty(&self) -> bool {
        self.cgroup.as_ref().is_none_or(Cgroup::is_empty)
    }

    /// Kills everything that lives, for one slice of time; true once it is verified that nothing is left.
    pub(super) fn sweep(&mut self, main: i32, end: &mut Option<Ended>) -> bool {
        let begun = Instant::now();
        let first = self.sweeping.is_none_or(|_| self.rung < Rung::Kill);
        // Both must hold. A process may be in the cgroup without being below this one, when a daemon outside
        // of the job was asked to start it there, and below this one without being in the cgroup, when it was
        // moved out.
        if self.reap(main, end).1 && self.is_empty() {
            if self.group_killed {
                self.rung = self.rung.max(Rung::Kill);
            }
            return true;
        }
        self.rung = self.rung.max(Rung::Kill);
        if first {
            self.close_fence();
        }
        self.kill_together(first, begun, main, end) || self.kill_each(first, begun, main, end)
    }

    /// Kills what one act of the kernel reaches: the cgroup, the namespace, or a fence's list. Returns true when no child is
    /// left by it.
    fn kill_together(&mut self, first: bool, begun: Instant, main: i32, end: &mut Option<Ended>) -> bool {
        // The kernel kills what is forked while it goes through the group as well, so nothing that is born
        // meanwhile gets away. What is left for the loop below is whoever left the group before.
        if self.kill_cgroup(first) {
            // The kernel needs a moment to end them all; what is not in there is walked below.
            let patience = if first { GROUP_DYING } else { SWEEP_SLICE / 2 };
            while begun.elapsed() < patience && !self.is_empty() {
                self.reap(main, end);
                // A few are gone at once; thousands need the processor that looking would take.
                let long = begun.elapsed() > SWEEP_SLICE / 2;
                if let Some(cgroup) = self.cgroup.as_ref().filter(|_| long) {
                    cgroup.kill_unreached();
                }
                pause(if long { Duration::from_millis(10) } else { Duration::from_micros(200) });
            }
        }
        if first && self.namespace.is_some_and(|main| end.is_none() && kill_namespace(main)) {
            // Its init dies with it, for that is how it was started. The kernel ends everything in there, and the init is buried last.
            while begun.elapsed() < GROUP_DYING {
                if self.reap(main, end).1 {
                    return true;
                }
                pause(Duration::from_micros(200));
            }
        }
        if let (true, None, None, Some(fence)) = (first, &self.cgroup, self.namespace, &self.fence) {
            fence.kill();
            while begun.elapsed() < GROUP_DYING && !self.reap(main, end).1 {
                pause(Duration::from_millis(1));
            }
        }
        false
    }

    /// Kills what is found, process by process; true once it is verified that nothing is left.
    fn kill_each(&mut self, first: bool, begun: Instant, main: i32, end: &mut Option<Ended>) -> bool {
        let mut before = None;
        while begun.elapsed() < SWEEP_SLICE {
            if self.reap(main, end).1 && self.is_empty() {
                return true;
            }
            let began = Instant::now();
            let live = self.live();
            // Without a cgroup the first look is the kill itself. Only what a later look still finds, or what
            // had left the cgroup, makes a sweep of it in the receipt.
            let killed = live.iter().filter(|seen| self.kill(seen)).count();
            if killed > 0 && (self.cgroup.is_some() || before.is_some() || !first) {
                self.rung = Rung::Sweep;
            }
            if live.is_empty() {
                pause(Duration::from_millis(1));
            } else if before.as_ref() == Some(&live) {
                // They are dying, or the kernel holds them: looking again at once would change nothing. A freezer that holds
                // them lets them go.
                for seen in live.iter().take(limits::LEADERLESS_AMONG) {
                    v1_freezer::release(seen.process.pid);
                }
                let stuck = self.sweeping.is_some_and(|since| since.elapsed() > SWEEP_BUSY);
                pause(Duration::from_millis(if stuck { 50 } else { 1 }));
            } else {
                // Who dies needs the processor too: half of the time is theirs.
                pause(began.elapsed().min(SWEEP_SLICE));
            }
            before = Some(live);
        }
        false
    }

    /// Kills the cgroup at once when everything is to be killed, before anything is looked up. Returns how many that were;
    /// nothing when nothing is to be killed yet or there is no cgroup. The sweep that follows does it again, and the rest.
    pub(super) fn kill_group(&mut self) -> Option<u32> {
        if !self.is_sweeping() {
            return None;
        }
        self.close_fence();
        let killed = self.cgroup.as_ref().map(Cgroup::kill_counted)?;
        self.group_killed = true;
        Some(u32::try_from(killed).unwrap_or(u32::MAX))
    }

    /// Lets the job start nothing new any more.
    fn close_fence(&self) {
        if let Some(fence) = &self.fence {
            fence.close();
        }
    }

    fn kill_cgroup(&self, first: bool) -> bool {
        self.cgroup.as_ref().is_some_and(|cgroup| (first || !cgroup.is_empty()) && cgroup.kill().is_ok())
    }

    /// Kills one process. A child of ours cannot have given its number away, since only we reap it.
    fn kill(&self, seen: &Seen) -> bool {
        match rustix::process::Pid::from_raw(seen.process.pid) {
            // Only this process can free the number of its own child, so it needs no handle to be sure whom
            // the number names. That saves three system calls for each of what may be thousands.
            Some(pid) if seen.parent == self.own => rustix::process::kill_process(pid, Signal::KILL).is_ok(),
            _ => linux::signal(seen.process, Signal::KILL),
        }
    }

    /// Removes the cgroup.
    pub(super) fn give_back(&self) {
        if let Some(cgroup) = &self.cgroup {
            // An empty cgroup that stays is removed with the job's records.
            let _ = cgroup.remove();
        }
        if let Some(fence) = &self.fence {
            // The same.
            let _ = fence.remove();
        }
    }
}

/// Kills a namespace's init and its parent, a child of ours that was not reaped; false when that one is not there. No
/// list of all is made before: a fork bomb inside would make that take long.
fn kill_namespace(main: i32) -> bool {
    // The init would die with its parent too, but among thousands the parent may be long in coming to its own end.
    let mut killed = false;
    for helper in namespace::helpers_of(main) {
        let pid = rustix::process::Pid::from_raw(helper);
        let sent = pid.is_some_and(|pid| rustix::process::kill_process(pid, Signal::KILL).is_ok());
        killed |= sent && helper == main;
    }
    killed
}

/// Rests for a moment.
pub(super) fn pause(time: Duration) {
    let time = rustix::event::Timespec { tv_sec: 0, tv_nsec: i64::from(time.subsec_nanos()) };
    // An early return only makes the pause shorter.
    let _ = rustix::event::poll(&mut [], Some(&time));
}
