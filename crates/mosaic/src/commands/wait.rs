//! `mosaic wait`: until all, or one, of some agents have ended; the exit code tells how.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::cli::WaitArgs;
use crate::client::Client;
use crate::exit::Exit;
use crate::follow::long_poll;
use crate::problem::Problem;
use crate::resolve;
use crate::sent::Agent;
use crate::session::{Session, say};
use crate::view::{AgentStatus, span};

/// Longest single wait on the server when several agents are waited for in turn.
const TURN: Duration = Duration::from_secs(2);
/// Longest single wait for one agent alone.
const ALONE: Duration = Duration::from_secs(50);

/// Runs the command.
pub(super) fn run(session: &Session, args: &WaitArgs) -> Result<Exit, Problem> {
    let client = session.client()?;
    let mut waiting: Vec<Agent> = Vec::new();
    for typed in &args.agents {
        let agent = resolve::agent(&client, typed)?;
        if waiting.iter().all(|other| other.status.agent_id != agent.status.agent_id) {
            waiting.push(agent);
        }
    }
    let deadline = args.timeout.and_then(|t| Instant::now().checked_add(t));
    let ended = until_ended(&client, waiting, args.any, deadline, &mut |agent| {
        if !session.global.json {
            return session.print(super::summary::render(agent, session.paint()));
        }
        Ok(())
    });
    let (ended, left) = ended?;
    if session.global.json {
        session.print_json(&json!({"items": ended, "waiting": left}))?;
    }
    if !left.is_empty() && (!args.any || ended.is_empty()) {
        let names: Vec<String> = left.iter().map(|agent| agent.status.short_name()).collect();
        let time = args.timeout.map_or(String::new(), span);
        return Err(Problem::WaitTimeout {
            what: format!("still at work after {time}: {}", names.join(", ")),
        });
    }
    if left.is_empty() && ended.len() > 1 {
        say(&format!("all {} have ended", ended.len()));
    }
    Ok(ended.iter().fold(Exit::Ok, |exit, agent| exit.or(Exit::of_agent(&agent.status))))
}

/// Polls until enough have ended or the deadline passes; returns those that ended and those that did not.
fn until_ended(
    client: &Client,
    mut waiting: Vec<Agent>,
    any: bool,
    deadline: Option<Instant>,
    each: &mut dyn FnMut(&Agent) -> Result<(), Problem>,
) -> Result<(Vec<Agent>, Vec<Agent>), Problem> {
    let mut ended = Vec::new();
    loop {
        let mut still = Vec::new();
        for agent in waiting {
            if agent.status.is_final() {
                each(&agent)?;
                ended.push(agent);
            } else {
                still.push(agent);
            }
        }
        let left = deadline.map(|d| d.saturating_duration_since(Instant::now()));
        if still.is_empty() || (any && !ended.is_empty()) || left.is_some_and(|l| l.is_zero()) {
            return Ok((ended, still));
        }
        let turn = if still.len() == 1 { ALONE } else { TURN };
        let asked = Instant::now();
        waiting = poll(client, &still, left.map_or(turn, |l| l.min(turn)))?;
        // A server that does not wait must not be asked without pause.
        let pause = Duration::from_millis(200).min(left.unwrap_or(turn));
        if waiting.iter().all(|agent| !agent.status.is_final()) {
            std::thread::sleep(pause.saturating_sub(asked.elapsed()));
        }
    }
}

/// Asks for every agent; only the first is waited for, the others are looked at.
fn poll(client: &Client, agents: &[Agent], most: Duration) -> Result<Vec<Agent>, Problem> {
    let mut out = Vec::new();
    for (n, agent) in agents.iter().enumerate() {
        let id = &agent.status.agent_id;
        let fresh = if n == 0 {
            long_poll(client, id, most)?
        } else {
            client.get(&format!("/v1/agents/{}", crate::client::escape(id)))?
        };
        out.push(fresh);
    }
    Ok(out)
}
