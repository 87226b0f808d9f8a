//! The plan: which step breaks, when, and how; and the trace, from which the suite learns what steps there are.

use std::collections::HashMap;
use std::fmt;
use std::fs::File;
use std::io::Write as _;
use std::str::FromStr;
use std::time::Duration;

use parking_lot::Mutex;
use rustix::process::{Signal, getpid, kill_process};
use thiserror::Error;

use super::fault::Fault;

/// On which side of the call a step breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum When {
    /// Before it happens.
    Before,
    /// After it has happened, before its caller knows.
    After,
}

/// Manner in which a step breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mode {
    /// The process ends at once, as by `kill -9`: nothing is flushed, nothing is dropped.
    Abort,
    /// The caller gets the port's error for a fault that passes.
    Error,
    /// The call happens twice, as when its first answer was lost on the way.
    Repeat,
    /// The call takes this much longer.
    Delay(Duration),
}

/// Which ways of breaking make sense for a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Can {
    /// It cannot fail: only abort.
    Abort,
    /// It can fail and happens once: abort and error.
    Fail,
    /// Abort, error, repeat.
    All,
}

impl Can {
    fn as_str(self) -> &'static str {
        match self {
            Self::Abort => "abort",
            Self::Fail => "fail",
            Self::All => "all",
        }
    }
}

/// Reasons why a plan of failpoints cannot be read.
#[derive(Debug, Error)]
pub enum PlanError {
    /// This is no word for what a step can do.
    #[error("\"{0}\" is none of abort, fail, all")]
    Can(String),
    /// This is no way of breaking a step.
    #[error("\"{0}\" is none of abort, error, repeat, delay-MILLISECONDS")]
    Mode(String),
    /// This is no side of a step.
    #[error("\"{0}\" is neither before nor after")]
    When(String),
    /// This is no number of a call.
    #[error("\"{0}\" is no count")]
    Count(String),
    /// A part is not there.
    #[error("there is no {0}")]
    Missing(&'static str),
    /// One failpoint of `MOSAIC_CHAOS` cannot be read.
    #[error("MOSAIC_CHAOS: {text}: {cause}")]
    Failpoint {
        /// The failpoint.
        text: String,
        /// The cause.
        #[source]
        cause: Box<PlanError>,
    },
    /// The trace cannot be opened.
    #[error("MOSAIC_CHAOS_TRACE cannot be written: {0}")]
    Trace(#[source] std::io::Error),
}

impl FromStr for Can {
    type Err = PlanError;

    fn from_str(text: &str) -> Result<Self, PlanError> {
        [Self::Abort, Self::Fail, Self::All]
            .into_iter()
            .find(|can| can.as_str() == text)
            .ok_or_else(|| PlanError::Can(text.to_owned()))
    }
}

/// A way of breaking a step: when and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Broken {
    /// On which side.
    pub when: When,
    /// How.
    pub mode: Mode,
}

impl Broken {
    /// Returns every way in which a step that can do this is broken by the suite.
    pub fn ways(can: Can) -> Vec<Self> {
        let way = |when, mode| Self { when, mode };
        let mut ways = vec![way(When::Before, Mode::Abort), way(When::After, Mode::Abort)];
        if can != Can::Abort {
            ways.extend([way(When::Before, Mode::Error), way(When::After, Mode::Error)]);
        }
        if can == Can::All {
            ways.push(way(When::After, Mode::Repeat));
        }
        ways
    }
}

/// One step that breaks, such as `store.advance@3:after=abort`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Failpoint {
    /// The step: `port.method`.
    pub step: String,
    /// Which call of it in this process, from 1.
    pub nth: u64,
    /// When and how.
    pub broken: Broken,
}

impl fmt::Display for When {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Before => "before",
            Self::After => "after",
        })
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Abort => f.write_str("abort"),
            Self::Error => f.write_str("error"),
            Self::Repeat => f.write_str("repeat"),
            Self::Delay(time) => write!(f, "delay-{}", time.as_millis()),
        }
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.when, self.mode)
    }
}

impl fmt::Display for Failpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}:{}", self.step, self.nth, self.broken)
    }
}

impl FromStr for Mode {
    type Err = PlanError;

    fn from_str(text: &str) -> Result<Self, PlanError> {
        match (text, text.strip_prefix("delay-").map(str::parse)) {
            ("abort", _) => Ok(Self::Abort),
            ("error", _) => Ok(Self::Error),
            ("repeat", _) => Ok(Self::Repeat),
            (_, Some(Ok(ms))) => Ok(Self::Delay(Duration::from_millis(ms))),
            _ => Err(PlanError::Mode(text.to_owned())),
        }
    }
}

impl FromStr for Broken {
    type Err = PlanError;

    fn from_str(text: &str) -> Result<Self, PlanError> {
        let (when, mode) = text.split_once('=').ok_or(PlanError::Missing("\"=\" before the mode"))?;
        let when = match when {
            "before" => When::Before,
            "after" => When::After,
            other => return Err(PlanError::When(other.to_owned())),
        };
        Ok(Self { when, mode: mode.parse()? })
    }
}

impl FromStr for Failpoint {
    type Err = PlanError;

    fn from_str(text: &str) -> Result<Self, PlanError> {
        let (step, rest) = text.split_once('@').ok_or(PlanError::Missing("\"@\" after the step"))?;
        let (nth, broken) = rest.split_once(':').ok_or(PlanError::Missing("\":\" after the count"))?;
        let nth = nth.parse().map_err(|_| PlanError::Count(nth.to_owned()))?;
        Ok(Self { step: step.to_owned(), nth, broken: broken.parse()? })
    }
}

/// Failpoints of one process, and the trace of its steps.
#[derive(Debug, Default)]
pub struct Plan {
    points: Vec<Failpoint>,
    trace: Option<File>,
    state: Mutex<Counted>,
}

#[derive(Debug, Default)]
struct Counted {
    calls: HashMap<&'static str, u64>,
    phase: &'static str,
}

/// Plan for one call: the faults before and after it.
pub(super) struct Call {
    /// Step and count, for errors.
    name: String,
    before: Option<Mode>,
    after: Option<Mode>,
}

impl Plan {
    /// Reads `MOSAIC_CHAOS` (failpoints with commas between) and `MOSAIC_CHAOS_TRACE` (a file that is appended to).
    pub fn from_env() -> Result<Self, PlanError> {
        let text = std::env::var("MOSAIC_CHAOS").unwrap_or_default();
        let points = text.split(',').map(str::trim).filter(|part| !part.is_empty());
        let read = |part: &str| {
            let failpoint = part.parse::<Failpoint>();
            failpoint.map_err(|e| PlanError::Failpoint { text: part.to_owned(), cause: Box::new(e) })
        };
        let points = points.map(read).collect::<Result<_, _>>()?;
        let open = |path| File::options().create(true).append(true).open(path);
        let trace = std::env::var_os("MOSAIC_CHAOS_TRACE").map(open).transpose();
        let trace = trace.map_err(PlanError::Trace)?;
        Ok(Self { points, trace, state: Mutex::default() })
    }

    /// Notes the phase of the agent that was written last, for the trace.
    pub(super) fn note_phase(&self, phase: &'static str) {
        self.state.lock().phase = phase;
    }

    /// Counts a call, writes it down, and says what is to happen.
    pub(super) fn count(&self, step: &'static str, can: Can) -> Call {
        let mut state = self.state.lock();
        let count = state.calls.entry(step).or_default();
        *count += 1;
        let nth = *count;
        let phase = if state.phase.is_empty() { "start" } else { state.phase };
        // The line is written under the lock, so that the trace has the calls of a step in the order of their numbers.
        self.write(&format!("step {step} {nth} {phase} {}\n", can.as_str()));
        drop(state);
        let planned = |when| {
            let mut points = self.points.iter();
            let point =
                points.find(|point| point.step == step && point.nth == nth && point.broken.when == when)?;
            Some(point.broken.mode)
        };
        Call { name: format!("{step}@{nth}"), before: planned(When::Before), after: planned(When::After) }
    }

    /// Writes a line of the trace in one piece. A trace that cannot be written shows as a step that never was.
    fn write(&self, line: &str) {
        if let Some(mut file) = self.trace.as_ref() {
            let _ = file.write_all(line.as_bytes());
        }
    }

    fn fire(&self, call: &Call, when: When, mode: Mode) {
        // The line comes before the death: the suite counts a step as covered only when the trace says that its
        // failpoint fired.
        self.write(&format!("fired {}:{when}={mode}\n", call.name));
        if mode == Mode::Abort {
            die();
        }
    }

    /// Does what the plan has for one side of a call. Errors when the call is to fail.
    async fn side<E: Fault>(&self, call: &Call, when: When) -> Result<(), E> {
        let mode = if when == When::Before { call.before } else { call.after };
        let Some(mode) = mode else { return Ok(()) };
        self.fire(call, when, mode);
        match mode {
            Mode::Error => Err(E::passing(&call.name)),
            Mode::Delay(time) => {
                tokio::time::sleep(time).await;
                Ok(())
            }
            Mode::Abort | Mode::Repeat => Ok(()),
        }
    }

    /// Performs a call that may fail. Repeated, its caller gets the `last` answer, or the first one where only that one
    /// is the truth; a second call that fails changes nothing for the caller.
    pub(super) async fn ask<T, E: Fault, F: Future<Output = Result<T, E>>>(
        &self,
        step: &'static str,
        last: bool,
        call: impl Fn() -> F,
    ) -> Result<T, E> {
        let planned = self.count(step, Can::All);
        self.side(&planned, When::Before).await?;
        let mut answer = call().await;
        if answer.is_ok() && [planned.before, planned.after].contains(&Some(Mode::Repeat)) {
            let again = call().await;
            if last && again.is_ok() {
                answer = again;
            }
        }
        // An error here replaces the answer of a call that has happened, as when the answer was lost on its way.
        self.side(&planned, When::After).await?;
        answer
    }

    /// The same for a call that cannot happen twice.
    pub(super) async fn ask_once<T, E: Fault>(
        &self,
        step: &'static str,
        call: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        let planned = self.count(step, Can::Fail);
        self.side(&planned, When::Before).await?;
        let answer = call.await;
        self.side(&planned, When::After).await?;
        answer
    }

    /// The same for a call that cannot fail but takes its time.
    pub(super) async fn act<T>(&self, step: &'static str, call: impl Future<Output = T>) -> T {
        let planned = self.count(step, Can::Abort);
        if let Some(mode) = planned.before {
            self.fire(&planned, When::Before, mode);
        }
        let answer = call.await;
        if let Some(mode) = planned.after {
            self.fire(&planned, When::After, mode);
        }
        answer
    }

    /// The same for a call that cannot fail.
    pub(super) fn do_now<T>(&self, step: &'static str, call: impl Fn() -> T) -> T {
        let planned = self.count(step, Can::Abort);
        if let Some(mode) = planned.before {
            self.fire(&planned, When::Before, mode);
        }
        let answer = call();
        if let Some(mode) = planned.after {
            self.fire(&planned, When::After, mode);
        }
        answer
    }
}

/// Ends this process as `kill -9` does.
fn die() -> ! {
    loop {
        // Cannot fail: a process may always signal itself. The loop is for the moment until the kernel acts on it.
        let _ = kill_process(getpid(), Signal::KILL);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failpoints_are_read_as_they_are_written() {
        for text in ["store.advance@3:after=abort", "job.next@1:before=error", "git.push@2:after=delay-50"] {
            let point: Failpoint = text.parse().unwrap();
            assert_eq!(point.to_string(), text);
        }
        for wrong in ["", "store.advance", "store.advance@x:after=abort", "a@1:while=abort", "a@1:after=die"]
        {
            assert!(wrong.parse::<Failpoint>().is_err(), "{wrong}");
        }
    }

    #[tokio::test]
    async fn only_the_planned_call_breaks() {
        let points = vec!["a.b@2:before=error".parse().unwrap(), "a.b@3:after=repeat".parse().unwrap()];
        let plan = Plan { points, ..Plan::default() };
        let calls = std::sync::atomic::AtomicU32::new(0);
        let call = || async { Ok(calls.fetch_add(1, std::sync::atomic::Ordering::SeqCst)) };
        let mut answers: Vec<std::io::Result<u32>> = Vec::new();
        for _ in 0..4 {
            answers.push(plan.ask("a.b", true, call).await);
        }
        let answers: Vec<Option<u32>> = answers.into_iter().map(Result::ok).collect();
        assert_eq!(answers, [Some(0), None, Some(2), Some(3)]);
    }
}
