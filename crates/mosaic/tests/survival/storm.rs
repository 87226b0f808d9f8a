//! The storm: tasks keep coming while the server is killed at random moments, and at the end everything is counted.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::live_server::{Api, is_terminal};
use crate::place::Place;

/// Longest time for one task to end after the storm, on a machine with other work to do.
const EACH: Duration = Duration::from_secs(3);

/// What a storm came to.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    kills: u64,
    kills_before_listening: u64,
    tasks: usize,
    unanswered_spawns: usize,
    requeued: usize,
    runs: usize,
    gates: usize,
    pushes: usize,
    events: u64,
    overlaps: usize,
    lost: usize,
    storm: Duration,
    calm: Duration,
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} kills ({} before it listened), {} tasks ({} first spawns unanswered and repeated), {} requeued, {} agent runs, \
             {} gate runs, {} pushes, {} events, {} overlaps, {} lost; storm {:.1} s, calm {:.1} s",
            self.kills,
            self.kills_before_listening,
            self.tasks,
            self.unanswered_spawns,
            self.requeued,
            self.runs,
            self.gates,
            self.pushes,
            self.events,
            self.overlaps,
            self.lost,
            self.storm.as_secs_f64(),
            self.calm.as_secs_f64()
        )
    }
}

/// A small generator, so that a seed repeats a storm (xorshift64, Marsaglia 2003).
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}

/// What the callers know.
#[derive(Default)]
struct Known {
    /// Agents of acknowledged tasks.
    agents: BTreeMap<String, String>,
    /// Tasks whose spawn got no answer: they are asked for again with the same key.
    unanswered: BTreeSet<String>,
    /// Ended agents as they were first seen ended.
    ended: BTreeMap<String, (Value, Value, Value)>,
    first_unanswered: usize,
}

impl Known {
    /// Asks for a task; the answer is an acknowledgement or nothing.
    fn spawn(&mut self, api: &Api, place: &Place, task: &str) {
        match api.send("POST", "/v1/agents", Some(task), Some(&place.task(task, 0))) {
            Ok((status, answer)) => {
                assert_eq!(status, 201, "{answer}");
                let id = answer["agentId"].as_str().unwrap().to_owned();
                self.unanswered.remove(task);
                assert_eq!(self.agents.insert(task.to_owned(), id), None);
            }
            Err(_) => self.first_unanswered += usize::from(self.unanswered.insert(task.to_owned())),
        }
    }

    /// Asserts that what has ended stays as it ended.
    fn compare(&mut self, agents: &[Value]) {
        for agent in agents.iter().filter(|agent| !agent["endReason"].is_null()) {
            let now = (agent["status"].clone(), agent["endReason"].clone(), agent["completedAt"].clone());
            let id = agent["agentId"].as_str().unwrap();
            let first = self.ended.entry(id.to_owned()).or_insert_with(|| now.clone());
            assert_eq!(*first, now, "an ended agent changed: {agent:#}");
        }
    }
}

/// Reads every agent.
fn all(api: &Api) -> Result<Vec<Value>, String> {
    let (mut found, mut cursor) = (Vec::new(), String::new());
    loop {
        let (status, page) = api.send("GET", &format!("/v1/agents?limit=100{cursor}"), None, None)?;
        assert_eq!(status, 200, "{page}");
        found.extend(page["items"].as_array().unwrap().iter().cloned());
        match page["nextCursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return Ok(found),
        }
    }
}

/// Kills a server `kills` times while tasks keep coming, then lets everything end, and judges.
pub(crate) fn run(kills: u64, seed: u64) -> Figures {
    println!("storm of {kills} kills, seed {seed}");
    let place = Place::new();
    let mut dice = Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    let (mut known, mut figures) = (Known::default(), Figures { kills, ..Figures::default() });
    let begun = Instant::now();
    for round in 0..kills {
        // Mostly 5 to 400 ms after its start; every fourth server lives longer, so that late steps are hit too.
        let life = 5 + if round % 4 == 3 { dice.below(2500) } else { dice.below(396) };
        let end = Instant::now() + Duration::from_millis(life);
        let server = place.serve();
        match server.api_by(end) {
            Some(api) => {
                let victim = std::thread::spawn(move || {
                    std::thread::sleep(end.saturating_duration_since(Instant::now()));
                    server.kill_9();
                });
                visit(&place, &mut known, &mut dice, &api, round);
                if round % 3 == 0 {
                    // One caller is in the middle of its call when the server dies.
                    let call = end - Duration::from_millis(dice.below(5));
                    std::thread::sleep(call.saturating_duration_since(Instant::now()));
                    known.spawn(&api, &place, &format!("storm-{round}-late"));
                }
                victim.join().unwrap();
            }
            None => {
                figures.kills_before_listening += 1;
                server.kill_9();
            }
        }
    }
    figures.storm = begun.elapsed();
    judge(&place, &mut known, &mut figures);
    figures
}

/// What callers do while a server lives: ask again, ask for more, look.
fn visit(place: &Place, known: &mut Known, dice: &mut Dice, api: &Api, round: u64) {
    for task in known.unanswered.clone() {
        known.spawn(api, place, &task);
    }
    for more in 0..=dice.below(2) {
        let name = if dice.below(4) == 0 { "escapes" } else { "plain" };
        known.spawn(api, place, &format!("storm-{round}-{more}-{name}"));
    }
    if let Ok(agents) = all(api) {
        known.compare(&agents);
    }
}

fn judge(place: &Place, known: &mut Known, figures: &mut Figures) {
    let begun = Instant::now();
    let server = place.serve();
    let api = server.api();
    for task in known.unanswered.clone() {
        known.spawn(&api, place, &task);
    }
    let agents = all(&api).unwrap();
    let (expected, mut ends, mut last) = (agents.len(), BTreeMap::<String, u32>::new(), 0);
    let patience = EACH * u32::try_from(expected).unwrap() + Duration::from_secs(30);
    let mut faults = Vec::new();
    let all_ended = api.follow(patience, |seq, kind, data| {
        if seq != last + 1 {
            faults.push(format!("event {seq} follows {last}"));
        }
        last = seq;
        let id = data["agentId"].as_str().unwrap_or_default().to_owned();
        if kind == "agent.phase" && data["to"] == "queued" {
            figures.requeued += 1;
        }
        if ends.contains_key(&id) && (kind.starts_with("agent.") || kind.starts_with("git.")) {
            faults.push(format!("{kind} after the end of {id}: {data}"));
        }
        if is_terminal(kind) {
            *ends.entry(id).or_default() += 1;
        }
        ends.len() == expected
    });
    figures.calm = begun.elapsed();
    figures.events = last;
    assert!(faults.is_empty(), "{faults:#?}");
    let unfinished: Vec<Value> =
        all(&api).unwrap().into_iter().filter(|agent| agent["endReason"].is_null()).collect();
    assert!(
        all_ended,
        "{} of {expected} did not end: {unfinished:#?}\n{}",
        unfinished.len(),
        place.server_log()
    );

    let agents = all(&api).unwrap();
    known.compare(&agents);
    let ids: Vec<String> = agents.iter().map(|agent| agent["agentId"].as_str().unwrap().to_owned()).collect();
    place.assert_quiet(&ids);
    let tasks: BTreeSet<&str> = agents.iter().map(|agent| agent["taskId"].as_str().unwrap()).collect();
    assert_eq!(tasks.len(), agents.len(), "a task has two agents");
    figures.tasks = known.agents.len();
    figures.unanswered_spawns = known.first_unanswered;
    figures.lost = known.agents.values().filter(|id| !ids.contains(id)).count();
    let overlaps = place.log("OVERLAP");
    figures.overlaps = overlaps.len();
    (figures.runs, figures.gates, figures.pushes) =
        (place.log("start").len(), place.log("gate").len(), place.log("push").len());
    println!("{figures}");
    assert_eq!(overlaps, Vec::<String>::new());
    assert_eq!(figures.lost, 0);
    for agent in &agents {
        place.assert_pushed(agent);
        assert_eq!(agent["attempt"], 1, "an interruption was counted: {agent:#}");
    }
    let branches = place.remote.branches().iter().filter(|branch| *branch != "main").count();
    assert_eq!(branches, agents.len(), "branches on the remote that no agent names");
}
