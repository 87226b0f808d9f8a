//! `mosaic drain`: takes the server out of service once what runs has ended, and waits for that.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::cli::DrainArgs;
use crate::exit::Exit;
use crate::problem::Problem;
use crate::session::{Session, say};
use crate::view::span;

/// How often the server is asked how many agents still run.
const PERIOD: Duration = Duration::from_millis(500);

/// Runs the command.
pub(super) fn run(session: &Session, args: &DrainArgs) -> Result<Exit, Problem> {
    if session.in_agent() {
        let what = "an agent may not take its server out of service".to_owned();
        return Err(Problem::NotAllowed { what, hint: None });
    }
    let client = session.client()?;
    let began = Instant::now();
    let deadline = args.timeout.and_then(|time| began.checked_add(time));
    let mut running = client.post("/v1/drain", &json!({}))?.body["running"].as_u64().unwrap_or(0);
    let at_first = running;
    say(&format!("nothing new is taken; {} to end", agents(running)));
    loop {
        if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            let time = args.timeout.map_or(String::new(), span);
            let what = format!(
                "{} still at work after {time}; the server goes on draining and ends with the last one",
                agents(running)
            );
            return Err(Problem::WaitTimeout { what });
        }
        std::thread::sleep(PERIOD);
        match client.get("/v1/queue") {
            Ok(queue) => {
                let now = queue["slots"]["used"].as_u64().unwrap_or(running);
                if now != running && now > 0 {
                    say(&format!("{} to end", agents(now)));
                }
                running = now;
            }
            // The server is gone: that is what was asked for.
            Err(Problem::Unreachable { .. }) => break,
            Err(other) => return Err(other),
        }
    }
    if session.global.json {
        session.print_json(&json!({"drained": true, "agents": at_first, "tookMs": took(began)}))?;
    } else {
        say("drained; the server has ended. What waits in the queue is taken by the next one: mosaic serve");
    }
    Ok(Exit::Ok)
}

fn took(began: Instant) -> u64 {
    u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX)
}

fn agents(count: u64) -> String {
    if count == 1 { "1 agent has".to_owned() } else { format!("{count} agents have") }
}
