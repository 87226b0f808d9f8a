//! The shim's loop: moves output, feeds input, answers servers, keeps the deadlines, and writes the exit once
//! nothing of the job is left.

use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::process::{ChildStderr, ChildStdout};
use std::time::{Duration, Instant};

use mosaic_core::limits;
use mosaic_core::ports::processes::{Exit, StopReceipt};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::clock_system::since_boot;

use super::super::layout::{ExitFile, JobDir, LAYOUT, SpecFile};
use super::super::output_writer::{ErrorTail, OutputWriter};
use super::super::protocol::{Answer, Request};
use super::clients::Clients;
use super::fork_bomb::ForkBombGuard;
use super::ladder::{Ended, Ladder, pause};
use super::namespace::MainFile;
use super::refusal::Refusal;
use super::stdin::StdinQueue;
use super::stop_file::{STOP_FILE, StopFile};

/// Most attempts to write the exit again when it cannot be written, as on a full disk; they are 100 ms apart.
const EXIT_TRIES: u32 = 600;

/// The main process and its pipes.
#[derive(Debug)]
pub(super) struct Main {
    pub(super) pid: i32,
    pub(super) handle: OwnedFd,
    pub(super) stdin: StdinQueue,
    pub(super) stdout: Option<ChildStdout>,
    pub(super) stderr: Option<ChildStderr>,
}

/// Everything a shim knows.
#[derive(Debug)]
pub(super) struct Supervisor {
    pub(super) dir: JobDir,
    pub(super) ladder: Ladder,
    interrupt: Option<String>,
    main: Option<Main>,
    start_error: Option<String>,
    clients: Clients,
    output: OutputWriter,
    errors: ErrorTail,
    time_limit: Option<Instant>,
    /// Time since the machine's start at which the lease ends.
    lease: Option<Duration>,
    lapsed: bool,
    timed_out: bool,
    ended: Option<Ended>,
    drain_until: Option<Instant>,
    leaked: u32,
    stop_file: StopFile,
    fork_bomb: ForkBombGuard,
    frozen: Option<Instant>,
    ended_by: Option<String>,
    stopped: bool,
    /// The first stop of processes, whoever wanted it.
    toll: Option<Toll>,
    buffer: Vec<u8>,
}

/// Beginning of a stop.
#[derive(Debug)]
struct Toll {
    begun: Instant,
    grace: Duration,
    before: u32,
}

impl Supervisor {
    #[expect(
        clippy::too_many_arguments,
        reason = "made in one place, of parts that are opened one by one there"
    )]
    pub(super) fn new(
        dir: JobDir,
        spec: &SpecFile,
        main: Option<Main>,
        start_error: Option<String>,
        clients: Clients,
        output: OutputWriter,
        errors: ErrorTail,
        ladder: Ladder,
    ) -> Self {
        let now = Instant::now();
        let from_now = |time: Option<Duration>| time.and_then(|time| now.checked_add(time));
        Self {
            dir,
            ladder,
            interrupt: spec.job.interrupt.clone(),
            main,
            start_error,
            clients,
            output,
            errors,
            time_limit: from_now(spec.job.time_limit),
            lease: spec.lease_until,
            lapsed: false,
            timed_out: false,
            ended: None,
            drain_until: None,
            leaked: 0,
            stop_file: StopFile::open(),
            fork_bomb: ForkBombGuard::new(spec.most_processes.unwrap_or(limits::JOB_PROCESSES), now),
            frozen: None,
            ended_by: None,
            stopped: false,
            toll: None,
            buffer: vec![0; limits::OUTPUT_CHUNK_BYTES],
        }
    }

    /// Supervises until the job is over and that is recorded.
    pub(super) fn run(&mut self) -> io::Result<()> {
        let mut reaped = 0;
        while let Some(pid) = self.main.as_ref().map(|main| main.pid) {
            self.wait(reaped > 0)?;
            let alone;
            // The dead are buried before the deadlines are looked at, so that a program which ended in time
            // is not reported as one that was stopped at its limit.
            (reaped, alone) = self.ladder.reap(pid, &mut self.ended);
            self.keep_deadlines(Instant::now());
            if self.ladder.is_sweeping() && self.ladder.sweep(pid, &mut self.ended) && self.ended.is_some() {
                self.drain_rest();
                break;
            }
            if self.ended.is_some() && self.drained(Instant::now()) {
                // The program has ended, but its pipes may be held by processes that it left. The job is over
                // when these are gone too, and they are killed for it: work that goes on after its agent
                // would write into a tree that is being harvested.
                if alone && self.ladder.is_empty() {
                    break;
                }
                if !self.ladder.is_sweeping() {
                    self.leaked = self.ladder.count();
                    // What ended between the two looks was not stopped: a receipt of nothing would say so.
                    if self.leaked > 0 {
                        self.begin_toll(Instant::now(), Duration::ZERO, self.leaked);
                    }
                    self.ladder.start_sweep(Instant::now());
                }
            }
        }
        self.finish()
    }

    /// Waits for something to happen and serves it.
    fn wait(&mut self, busy: bool) -> io::Result<()> {
        let timeout = self.timeout(busy);
        let Some(main) = &self.main else { return Ok(()) };
        let pipe_in = PollFlags::IN;
        let mut fds = vec![PollFd::new(&self.clients.listener, pipe_in)];
        // A closed pipe or an ended process would report itself indefinitely: each has a place only while it matters.
        let mut places = [0_usize; 4];
        // The order of the four is that of `places`, which `serve` reads.
        let candidates = [
            (self.ended.is_none()).then(|| (main.handle.as_fd(), pipe_in)),
            main.stdout.as_ref().map(|pipe| (pipe.as_fd(), pipe_in)),
            main.stderr.as_ref().map(|pipe| (pipe.as_fd(), pipe_in)),
            main.stdin.waiting().map(|pipe| (pipe, PollFlags::OUT)),
        ];
        for (place, (fd, flags)) in places.iter_mut().zip(candidates).filter_map(|(p, c)| Some((p, c?))) {
            *place = fds.len();
            fds.push(PollFd::from_borrowed_fd(fd, flags));
        }
        let first_client = fds.len();
        for client in &self.clients.list {
            let flags = if client.is_behind() { pipe_in | PollFlags::OUT } else { pipe_in };
            fds.push(PollFd::new(&client.stream, flags));
        }
        match poll(&mut fds, Some(&timeout)) {
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => return Ok(()),
            Err(e) => return Err(e.into()),
        }
        let happened: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
        drop(fds);
        self.serve(&happened, places, first_client);
        Ok(())
    }

    /// Serves what poll reported. Place 0 is the listener's, so it stands for "not asked" among the others.
    fn serve(&mut self, happened: &[bool], places: [usize; 4], first_client: usize) {
        let is = |place: usize| place != 0 && happened[place];
        if is(places[1]) && self.read_stdout() {
            self.clients.announce(&Answer::Grew { bytes: self.output.total() });
        }
        if is(places[2]) {
            self.read_stderr();
        }
        if is(places[3])
            && let Some(main) = &mut self.main
        {
            main.stdin.flush();
        }
        let ready: Vec<usize> = (0..self.clients.list.len()).filter(|n| happened[first_client + n]).collect();
        for n in ready {
            self.clients.list[n].flush();
            for request in self.clients.list[n].read() {
                let answer = self.obey(request);
                self.clients.list[n].answer(&answer);
            }
        }
        self.clients.prune();
        if happened[0] {
            self.clients.accept();
        }
    }

    /// Does what a server asks, and answers it.
    fn obey(&mut self, request: Request) -> Answer {
        let now = Instant::now();
        let id = request.id();
        match self.carry_out(request, now) {
            Ok(live) => {
                let frozen = self.frozen.map(|since| now.saturating_duration_since(since).as_millis());
                Answer::Ok { id, live, frozen_ms: frozen.map(|ms| u64::try_from(ms).unwrap_or(u64::MAX)) }
            }
            Err(refusal) => Answer::Refused { id, why: refusal.to_string() },
        }
    }

    /// Does what a server asks. Returns how many processes the job has, where the request asks for that.
    fn carry_out(&mut self, request: Request, now: Instant) -> Result<Option<u32>, Refusal> {
        match request {
            Request::Write { data, answers, .. } => {
                let main = self.main.as_mut().ok_or(Refusal::NotRunning)?;
                match answers {
                    Some(line_end) => main.stdin.answer(line_end, &data)?,
                    None => main.stdin.push(&data)?,
                }
            }
            Request::CloseStdin { .. } => {
                if let Some(main) = &mut self.main {
                    main.stdin.close();
                }
            }
            // A lapsed lease is not revived: the job is being killed for it, and nothing may wait for it any more.
            Request::Extend { .. } if self.lapsed => return Err(Refusal::LeaseOver),
            Request::Extend { until_ms, .. } => self.lease = until_ms.map(Duration::from_millis),
            Request::Status { .. } => return Ok(Some(self.ladder.count())),
            Request::Freeze { .. } => self.freeze(now)?,
            Request::Thaw { .. } => self.thaw(now),
            Request::Stop { grace_ms, .. } => {
                return Ok(Some(self.stop(now, Duration::from_millis(grace_ms))));
            }
        }
        Ok(None)
    }

    /// Stops the job as a server asks; returns how many processes it had.
    fn stop(&mut self, now: Instant, grace: Duration) -> u32 {
        // With a grace there is time to count first; without one the kill comes first.
        let before = (!grace.is_zero() && self.frozen.is_none()).then(|| self.ladder.count());
        let killed = self.order_stop(now, grace);
        let count = before.or(killed).unwrap_or_else(|| self.ladder.count());
        self.begin_toll(now, grace, count);
        count
    }

    /// Stops the job from running on. One that is being stopped is not held up.
    fn freeze(&mut self, now: Instant) -> Result<(), Refusal> {
        if self.frozen.is_some() {
            return Ok(());
        }
        if self.ladder.is_ordered() || self.ended.is_some() {
            return Err(Refusal::Ending);
        }
        if !self.ladder.freeze() {
            self.ladder.thaw();
            return Err(Refusal::SlipsAway);
        }
        self.frozen = Some(now);
        Ok(())
    }

    /// Lets the job run on; the time that it stood still does not count.
    fn thaw(&mut self, now: Instant) {
        if let Some(since) = self.frozen.take() {
            let stood = now.saturating_duration_since(since);
            self.time_limit = self.time_limit.and_then(|at| at.checked_add(stood));
            self.ladder.thaw();
        }
    }

    /// Ends the job without being asked.
    fn end_by_itself(&mut self, now: Instant, why: String) {
        if !self.ladder.is_sweeping() {
            self.ended_by = Some(why);
            self.ladder.freeze_and_kill(now);
            let killed = self.ladder.kill_group();
            let count = killed.unwrap_or_else(|| self.ladder.count());
            self.begin_toll(now, Duration::ZERO, count);
        }
    }

    /// Notes that processes are being stopped. Of several stops the first counts.
    fn begin_toll(&mut self, begun: Instant, grace: Duration, before: u32) {
        self.toll.get_or_insert(Toll { begun, grace, before });
    }

    /// Returns the receipt of what had to be stopped, once nothing is left.
    fn receipt(&self) -> Option<StopReceipt> {
        let toll = self.toll.as_ref()?;
        let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let took = toll.begun.elapsed();
        Some(StopReceipt {
            processes_before: toll.before,
            processes_after: 0,
            rung: self.ladder.rung.word().to_owned(),
            took_ms: ms(took),
            confinement: self.ladder.containment().word().to_owned(),
            container: None,
            past_grace_ms: ms(took.saturating_sub(toll.grace)),
        })
    }

    /// Orders a stop; returns how many processes were killed at once, where that is known.
    fn order_stop(&mut self, now: Instant, grace: Duration) -> Option<u32> {
        if self.frozen.is_some() {
            // Who froze it does not want it to run once more.
            self.ladder.start_sweep(now);
            return self.ladder.kill_group();
        }
        let interrupt = self.interrupt.take().filter(|_| !self.ladder.is_ordered() && !grace.is_zero());
        let main = self.main.as_mut();
        let interrupted = interrupt.zip(main).is_some_and(|(text, main)| main.stdin.push(&text).is_ok());
        self.ladder.order(now, grace, interrupted);
        self.ladder.climb(now);
        self.ladder.kill_group()
    }

    fn keep_deadlines(&mut self, now: Instant) {
        let runs = self.ended.is_none() && self.frozen.is_none();
        if runs && self.time_limit.take_if(|at| *at <= now).is_some() {
            self.timed_out = true;
            let before = self.ladder.count();
            self.order_stop(now, limits::TIME_LIMIT_GRACE);
            self.begin_toll(now, limits::TIME_LIMIT_GRACE, before);
        }
        // The lease is measured by the clock that goes on while the machine sleeps. Another node counts on
        // its end, and a suspended machine must not wake up with a lease that it believes to hold.
        if self.lease.take_if(|at| *at <= since_boot()).is_some() {
            self.lapsed = true;
            self.end_by_itself(now, "no server has extended its lease".to_owned());
        }
        if !self.ladder.is_sweeping() && self.stop_file.is_due_and_there(now) {
            self.stopped = true;
            self.end_by_itself(now, format!("{STOP_FILE} stands in the data directory"));
        }
        if let Some(count) = self.fork_bomb.is_over(now, &self.ladder).filter(|_| !self.ladder.is_sweeping())
        {
            self.end_by_itself(now, format!("it had {count} processes at once"));
        }
        self.ladder.climb(now);
    }

    /// Returns how long poll may wait. The period reaps orphans, whose end nothing announces; sooner when there
    /// were some.
    fn timeout(&self, busy: bool) -> Timespec {
        let now = Instant::now();
        // SIGCHLD is not used: a handler could interrupt any call, and a signal that is blocked for
        // `signalfd` would be inherited by the program. The handle of the program wakes the poll; for
        // orphans, which have none, the poll ends now and then by itself.
        let most = match (self.ladder.is_sweeping(), busy) {
            (true, _) => Duration::ZERO,
            (_, true) => Duration::from_millis(20),
            _ => limits::STOP_LOOK,
        };
        let lease = self.lease.map(|at| now + at.saturating_sub(since_boot()));
        let due =
            [self.time_limit.filter(|_| self.frozen.is_none()), lease, self.drain_until, self.ladder.next()];
        let wait =
            due.into_iter().flatten().map(|at| at.saturating_duration_since(now)).fold(most, Duration::min);
        Timespec {
            tv_sec: i64::try_from(wait.as_secs()).unwrap_or(1),
            tv_nsec: i64::from(wait.subsec_nanos()),
        }
    }

    /// Tells whether the pipes are read to their end, or were waited for long enough: others may hold them open.
    fn drained(&mut self, now: Instant) -> bool {
        let until = *self.drain_until.get_or_insert(now + limits::PIPE_DRAIN);
        now >= until || self.main.as_ref().is_none_or(|main| main.stdout.is_none() && main.stderr.is_none())
    }

    /// Reads what still stands in the pipes after everybody who could write is dead.
    fn drain_rest(&mut self) {
        let until = Instant::now() + limits::PIPE_DRAIN;
        while Instant::now() < until && (self.read_stdout() | self.read_stderr()) {}
    }

    /// Reads standard output once; true when there was some. At its end the pipe is let go.
    fn read_stdout(&mut self) -> bool {
        let Some(pipe) = self.main.as_mut().map(|main| &mut main.stdout) else { return false };
        let count = read_some(pipe, &mut self.buffer);
        self.output.append(&self.buffer[..count]);
        count > 0
    }

    fn read_stderr(&mut self) -> bool {
        let Some(pipe) = self.main.as_mut().map(|main| &mut main.stderr) else { return false };
        let count = read_some(pipe, &mut self.buffer);
        self.errors.append(&self.buffer[..count]);
        count > 0
    }

    /// Records the end, tells the servers and gives the cgroup back.
    fn finish(&mut self) -> io::Result<()> {
        let ended = self.ended.unwrap_or((None, None));
        let inside = self.ladder.namespace.and(ended.0);
        let inside = inside.and_then(|status| MainFile::read(&self.dir, status));
        let (code, signal) = inside.as_ref().map_or(ended, |inside| (inside.code, inside.signal));
        let start_error = inside.as_ref().and_then(|inside| inside.start_error.clone());
        let exit = Exit {
            code,
            signal,
            timed_out: self.timed_out,
            leaked: self.leaked.max(inside.map_or(0, |inside| inside.leaked)),
            output_bytes: self.output.total(),
            stderr_tail: self.errors.text(),
            start_error: self.start_error.take().or(start_error),
            ended_by: self.ended_by.take(),
            stopped: self.stopped,
            lapsed: self.lapsed,
            receipt: self.receipt(),
        };
        let rung = self.ladder.rung.word().to_owned();
        let (containment, output_error) =
            (Some(self.ladder.containment()), self.output.error().map(str::to_owned));
        let file = ExitFile { version: LAYOUT, exit, rung, containment, output_error };
        // The groups go before the exit is written. A server that reads the exit may forget the job at once,
        // and would meet its groups half-way through their removal.
        self.ladder.give_back();
        let mut tries = 0;
        // A disk that is full now may have room in a moment, and without this file the server would take the
        // job for lost, with its result.
        while let Err(e) = self.dir.save(&file) {
            tries += 1;
            if tries > EXIT_TRIES {
                return Err(e);
            }
            pause(Duration::from_millis(100));
        }
        self.clients.announce(&Answer::Exited);
        // Nobody can connect to it any more.
        let _ = std::fs::remove_file("sock");
        Ok(())
    }
}

/// Reads once from a pipe that does not block, and lets go of it at its end.
fn read_some<P: Read>(pipe: &mut Option<P>, buffer: &mut [u8]) -> usize {
    let Some(open) = pipe else { return 0 };
    match open.read(buffer) {
        Ok(count) if count > 0 => count,
        Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => 0,
        _ => {
            *pipe = None;
            0
        }
    }
}
