//! The storm: tasks keep coming while the server is killed at random moments, and at the end everything is counted. An
//! agent that lives when its server dies must be adopted by the next one and finish, without being started again.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use mosaic_api::{AgentView, EndReason, Spawned, Status};
use rustix::process::{Pid, Signal, kill_process};

use super::api::Api;
use super::dice::Dice;
use super::matrix::percentiles;
use super::scene::{Scene, has_ended};
use super::sweep::{Violation, brief, sweep, transcripts};
use super::{Outcome, Programs, while_};

/// Longest time for one task to end after the storm, on a machine with other work to do.
const EACH: Duration = Duration::from_secs(3);
/// Longest wait for a server to listen.
const START: Duration = Duration::from_secs(60);
/// Agents at once.
const SLOTS: u32 = 4;
/// Unfinished tasks from which on nothing more is asked for, so that a storm of any length ends soon after.
const BACKLOG: usize = 12;

/// Figures of a storm.
#[derive(Debug, Default)]
pub struct Figures {
    /// Servers killed.
    pub kills: u64,
    /// Of these, before they listened.
    pub kills_before_listening: u64,
    /// Acknowledged tasks.
    pub tasks: usize,
    /// First spawns that got no answer and were repeated.
    pub unanswered: usize,
    /// Runs of agents.
    pub runs: usize,
    /// Runs that were alive when a server was killed.
    pub alive: usize,
    /// Of these, runs that finished and were not started again.
    pub adopted: usize,
    /// Runs of gates, and pushes.
    pub gates: usize,
    /// Pushes that reached the remote.
    pub pushes: usize,
    /// Entries of the event log.
    pub events: u64,
    /// From a server's start to its first answer.
    pub ready: Vec<Duration>,
    /// Duration of the storm itself: all rounds, each of which ends with a kill.
    pub storm: Duration,
    /// The time from then until everything had ended.
    pub calm: Duration,
    /// Violations that were found.
    pub violations: Vec<Violation>,
}

impl Figures {
    /// Returns the adopted part of the runs that were alive at a kill, in percent.
    pub fn adopted_percent(&self) -> f64 {
        let (adopted, alive) = (self.adopted as f64, self.alive as f64);
        if self.alive == 0 { 100.0 } else { 100.0 * adopted / alive }
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} kills ({} before it listened), {} tasks ({} first spawns unanswered and repeated), {} agent runs, \
             {} of {} alive at a kill adopted ({:.1} %), {} gate runs, {} pushes, {} events; ready {}; \
             storm {:.1} s, calm {:.1} s; {} violations",
            self.kills,
            self.kills_before_listening,
            self.tasks,
            self.unanswered,
            self.runs,
            self.adopted,
            self.alive,
            self.adopted_percent(),
            self.gates,
            self.pushes,
            self.events,
            percentiles(self.ready.clone()),
            self.storm.as_secs_f64(),
            self.calm.as_secs_f64(),
            self.violations.len()
        )
    }
}

/// Knowledge of the callers.
#[derive(Default)]
struct Known {
    /// Tasks whose spawn got no answer: they are asked for again with the same key.
    unanswered: BTreeSet<String>,
    /// Ended agents as they were first seen ended.
    ended: BTreeMap<String, (Status, Option<EndReason>, Option<String>)>,
    first_unanswered: usize,
    unfinished: usize,
    changed: Vec<String>,
}

impl Known {
    /// Asks for a task; the answer is an acknowledgement or nothing.
    fn spawn(&mut self, scene: &mut Scene, api: &Api, task: &str) {
        match api.send("POST", "/v1/agents", Some(task), Some(&scene.place.task(task, 0))) {
            Ok(answer) if answer.is_success() => {
                self.unanswered.remove(task);
                match answer.read::<Spawned>() {
                    Ok(spawned) => drop(scene.acknowledged.insert(task.to_owned(), spawned.agent_id)),
                    Err(why) => self.changed.push(format!("the spawn of {task}: {why}")),
                }
            }
            Ok(answer) if answer.status < 500 => {
                self.changed.push(format!("the spawn of {task} was answered {answer}"));
            }
            Ok(_) | Err(_) => self.first_unanswered += usize::from(self.unanswered.insert(task.to_owned())),
        }
    }

    /// Looks whether what has ended stays as it ended.
    fn compare(&mut self, agents: &[AgentView]) {
        self.unfinished = agents.iter().filter(|agent| !has_ended(agent)).count();
        for agent in agents.iter().filter(|agent| has_ended(agent)) {
            let of = &agent.status;
            let now = (of.status, of.end_reason, of.completed_at.clone());
            let first = self.ended.entry(of.agent_id.clone()).or_insert_with(|| now.clone());
            if *first != now {
                self.changed.push(format!("an ended agent changed from {first:?} to {now:?}"));
            }
        }
    }
}

/// Kills a server `kills` times while tasks keep coming, then lets everything end, and judges.
pub fn run(programs: &Programs, kills: u64, seed: u64, evidence: Option<&PathBuf>) -> Outcome<Figures> {
    let mut scene = Scene::new(programs, SLOTS)?;
    let mut dice = Dice::new(seed);
    let (mut known, mut figures) = (Known::default(), Figures { kills, ..Figures::default() });
    let mut alive = BTreeSet::new();
    let begun = Instant::now();
    for round in 0..kills {
        live(&mut scene, &mut known, &mut figures, &mut dice, round)?;
        alive.extend(running(&scene));
    }
    figures.storm = begun.elapsed();
    let calm = Instant::now();
    judge(&mut scene, &mut known, &mut figures)?;
    figures.calm = calm.elapsed();
    count(&scene, &alive, &mut figures);
    if let Some(dir) = evidence.filter(|_| !figures.violations.is_empty()) {
        scene.place.keep_evidence(&dir.join(format!("storm-{kills}-{seed}")))?;
    }
    Ok(figures)
}

/// One server: it starts, callers come, and it dies when its time is over. Every fourth one dies while it starts, the
/// others some time after they listen; every fourth lives longer, so that late steps are hit too.
fn live(
    scene: &mut Scene,
    known: &mut Known,
    figures: &mut Figures,
    dice: &mut Dice,
    round: u64,
) -> Outcome<()> {
    let begun = Instant::now();
    scene.start_plain()?;
    let life = Duration::from_millis(match round % 4 {
        0 => 5 + dice.below(396),
        3 => dice.below(2500),
        _ => dice.below(800),
    });
    let early = round.is_multiple_of(4);
    let patience = if early { life } else { START };
    let Some(api) = scene.api_by(begun + patience) else {
        figures.kills_before_listening += 1;
        scene.kill_9();
        return Ok(());
    };
    figures.ready.push(begun.elapsed());
    let end = if early { begun + life } else { Instant::now() + life };
    let pid = scene.pid().and_then(|pid| Pid::from_raw(pid.cast_signed()));
    // The child is reaped only after this, so its id stays its own.
    let killer = std::thread::spawn(move || {
        std::thread::sleep(end.saturating_duration_since(Instant::now()));
        pid.map(|pid| kill_process(pid, Signal::KILL))
    });
    visit(scene, known, dice, &api, round);
    if round.is_multiple_of(3) {
        // One caller is in the middle of its call when the server dies.
        let call = end.checked_sub(Duration::from_millis(dice.below(5))).unwrap_or(end);
        std::thread::sleep(call.saturating_duration_since(Instant::now()));
        known.spawn(scene, &api, &format!("storm-{round}-late"));
    }
    killer.join().map_err(|_| "the killer broke".to_owned())?.transpose().map_err(while_("the kill"))?;
    scene.kill_9();
    Ok(())
}

/// Acts as callers do while a server lives: repeats spawns that got no answer, asks for more, and looks at the agents.
fn visit(scene: &mut Scene, known: &mut Known, dice: &mut Dice, api: &Api, round: u64) {
    for task in known.unanswered.clone() {
        known.spawn(scene, api, &task);
    }
    if known.unfinished < BACKLOG {
        for more in 0..=dice.below(2) {
            let name = if dice.below(4) == 0 { "escapes" } else { "plain" };
            known.spawn(scene, api, &format!("storm-{round}-{more}-{name}"));
        }
    }
    if let Ok(agents) = api.agents() {
        known.compare(&agents);
    }
}

/// Returns the runs that are alive, as (agent, process).
fn running(scene: &Scene) -> Vec<(String, String)> {
    let ended: BTreeSet<String> = scene.place.log("end").into_iter().map(|f| f[2].clone()).collect();
    let started = scene.place.log("start").into_iter();
    started
        .filter(|f| !ended.contains(&f[2]) && Path::new("/proc").join(&f[2]).exists())
        .map(|f| (f[1].clone(), f[2].clone()))
        .collect()
}

fn judge(scene: &mut Scene, known: &mut Known, figures: &mut Figures) -> Outcome<()> {
    scene.deadline = Instant::now() + Duration::from_secs(60);
    let api = scene.api()?;
    for task in known.unanswered.clone() {
        known.spawn(scene, &api, &task);
    }
    let expected = u32::try_from(known.unfinished.max(scene.acknowledged.len())).unwrap_or(u32::MAX);
    scene.deadline = Instant::now() + EACH * expected + Duration::from_secs(30);
    scene.settle()?;
    let (mut found, agents) = sweep(scene)?;
    found.extend(transcripts(scene, &agents)?);
    known.compare(&agents);
    found.extend(known.changed.drain(..).map(|text| Violation::new("I5", text)));
    for agent in &agents {
        if agent.status.status != Status::Completed || agent.status.attempt != 1 {
            found.push(Violation::new("END", brief(agent)));
        }
    }
    // The remote is a witness of its own: the push of an agent whose record was lost shows nowhere else.
    let branches = scene.place.remote.branches().iter().filter(|branch| *branch != "main").count();
    if branches != agents.len() {
        found.push(Violation::new(
            "I1",
            format!("{branches} branches on the remote for {} agents", agents.len()),
        ));
    }
    figures.violations = found;
    (figures.tasks, figures.unanswered) = (scene.acknowledged.len(), known.first_unanswered);
    figures.events = api.events()?.last().map_or(0, |event| event.seq);
    Ok(())
}

fn count(scene: &Scene, alive: &BTreeSet<(String, String)>, figures: &mut Figures) {
    let started = scene.place.log("start");
    let finished: BTreeSet<String> = scene.place.log("end").into_iter().map(|f| f[2].clone()).collect();
    // The last run of an agent is the one that counts: a later one means that this one was given up.
    let last: BTreeMap<&str, &str> = started.iter().map(|f| (f[1].as_str(), f[2].as_str())).collect();
    figures.alive = alive.len();
    figures.adopted = alive
        .iter()
        .filter(|(id, pid)| finished.contains(pid) && last.get(id.as_str()) == Some(&pid.as_str()))
        .count();
    figures.runs = started.len();
    (figures.gates, figures.pushes) = (scene.place.log("gate").len(), scene.place.log("push").len());
}
