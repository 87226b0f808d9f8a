//! `mosaic drain`: takes the server out of service once what runs has ended, and waits for that.

use std::time::{Duration, Instant};

use mosaic_api::{DrainStarted, OrderRequest, Queue};
use serde_json::json;

use crate::cli::DrainArgs;
use crate::exit::Exit;
use crate::problem::Problem;
use crate::session::{Session, say};
use crate::view::span;

/// Time between two requests that ask the server how many agents still run.
const PERIOD: Duration = Duration::from_millis(500);

/// Runs the command.
pub(super) fn run(session: &Session, args: &DrainArgs) -> Result<Exit, Problem> {
    if session.in_agent() {
        let what = "an agent may not take its server out of service".to_owned();
        return Err(Problem::NotAllowed { what, hint: None });
    }
    let client = session.client()?;
    let began = Instant::now();
    let mut waiting = waits(&*client.get("/v1/queue")?);
    let at_first =
        client.post("/v1/drain", &OrderRequest { reason: None })?.read::<DrainStarted>()?.running as u64;
    say(&format!("nothing new is taken; {} to end", agents(at_first)));
    wait(args.timeout.or(args.wait.flatten()), || match client.get::<Queue>("/v1/queue") {
        Ok(queue) => {
            waiting = waits(&queue);
            Ok(Some(queue.slots.used as u64))
        }
        // The server is gone: that is what was asked for.
        Err(Problem::Unreachable { .. }) => Ok(None),
        Err(other) => Err(other),
    })?;
    if session.global.json {
        let (agents, took) = (at_first, took(began));
        session
            .print_json(&json!({"drained": true, "agents": agents, "waiting": waiting, "tookMs": took}))?;
    } else {
        say("drained; the server has ended");
        if waiting > 0 {
            say(&format!(
                "{waiting} tasks wait in its store and are taken by the next server on it (mosaic serve); for another store: \
                 mosaic queue export FILE, then mosaic queue import FILE there"
            ));
        }
    }
    Ok(Exit::Ok)
}

/// Counts what waits.
fn waits(queue: &Queue) -> u64 {
    queue.counts.waiting + queue.counts.delayed
}

/// Waits until a draining server has ended, and says how many agents are left each time that changes. `look` returns that
/// number, and nothing once the server is gone. Without a time the wait has no end.
pub(super) fn wait(
    patience: Option<Duration>,
    mut look: impl FnMut() -> Result<Option<u64>, Problem>,
) -> Result<(), Problem> {
    let deadline = patience.and_then(|time| Instant::now().checked_add(time));
    let mut running = None;
    while let Some(now) = look()? {
        if running.is_some_and(|before| before != now) && now > 0 {
            say(&format!("{} to end", agents(now)));
        }
        running = Some(now);
        if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            let time = patience.map_or(String::new(), span);
            let what = format!(
                "{} still at work after {time}; the server goes on draining and ends with the last one",
                agents(now)
            );
            return Err(Problem::WaitTimeout { what });
        }
        std::thread::sleep(PERIOD);
    }
    Ok(())
}

fn took(began: Instant) -> u64 {
    u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX)
}

fn agents(count: u64) -> String {
    if count == 1 { "1 agent has".to_owned() } else { format!("{count} agents have") }
}
