//! The whole life of small tasks, from the request to the pushed branch and the removed tree, with an agent that
//! does nothing but write one small file. Beside it, in the same run, two shell scripts: one that does the same git
//! steps and one that only clones, commits and pushes. Every run has a fresh remote and fresh stores; the order of
//! the three changes from round to round, and ratios are taken within a round, so that a slow minute of the machine
//! hits all of them.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use mosaic_api::{AgentView, Event, Page};

use crate::server::Server;
use crate::table::{Table, median};
use crate::{Options, Outcome, remote};

/// The agent: a line of shell, the same for all.
const AGENT: &str = "echo done > \"note-$MOSAIC_TASK_ID.txt\"";
const SAME_STEPS: &str = include_str!("scripts/same-steps.sh");
const PLAIN: &str = include_str!("scripts/plain.sh");
const ALL: &str = include_str!("scripts/all.sh");
/// Longest wait for what is removed after the last task.
const REMOVAL: Duration = Duration::from_secs(60);
/// Whole life against the script with the same steps, and against the plain one.
const TARGETS: (f64, f64) = (1.0, 1.5);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Contender {
    Mosaic,
    SameSteps,
    Plain,
}

/// Measures each concurrency.
pub(crate) fn run(options: &Options, dir: &Path, table: &mut Table) -> Outcome<()> {
    for &concurrency in &options.concurrency {
        one_concurrency(options, &dir.join(concurrency.to_string()), concurrency, table)?;
    }
    Ok(())
}

fn one_concurrency(options: &Options, dir: &Path, concurrency: usize, table: &mut Table) -> Outcome<()> {
    let mut seconds: [Vec<f64>; 3] = Default::default();
    for round in 0..options.rounds {
        let mut order = [Contender::Mosaic, Contender::SameSteps, Contender::Plain];
        order.rotate_left(round % 3);
        for contender in order {
            let place = dir.join(format!("{round}-{}", contender as usize));
            fs::create_dir_all(&place)?;
            let bare = remote::make(&place)?;
            // What earlier runs left to be written must not slow this one.
            rustix::fs::sync();
            let took = match contender {
                Contender::Mosaic => mosaic(options, &place, &bare, concurrency)?,
                Contender::SameSteps => script(options, &place, &bare, concurrency, SAME_STEPS, true)?,
                Contender::Plain => script(options, &place, &bare, concurrency, PLAIN, false)?,
            };
            let below = if contender == Contender::Mosaic { "mosaic/" } else { "bench/" };
            let pushed = remote::branches(&bare, below)?;
            if pushed != options.tasks {
                return Err(format!("{pushed} of {} branches are on the remote", options.tasks).into());
            }
            seconds[contender as usize].push(took.as_secs_f64());
            if !options.keep {
                fs::remove_dir_all(&place)?;
            }
        }
    }
    report(options, &seconds, concurrency, table);
    Ok(())
}

fn report(options: &Options, [ours, same, plain]: &[Vec<f64>; 3], concurrency: usize, table: &mut Table) {
    let each = |seconds: &[f64]| format!("{:.1} ms", median(seconds) * 1000.0 / options.tasks as f64);
    let ratio = |theirs: &[f64]| median(&ours.iter().zip(theirs).map(|(a, b)| a / b).collect::<Vec<_>>());
    let name = |what: &str| format!("{what}, concurrency {concurrency}");
    table.row(&name("wall time per task, mosaic"), &each(ours), "", None);
    table.row(&name("wall time per task, same steps"), &each(same), "", None);
    table.row(&name("wall time per task, plain"), &each(plain), "", None);
    for (what, theirs, target) in [("same steps", same, TARGETS.0), ("plain", plain, TARGETS.1)] {
        let ratio = ratio(theirs);
        let rounded = (ratio * 100.0).round() / 100.0;
        table.row(
            &name(&format!("mosaic / {what}")),
            &format!("{ratio:.2}×"),
            &format!("≤ {target:.1}×"),
            Some(rounded <= target),
        );
    }
}

/// From the first request until every agent is completed and nothing of any of them is left in the trees.
fn mosaic(options: &Options, place: &Path, bare: &Path, concurrency: usize) -> Outcome<Duration> {
    let agent = format!("sh -c '{AGENT}'");
    let server = Server::start(&options.mosaic, place, concurrency, &agent)?;
    let mut client = server.client()?;
    let mut events = server.client()?.events("agent.completed,agent.failed,agent.killed")?;
    let began = Instant::now();
    for number in 1..=options.tasks {
        let body = serde_json::json!({
            "taskId": format!("task-{number}"), "agentType": "worker", "gateProfile": "minimal",
            "context": {"repository": bare.to_string_lossy(), "branch": "main", "workItems": ["write the note"]},
        });
        client.done("POST", "/agents/spawn", &body.to_string())?;
    }
    for done in 0..options.tasks {
        let event = events.next()?;
        if !matches!(event, Event::AgentCompleted(_)) {
            let agents: Page<AgentView> = client.json("GET", "/v1/agents?limit=100", "")?;
            let ends = agents.items.iter().map(|agent| (agent.status.status, &agent.status.error));
            return Err(format!("after {done} agents came {event}: {:?}", ends.collect::<Vec<_>>()).into());
        }
    }
    let removed_by = Instant::now() + REMOVAL;
    for name in ["agents", "trash"] {
        while !is_empty(&server.data().join(name)) {
            if Instant::now() > removed_by {
                return Err(format!("{name} is not empty after {} s", REMOVAL.as_secs()).into());
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    let took = began.elapsed();
    server.stop()?;
    Ok(took)
}

/// An empty directory, or none.
fn is_empty(dir: &Path) -> bool {
    fs::read_dir(dir).map_or(true, |mut entries| entries.next().is_none())
}

fn script(
    options: &Options,
    place: &Path,
    bare: &Path,
    concurrency: usize,
    text: &str,
    store: bool,
) -> Outcome<Duration> {
    let (all, one) = (place.join("all.sh"), place.join("task.sh"));
    fs::write(&all, ALL)?;
    fs::write(&one, text)?;
    let mut command = Command::new("sh");
    remote::environment(&mut command, place);
    command
        .arg(&all)
        .env("SCRIPT", &one)
        .env("REMOTE", bare)
        .env("WORK", place.join("work"))
        .env("AGENT", AGENT);
    command.env("TASKS", options.tasks.to_string()).env("CONCURRENCY", concurrency.to_string());
    if store {
        command.env("STORE", place.join("store.git"));
    }
    command.current_dir(place).stdin(Stdio::null());
    let began = Instant::now();
    let output = command.output()?;
    let took = began.elapsed();
    if !output.status.success() {
        return Err(format!("the script failed: {}", String::from_utf8_lossy(&output.stderr)).into());
    }
    Ok(took)
}
