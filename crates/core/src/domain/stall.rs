//! Answer to a silent agent: in stages, each one step further, decided from several signals and never from one.
//! Silence alone starts the count; what the agent's processes do meanwhile decides how fast it goes. Pure: the same
//! observations give the same stages.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Stage that the response to a stall has reached. Each stage follows the one before it; none is skipped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// The agent goes on.
    #[default]
    None,
    /// People are told.
    Notice,
    /// The agent is asked to go on.
    Nudge,
    /// The agent's turn is interrupted.
    Interrupt,
    /// The agent is killed and its attempt repeated.
    Kill,
}

impl Stage {
    /// Returns the word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Notice => "notice",
            Self::Nudge => "nudge",
            Self::Interrupt => "interrupt",
            Self::Kill => "kill",
        }
    }

    /// Returns the stage that follows.
    fn next(self) -> Option<Self> {
        match self {
            Self::None => Some(Self::Notice),
            Self::Notice => Some(Self::Nudge),
            Self::Nudge => Some(Self::Interrupt),
            Self::Interrupt => Some(Self::Kill),
            Self::Kill => None,
        }
    }
}

/// Observations of a running agent at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Signals {
    /// Time since its last byte of output.
    pub silent: Duration,
    /// Time since its last event of the protocol; never less than `silent`.
    pub quiet: Duration,
    /// CPU that its processes used lately, in thousandths of one core; `None` when it could not be measured.
    pub cpu: Option<u32>,
    /// Bytes that its processes wrote lately; `None` when it could not be measured.
    pub written: Option<u64>,
    /// Its live processes, its main program included; `None` when they could not be counted.
    pub processes: Option<u32>,
    /// The runtime says that a tool is running.
    pub tool: bool,
    /// The runtime says that the model service is being asked again.
    pub retrying: bool,
    /// The agent's turn is over, and only tasks that it left in the background are under way.
    pub background: bool,
}

impl Signals {
    /// Tells whether the agent's program has children, or nobody could count them.
    fn has_children(&self) -> bool {
        self.processes.is_none_or(|n| n > 1)
    }

    /// Returns the furthest stage that these signals allow. A build that an agent waits for may be silent for as long as the
    /// attempt lasts: while such a task has a process, people are told, the agent is asked at most, and its deadline is the
    /// bound. The agent is not asked while the task works.
    fn furthest(&self) -> Stage {
        match Pace::of(self) {
            _ if !self.background || !self.has_children() => Stage::Kill,
            Pace::Busy | Pace::Tool => Stage::Notice,
            Pace::Signs | Pace::Nothing => Stage::Nudge,
        }
    }
}

/// Pace at which silence is answered: from the fastest to the slowest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Pace {
    /// Nothing speaks for the agent.
    Nothing,
    /// Something could explain the silence: a tool without a process of its own, a retry, a child that does nothing.
    Signs,
    /// Its processes compute or write, or nobody could tell.
    Busy,
    /// A tool is running and has a process of its own.
    Tool,
}

impl Pace {
    /// All, from the fastest to the slowest.
    pub const ALL: [Self; 4] = [Self::Nothing, Self::Signs, Self::Busy, Self::Tool];

    /// Returns the pace that the signals call for.
    pub fn of(signals: &Signals) -> Self {
        let children = signals.has_children();
        let computes = signals.cpu.is_none_or(|cpu| cpu >= crate::limits::STALL_CPU_PERMILLE);
        let writes = signals.written.is_some_and(|bytes| bytes > 0);
        if signals.tool && children {
            Self::Tool
        } else if computes || writes {
            Self::Busy
        } else if signals.tool || signals.retrying || children {
            Self::Signs
        } else {
            Self::Nothing
        }
    }

    /// Returns after how much silence a stage is entered, in thousandths of the ceiling. With [`limits::STALL`] of
    /// 600 s an agent of which nothing is seen is killed after 480 s, and one whose tool runs after 600 s.
    ///
    /// [`limits::STALL`]: crate::limits::STALL
    pub fn permille(self, stage: Stage) -> u32 {
        let times = match self {
            Self::Nothing => [300, 500, 650, 800],
            Self::Signs => [350, 550, 700, 860],
            Self::Busy => [450, 620, 780, 930],
            Self::Tool => [550, 700, 850, 1000],
        };
        match stage {
            Stage::None => 0,
            Stage::Notice => times[0],
            Stage::Nudge => times[1],
            Stage::Interrupt => times[2],
            Stage::Kill => times[3],
        }
    }
}

/// Says in one line how it stands with a silent agent, for people.
pub fn summary(stage: Stage, signals: &Signals) -> String {
    let seen = match Pace::of(signals) {
        _ if signals.background && signals.has_children() => {
            "it waits for its background tasks, which are alive"
        }
        Pace::Nothing => "its processes do nothing",
        Pace::Signs if signals.retrying => "it is asking the model service again",
        Pace::Signs => "its processes wait",
        Pace::Busy if signals.cpu.is_none() => "its processes could not be measured",
        Pace::Busy => "its processes work",
        Pace::Tool => "a tool is running",
    };
    let done = match stage {
        Stage::None => "it goes on",
        Stage::Notice => "it is watched",
        Stage::Nudge if signals.background => "it is asked whether they are still needed",
        Stage::Nudge => "it is asked to go on, if its runtime takes messages",
        Stage::Interrupt => "its turn is interrupted, if its runtime can",
        Stage::Kill => "it was ended",
    };
    let (silent, quiet) = (signals.silent.as_secs(), signals.quiet.as_secs());
    if signals.silent * 2 < signals.quiet {
        return format!("output without meaning for {quiet} s; {seen}; {done}");
    }
    format!("no output for {silent} s; {seen}; {done}")
}

/// Least time in a stage, in thousandths of the ceiling: what was done in it needs time to work.
pub const DWELL_PERMILLE: u32 = 100;

/// The response to one run of one agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stall {
    ceiling: Duration,
    stage: Stage,
    /// When the stage was entered.
    entered: Duration,
    /// The notice is about output without meaning, not about silence.
    chatter: bool,
}

impl Stall {
    /// Starts with an agent that goes on. After `ceiling` of silence it is killed whatever speaks for it.
    pub fn new(ceiling: Duration) -> Self {
        Self { ceiling, stage: Stage::None, entered: Duration::ZERO, chatter: false }
    }

    /// Returns the stage.
    pub fn stage(&self) -> Stage {
        self.stage
    }

    /// Takes what is seen at `now` (monotonic) and returns the new stage when it changed: the next one, or none at all
    /// once the agent goes on. Output counts as going on until the agent was nudged; from then on only an event of the
    /// protocol does, because a runtime may acknowledge a message and hang on. Output without any event for the whole
    /// ceiling is worth a notice and no more: the deadline ends such a run.
    pub fn observe(&mut self, now: Duration, signals: &Signals) -> Option<Stage> {
        if self.stage == Stage::Kill {
            return None;
        }
        let here = now.saturating_sub(self.entered);
        // Only what came since this stage was entered can be an answer to it.
        let (spoke, did) = (signals.silent < here, signals.quiet < here);
        let goes_on = match self.stage {
            Stage::None => false,
            Stage::Notice => did || (spoke && !self.chatter),
            _ => did,
        };
        if goes_on {
            return Some(self.enter(Stage::None, now));
        }
        let next = self.stage.next().filter(|next| *next <= signals.furthest())?;
        let after_nudge = self.stage >= Stage::Nudge;
        let idle = if after_nudge { signals.quiet } else { signals.silent };
        let rested = self.stage == Stage::None || here >= self.part(DWELL_PERMILLE);
        if rested && idle >= self.part(Pace::of(signals).permille(next)) {
            self.chatter = false;
            return Some(self.enter(next, now));
        }
        if self.stage == Stage::None && signals.quiet >= self.ceiling {
            self.chatter = true;
            return Some(self.enter(Stage::Notice, now));
        }
        None
    }

    fn enter(&mut self, stage: Stage, now: Duration) -> Stage {
        (self.stage, self.entered) = (stage, now);
        stage
    }

    fn part(&self, permille: u32) -> Duration {
        self.ceiling.saturating_mul(permille) / 1000
    }
}
