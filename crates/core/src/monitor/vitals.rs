//! Knowledge about one live agent: what supervision heard, and the newest samples of its processes.

use std::collections::{HashSet, VecDeque};
use std::time::Duration;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::domain::agent::{AnsweredAttention, Phase};
use crate::domain::ids::Timestamp;
use crate::domain::spent::Spent;
use crate::domain::stall::{Signals, Stage};
use crate::limits;
use crate::ports::host::DiskUse;
use crate::ports::processes::Usage;
use crate::ports::runtime::AgentEvent;

/// One look at an agent.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Sample {
    /// When.
    pub at: Timestamp,
    /// User and system time of its processes so far, in milliseconds.
    pub cpu_ms: u64,
    /// Cores in use since the sample before; 0 for the first.
    pub cores: f64,
    /// Resident memory, in bytes.
    pub memory_bytes: u64,
    /// Live processes.
    pub processes: u32,
    /// Bytes read from storage so far.
    pub read_bytes: u64,
    /// Bytes written to storage so far.
    pub written_bytes: u64,
    /// Disk space that it uses, in bytes; measured rarely, so the newest figure.
    pub disk_bytes: Option<u64>,
    /// The disk figure is a lower bound.
    pub disk_more: bool,
    /// Its phase.
    pub phase: Phase,
    /// Milliseconds since its last byte of output; `None` while nothing of it is supervised.
    pub silent_ms: Option<u64>,
    /// Stage of the response to its silence.
    pub stall: Stage,
    #[serde(skip)]
    elapsed: Duration,
}

/// Knowledge about an agent that is available at once.
#[derive(Debug, Clone, PartialEq)]
pub struct Resources {
    /// This node drives it now.
    pub live: bool,
    /// Its phase, when it is live.
    pub phase: Option<Phase>,
    /// Time in that phase.
    pub in_phase: Option<Duration>,
    /// When its last event came.
    pub last_event: Option<Timestamp>,
    /// When its last output came.
    pub last_output: Option<Timestamp>,
    /// Stage of the response to its silence.
    pub stall: Stage,
    /// Its newest samples, oldest first.
    pub samples: Vec<Sample>,
}

/// A moment: the time since some moment of this process, and as people are told it.
pub(crate) type Moment = (Duration, Timestamp);

/// A sign of a run that supervision noticed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Hearing<'a> {
    /// A run begins or goes on under this driver.
    Begins,
    /// Output came.
    Output,
    /// The output meant something.
    Event(&'a AgentEvent),
    /// True when only background tasks are under way, and no turn.
    Background(bool),
}

/// Knowledge about one live agent.
pub(crate) struct Vitals {
    known: Mutex<Known>,
    stage: watch::Sender<Stage>,
    spent: watch::Sender<Spent>,
}

#[derive(Default)]
struct Known {
    phase: Option<(Phase, Duration)>,
    /// The last output and the last event, monotonic and as told to people.
    output: Option<(Duration, Timestamp)>,
    event: Option<(Duration, Timestamp)>,
    supervised: bool,
    tools: HashSet<String>,
    retrying: bool,
    background: bool,
    /// Time from which on silence counts anew, because a person said so.
    patience: Option<Duration>,
    /// The answer of that person, until it is written down.
    answered: Option<AnsweredAttention>,
    samples: VecDeque<Sample>,
    disk: Option<(Duration, DiskUse)>,
}

impl Default for Vitals {
    fn default() -> Self {
        Self {
            known: Mutex::default(),
            stage: watch::Sender::new(Stage::None),
            spent: watch::Sender::new(Spent::default()),
        }
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

impl Vitals {
    /// Takes what was heard.
    pub(crate) fn hear(&self, (elapsed, at): Moment, what: Hearing<'_>) {
        let mut known = self.known.lock();
        let now = || (elapsed, at);
        match what {
            Hearing::Begins => {
                (known.output, known.event, known.supervised) = (Some(now()), Some(now()), true);
                known.tools.clear();
                (known.retrying, known.background) = (false, false);
                (known.patience, known.answered) = (None, None);
                self.stage.send_replace(Stage::None);
            }
            Hearing::Output => known.output = Some(now()),
            Hearing::Background(only) => known.background = only,
            Hearing::Event(event) => {
                known.event = Some(now());
                known.retrying = matches!(event, AgentEvent::ApiRetry { .. });
                match event {
                    AgentEvent::Tool { id, .. } if known.tools.len() < limits::OPEN_TOOLS => {
                        known.tools.insert(id.clone());
                    }
                    AgentEvent::ToolResult { id, .. } => {
                        known.tools.remove(id);
                    }
                    _ => {}
                }
            }
        }
    }

    /// Takes the answer of a person who wants to wait for a silent agent: its silence counts from now on.
    pub(crate) fn wait_for_it(&self, elapsed: Duration, answered: AnsweredAttention) {
        let mut known = self.known.lock();
        (known.patience, known.answered) = (Some(elapsed), Some(answered));
    }

    /// Returns the answer that is to be written down.
    pub(crate) fn answer(&self) -> Option<AnsweredAttention> {
        self.known.lock().answered.clone()
    }

    /// Forgets the answer once it is written down.
    pub(crate) fn answer_is_written(&self) {
        self.known.lock().answered = None;
    }

    /// Withdraws an answer that nobody took: silence counts from where it did.
    pub(crate) fn withdraw_answer(&self) {
        let mut known = self.known.lock();
        if known.answered.take().is_some() {
            known.patience = None;
        }
    }

    /// Notes the phase, when it is another.
    pub(crate) fn enters(&self, phase: Phase, elapsed: Duration) {
        let mut known = self.known.lock();
        if known.phase.is_none_or(|(before, _)| before != phase) {
            known.phase = Some((phase, elapsed));
        }
        // Outside these phases no program of the agent's is followed, and a gate that is silent must not be
        // shown as a silent agent.
        if !matches!(phase, Phase::Working | Phase::Waiting) {
            known.supervised = false;
            self.stage.send_replace(Stage::None);
        }
    }

    /// Returns the stage of the answer to silence, to be watched.
    pub(crate) fn stage(&self) -> &watch::Sender<Stage> {
        &self.stage
    }

    /// Returns what the running program has used up, to be watched. Starts afresh with each run.
    pub(crate) fn spent(&self) -> &watch::Sender<Spent> {
        &self.spent
    }

    /// Takes what the running program has used up.
    pub(crate) fn spends(&self, now: Spent) {
        self.spent.send_if_modified(|spent| std::mem::replace(spent, now) != now);
    }

    /// Returns what the stall response looks at. `window` is how far back work of the processes counts as lately.
    pub(crate) fn signals(&self, elapsed: Duration, window: Duration) -> Signals {
        let known = self.known.lock();
        let since = |heard: Option<(Duration, Timestamp)>| {
            let heard = heard.map(|(at, _)| at.max(known.patience.unwrap_or_default()));
            heard.map_or(Duration::ZERO, |at| elapsed.saturating_sub(at))
        };
        let effort = known.effort(elapsed, window);
        Signals {
            silent: since(known.output),
            quiet: since(known.event).max(since(known.output)),
            cpu: effort.map(|(cpu, _)| cpu),
            written: effort.map(|(_, written)| written),
            processes: known.newest(elapsed, window).map(|sample| sample.processes),
            tool: !known.tools.is_empty(),
            retrying: known.retrying,
            background: known.background,
        }
    }

    /// Tells whether the disk should be measured again.
    pub(super) fn wants_disk(&self, elapsed: Duration) -> bool {
        self.known.lock().disk.is_none_or(|(at, _)| elapsed.saturating_sub(at) >= limits::DISK_PERIOD)
    }

    /// Takes a sample.
    pub(super) fn take(&self, (elapsed, at): Moment, usage: Usage, disk: Option<DiskUse>) {
        let mut known = self.known.lock();
        if let Some(disk) = disk {
            known.disk = Some((elapsed, disk));
        }
        let cpu_ms = millis(usage.cpu);
        let before = known.samples.back().map(|last| (last.cpu_ms, last.elapsed));
        let cores =
            before.map_or(0.0, |(cpu, then)| ratio(cpu_ms.saturating_sub(cpu), elapsed.saturating_sub(then)));
        let sample = Sample {
            at,
            cpu_ms,
            cores,
            memory_bytes: usage.memory_bytes,
            processes: usage.processes,
            read_bytes: usage.read_bytes,
            written_bytes: usage.written_bytes,
            disk_bytes: known.disk.map(|(_, disk)| disk.bytes),
            disk_more: known.disk.is_some_and(|(_, disk)| disk.more),
            phase: known.phase.map_or(Phase::Queued, |(phase, _)| phase),
            silent_ms: known
                .output
                .filter(|_| known.supervised)
                .map(|(then, _)| millis(elapsed.saturating_sub(then))),
            stall: *self.stage.borrow(),
            elapsed,
        };
        if known.samples.len() >= limits::SAMPLES {
            known.samples.pop_front();
        }
        known.samples.push_back(sample);
    }

    pub(super) fn last_event(&self) -> Option<Timestamp> {
        self.known.lock().event.map(|(_, at)| at)
    }

    pub(super) fn resources(&self, elapsed: Duration) -> Resources {
        let known = self.known.lock();
        Resources {
            live: true,
            phase: known.phase.map(|(phase, _)| phase),
            in_phase: known.phase.map(|(_, since)| elapsed.saturating_sub(since)),
            last_event: known.event.map(|(_, at)| at),
            last_output: known.output.map(|(_, at)| at),
            stall: *self.stage.borrow(),
            samples: known.samples.iter().copied().collect(),
        }
    }
}

impl Known {
    /// Returns the newest sample, unless it is too old to say anything: on a machine that is too busy for samples an agent's
    /// processes are not known.
    fn newest(&self, elapsed: Duration, window: Duration) -> Option<&Sample> {
        let age = |sample: &&Sample| elapsed.saturating_sub(sample.elapsed);
        self.samples.back().filter(|sample| age(sample) <= window.max(limits::SAMPLE_PERIOD * 3))
    }

    /// Returns the CPU in thousandths of a core and the bytes written since the sample that is a window old; `None` when
    /// there are no two samples to compare, or the newest is too old to say anything.
    fn effort(&self, elapsed: Duration, window: Duration) -> Option<(u32, u64)> {
        let last = self.newest(elapsed, window)?;
        let begin = last.elapsed.saturating_sub(window);
        // The newest that is old enough, or else the oldest: what is before it was another time.
        let first = self.samples.iter().rev().skip(1).find(|sample| sample.elapsed <= begin);
        let first = first.or_else(|| self.samples.front().filter(|_| self.samples.len() > 1))?;
        let cores =
            ratio(last.cpu_ms.saturating_sub(first.cpu_ms), last.elapsed.saturating_sub(first.elapsed));
        let permille = u32::try_from((cores * 1000.0) as u64).unwrap_or(u32::MAX);
        Some((permille, last.written_bytes.saturating_sub(first.written_bytes)))
    }
}

/// Returns how many cores used this much time.
fn ratio(cpu_ms: u64, time: Duration) -> f64 {
    let time = time.as_secs_f64();
    if time <= 0.0 { 0.0 } else { Duration::from_millis(cpu_ms).as_secs_f64() / time }
}
