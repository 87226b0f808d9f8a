//! The matrix: every step of every story, broken in every way. The steps are counted in clean runs, never assumed, and a
//! step counts as covered only when its failpoint really fired.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use thiserror::Error;

use super::dice::Dice;
use super::scene::Scene;
use super::stories::Story;
use super::sweep::{Violation, sweep, transcripts};
use super::{Outcome, Programs};
use crate::failpoints::{self, Broken, Can, Failpoint, Mode, PlanError};

/// Most runs of a case whose step is not reached: the calls of a run may depend on what comes first.
const TRIES: u32 = 3;

/// Selection of the parts of the matrix that are run.
#[derive(Debug, Clone)]
pub struct Options {
    /// Only these stories; empty: all.
    pub stories: Vec<Story>,
    /// Calls of one step within one phase that are broken: the first so many. Loops call the same step again and again.
    pub cap: u64,
    /// Order of the runs, and what a budget leaves out.
    pub seed: u64,
    /// Stop starting runs after this time.
    pub budget: Option<Duration>,
    /// Runs at once.
    pub jobs: usize,
    /// Where logs of runs with violations are kept.
    pub evidence: Option<PathBuf>,
}

/// One run that is to be: a story and its failpoint.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Case {
    /// The story.
    pub story: Story,
    /// The failpoint that breaks a step; `None` for a clean run.
    pub failpoint: Option<Failpoint>,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.failpoint {
            Some(failpoint) => write!(f, "{}/{failpoint}", self.story.name()),
            None => f.write_str(self.story.name()),
        }
    }
}

/// Reasons why a text names no case.
#[derive(Debug, Error)]
pub enum CaseError {
    /// There is no such story.
    #[error("there is no story \"{0}\"")]
    Story(String),
    /// The failpoint cannot be read.
    #[error(transparent)]
    Failpoint(#[from] PlanError),
}

impl std::str::FromStr for Case {
    type Err = CaseError;

    fn from_str(text: &str) -> Result<Self, CaseError> {
        let (story, failpoint) = match text.split_once('/') {
            Some((story, failpoint)) => (story, Some(failpoint.parse()?)),
            None => (text, None),
        };
        let story = Story::by_name(story).ok_or_else(|| CaseError::Story(story.to_owned()))?;
        Ok(Self { story, failpoint })
    }
}

/// Result of one run.
#[derive(Debug, Clone)]
pub struct Ran {
    /// The case that was run.
    pub case: Case,
    /// The failpoint was reached.
    pub fired: bool,
    /// Violations that were found.
    pub violations: Vec<Violation>,
    /// From a server's death to the next one's first answer.
    pub recoveries: Vec<Duration>,
    /// Duration of the run.
    pub took: Duration,
}

/// A call of a step as a clean run had it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct CleanStep {
    step: String,
    nth: u64,
    phase: String,
    can: Can,
}

/// Runs one case once.
pub fn run(programs: &Programs, case: &Case, evidence: Option<&PathBuf>) -> Ran {
    let begun = Instant::now();
    let mut ran = Ran {
        case: case.clone(),
        fired: false,
        violations: Vec::new(),
        recoveries: Vec::new(),
        took: begun.elapsed(),
    };
    match Scene::new(programs, case.story.slots()) {
        Err(why) => ran.violations.push(Violation::new("RUN", why)),
        Ok(mut scene) => {
            if let Err(why) = play(&mut scene, case, &mut ran.violations) {
                ran.violations.push(Violation::new("RUN", why));
            }
            ran.violations.extend(scene.faults.iter().map(|fault| Violation::new("RUN", fault.clone())));
            (ran.fired, ran.recoveries) = (scene.fired(), std::mem::take(&mut scene.recoveries));
            if let Some(dir) = evidence.filter(|_| !ran.violations.is_empty()) {
                let name = case.to_string().replace(['/', ':', '@', '='], "-");
                if let Err(why) = scene.place.keep_evidence(&dir.join(name)) {
                    ran.violations.push(Violation::new("RUN", why));
                }
            }
        }
    }
    ran.took = begun.elapsed();
    ran
}

fn play(scene: &mut Scene, case: &Case, found: &mut Vec<Violation>) -> Outcome<()> {
    let failpoint = case.failpoint.as_ref().map(ToString::to_string).unwrap_or_default();
    case.story.play(scene, &failpoint)?;
    let first = scene.settle()?;
    scene.leave_to_an_ordinary_server();
    if !first {
        found.push(Violation::new("I3", "not every agent ended under the server with the failpoint"));
    }
    // What the broken server left half done must be ended by an ordinary one, without any further help of a caller.
    scene.settle()?;
    let (more, agents) = sweep(scene)?;
    found.extend(more);
    // A step of the transcripts that was given an error may rightly cost a line. Where the shim died with the server,
    // no process was left to read what the program printed.
    if case.failpoint.as_ref().is_none_or(|point| point.broken.mode == Mode::Abort)
        && case.story != Story::Shimless
    {
        found.extend(transcripts(scene, &agents)?);
    }
    // A fault that an agent's attempt had to pay for may end it otherwise; a server that only died may not.
    if case.failpoint.as_ref().is_none_or(|point| matches!(point.broken.mode, Mode::Abort | Mode::Repeat)) {
        found.extend(case.story.judge(scene, &agents).into_iter().map(|text| Violation::new("END", text)));
    }
    Ok(())
}

/// Plays a story without a failpoint and returns its steps.
fn enumerate(programs: &Programs, story: Story) -> Outcome<Vec<CleanStep>> {
    let mut scene = Scene::new(programs, story.slots())?;
    let mut found = Vec::new();
    play(&mut scene, &Case { story, failpoint: None }, &mut found)?;
    if let Some(violation) = found.first() {
        return Err(format!("the clean run of {} is not clean: {violation}", story.name()));
    }
    let trace = std::fs::read_to_string(scene.place.trace()).map_err(super::while_("the trace"))?;
    trace.lines().filter(|line| line.starts_with("step ")).map(seen).collect()
}

fn seen(line: &str) -> Outcome<CleanStep> {
    let fields: Vec<&str> = line.split(' ').collect();
    let [_, step, nth, phase, can] = fields[..] else { return Err(format!("not a line of a trace: {line}")) };
    let nth = nth.parse().map_err(super::while_("a trace"))?;
    let can = can.parse().map_err(super::while_("a trace"))?;
    Ok(CleanStep { step: step.to_owned(), nth, phase: phase.to_owned(), can })
}

/// Result of a matrix.
#[derive(Debug, Default)]
pub struct Report {
    /// Steps there are, by story: calls under the cap.
    steps: BTreeMap<Story, BTreeSet<(String, u64)>>,
    /// Cases there are.
    cases: usize,
    /// Calls that a cap left out.
    capped: usize,
    /// Results of the cases that were run.
    pub ran: Vec<Ran>,
}

/// Runs the matrix.
pub fn matrix(programs: &Programs, options: &Options) -> Outcome<Report> {
    let begun = Instant::now();
    let mut stories = VecDeque::new();
    for story in if options.stories.is_empty() { Story::ALL.to_vec() } else { options.stories.clone() } {
        match story.is_possible(programs)? {
            true => stories.push_back(story),
            false => println!("story {} is left out: the program has nothing of it", story.name()),
        }
    }
    let mut report = Report::default();
    let clean = parallel(options.jobs, stories, None, |story| (story, enumerate(programs, story)));
    let mut cases = Vec::new();
    for (story, seen) in clean {
        let mut calls: BTreeMap<(String, String), u64> = BTreeMap::new();
        let steps = report.steps.entry(story).or_default();
        for seen in seen? {
            let count = calls.entry((seen.step.clone(), seen.phase)).or_default();
            *count += 1;
            if *count > options.cap {
                report.capped += 1;
                continue;
            }
            steps.insert((seen.step.clone(), seen.nth));
            cases.extend(Broken::ways(seen.can).into_iter().map(|broken| {
                let failpoint = Failpoint { step: seen.step.clone(), nth: seen.nth, broken };
                Case { story, failpoint: Some(failpoint) }
            }));
        }
    }
    report.cases = cases.len();
    let until = options.budget.map(|budget| begun + budget);
    let order = order(cases, options.seed);
    println!("{}", report.plan());
    let counter = AtomicUsize::new(0);
    let ran = parallel(options.jobs, order, until, |case| {
        let mut ran = run(programs, &case, options.evidence.as_ref());
        for _ in 1..TRIES {
            if !ran.fired && ran.violations.is_empty() {
                ran = run(programs, &case, options.evidence.as_ref());
            }
        }
        for violation in &ran.violations {
            println!("VIOLATION {case}: {violation}\n  {}", repeat(&case));
        }
        let count = counter.fetch_add(1, Ordering::Relaxed) + 1;
        if count.is_multiple_of(100) {
            println!("{count} of {} after {:.0} s", report.cases, begun.elapsed().as_secs_f64());
        }
        ran
    });
    report.ran = ran;
    Ok(report)
}

/// The one command that repeats a case.
pub fn repeat(case: &Case) -> String {
    format!("repeat: cargo run -p mosaic-testkit --bin chaos -- --only '{case}'")
}

/// Shuffles by the seed, so that one case of every step comes before a second of any.
fn order(cases: Vec<Case>, seed: u64) -> VecDeque<Case> {
    let mut dice = Dice::new(seed);
    let mut shuffled: Vec<(u64, Case)> = cases.into_iter().map(|case| (dice.any(), case)).collect();
    shuffled.sort();
    let mut times: BTreeMap<String, u64> = BTreeMap::new();
    let mut ranked: Vec<(u64, Case)> = shuffled
        .into_iter()
        .map(|(_, case)| {
            let step = case.failpoint.as_ref().map(|point| point.step.clone()).unwrap_or_default();
            let time = times.entry(step).or_default();
            *time += 1;
            (*time, case)
        })
        .collect();
    ranked.sort_by_key(|(time, _)| *time);
    ranked.into_iter().map(|(_, case)| case).collect()
}

/// Does all the work with so many threads, starting nothing new after a time; returns what was done.
fn parallel<T: Send, R: Send>(
    jobs: usize,
    work: VecDeque<T>,
    until: Option<Instant>,
    job: impl Fn(T) -> R + Sync,
) -> Vec<R> {
    let (work, done) = (Mutex::new(work), Mutex::new(Vec::new()));
    let take = || {
        let late = until.is_some_and(|until| Instant::now() > until);
        if late { None } else { work.lock().pop_front() }
    };
    std::thread::scope(|scope| {
        for _ in 0..jobs.max(1) {
            scope.spawn(|| {
                while let Some(item) = take() {
                    let result = job(item);
                    done.lock().push(result);
                }
            });
        }
    });
    done.into_inner()
}

impl Report {
    /// Returns the steps that no story takes.
    fn never(&self) -> Vec<&'static str> {
        let taken: BTreeSet<&str> = self.steps.values().flatten().map(|(step, _)| step.as_str()).collect();
        failpoints::steps().into_iter().filter(|step| !taken.contains(step)).collect()
    }

    fn plan(&self) -> String {
        let steps: usize = self.steps.values().map(BTreeSet::len).sum();
        let names: BTreeSet<&str> = self.steps.values().flatten().map(|(step, _)| step.as_str()).collect();
        format!(
            "{steps} steps ({} of {} names) in {} stories, {} cases; {} further calls of the same steps left out by the \
             cap; no story takes {:?}",
            names.len(),
            failpoints::steps().len(),
            self.steps.len(),
            self.cases,
            self.capped,
            self.never()
        )
    }

    /// Returns every violation with its case.
    pub fn violations(&self) -> Vec<(&Case, &Violation)> {
        self.ran.iter().flat_map(|ran| ran.violations.iter().map(|v| (&ran.case, v))).collect()
    }

    /// Returns the table for the docs.
    pub fn table(&self) -> String {
        let mut text = String::from(
            "| story | steps | covered | abort | error | repeat | not reached | violations |\n|---|---|---|---|---|---|---|---|\n",
        );
        let mut total = [0; 7];
        for (story, steps) in &self.steps {
            let ran: Vec<&Ran> = self.ran.iter().filter(|ran| ran.case.story == *story).collect();
            let in_mode = |mode: Mode| {
                ran.iter()
                    .filter(|ran| {
                        ran.fired && ran.case.failpoint.as_ref().is_some_and(|p| p.broken.mode == mode)
                    })
                    .count()
            };
            let covered: BTreeSet<(&str, u64)> = ran
                .iter()
                .filter(|ran| ran.fired)
                .filter_map(|ran| ran.case.failpoint.as_ref().map(|point| (point.step.as_str(), point.nth)))
                .collect();
            let row = [
                steps.len(),
                covered.len(),
                in_mode(Mode::Abort),
                in_mode(Mode::Error),
                in_mode(Mode::Repeat),
                ran.iter().filter(|ran| !ran.fired).count(),
                ran.iter().map(|ran| ran.violations.len()).sum(),
            ];
            // Writing into a string never fails.
            let _ =
                writeln!(text, "| {} | {} |", story.name(), row.map(|n: usize| n.to_string()).join(" | "));
            for (sum, n) in total.iter_mut().zip(row) {
                *sum += n;
            }
        }
        let _ = writeln!(text, "| all | {} |", total.map(|n| n.to_string()).join(" | "));
        text
    }

    /// Returns the steps that were never reached in the way that was asked for.
    pub fn not_reached(&self) -> Vec<String> {
        self.ran.iter().filter(|ran| !ran.fired).map(|ran| ran.case.to_string()).collect()
    }

    /// Returns the recoveries: from a server's death to the next one's first answer.
    pub fn recoveries(&self) -> Vec<Duration> {
        self.ran.iter().flat_map(|ran| ran.recoveries.iter().copied()).collect()
    }
}

/// Returns "p50 … p99 …" of some times.
pub fn percentiles(mut times: Vec<Duration>) -> String {
    times.sort_unstable();
    let at = |percent: usize| times.get((times.len() * percent / 100).min(times.len().saturating_sub(1)));
    match (at(50), at(99)) {
        (Some(p50), Some(p99)) => {
            format!("p50 {} ms, p99 {} ms ({} times)", p50.as_millis(), p99.as_millis(), times.len())
        }
        _ => "none".to_owned(),
    }
}
