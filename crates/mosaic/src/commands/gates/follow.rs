//! The live output of gates: a stream per gate, read side by side and shown line by line.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use mosaic_api::{AgentGates, GateOutput, GateOutputEnd};

use super::{log, path};
use crate::client::{Client, escape};
use crate::exit::Exit;
use crate::problem::Problem;
use crate::sanitize;
use crate::sent::Agent;
use crate::session::{Session, say};
use crate::view::AgentStatus;

/// Pieces of output that may wait to be shown; then the readers wait.
const BUFFER: usize = 64;
/// Pause between two looks at an agent whose gates are not known yet, and before a broken stream is opened again.
const PAUSE: Duration = Duration::from_millis(500);
/// Most retries in a row of a broken stream.
const TRIES: u32 = 5;

/// Report of a thread that reads a stream.
enum Heard {
    Output(GateOutput),
    End(GateOutputEnd),
    Lost(Problem),
}

/// Shows what the gates of an agent write, or one of them, until the running or next judgement is over.
pub(super) fn run(
    session: &Session,
    client: &Client,
    agent: &Agent,
    only: Option<&str>,
) -> Result<Exit, Problem> {
    let name = agent.status.short_name();
    say(&format!("(following the gates of {name}; Ctrl-C stops reading, not the agent)"));
    let gates = match only {
        Some(gate) => vec![gate.to_owned()],
        None => planned(client, agent)?,
    };
    let (tell, heard) = sync_channel(BUFFER);
    for gate in &gates {
        let (client, tell, gate, path) = (client.clone(), tell.clone(), gate.clone(), log::of(agent, gate));
        // Not joined: a reader may sit in a silent stream, and nothing of it outlives the process.
        std::thread::spawn(move || read(&client, &gate, &path, &tell));
    }
    drop(tell);
    let width = gates.iter().map(|gate| sanitize::columns(&sanitize::line(gate))).max().unwrap_or(0);
    show(session, &heard, only.is_none().then_some(width))
}

/// Waits until it is known which gates will judge an agent, and returns them.
fn planned(client: &Client, agent: &Agent) -> Result<Vec<String>, Problem> {
    loop {
        let gates = client.get::<AgentGates>(&path(agent, ""))?;
        if let Some(plan) = &gates.plan {
            return Ok(plan.gates.iter().map(|gate| gate.name.clone()).collect());
        }
        let now: Agent = client.get(&format!("/v1/agents/{}", escape(&agent.status.agent_id)))?;
        if now.status.is_final() {
            return Ok(Vec::new());
        }
        std::thread::sleep(PAUSE);
    }
}

/// Reads the stream of one gate to its end; one that breaks is opened again where it stopped.
fn read(client: &Client, gate: &str, path: &str, tell: &SyncSender<Heard>) {
    let (mut after, mut failures) = (String::from("0"), 0);
    loop {
        match part(client, &format!("{path}?after={after}"), &mut after, tell) {
            Ok(Part::Ended) => return,
            Ok(Part::Broken { progress }) => failures = if progress { 0 } else { failures + 1 },
            Err(Problem::Unreachable { .. }) if failures < TRIES => failures += 1,
            Err(problem) => return drop(tell.send(Heard::Lost(problem))),
        }
        if failures >= TRIES {
            let what = format!("the log of the gate {gate} breaks off again and again");
            return drop(tell.send(Heard::Lost(Problem::Unreachable { what, hint: None })));
        }
        std::thread::sleep(PAUSE);
    }
}

/// Outcome of reading one connection.
enum Part {
    Ended,
    Broken { progress: bool },
}

fn part(client: &Client, path: &str, after: &mut String, tell: &SyncSender<Heard>) -> Result<Part, Problem> {
    let mut progress = false;
    for event in client.event_reader(path)? {
        let Ok(event) = event else { break };
        let heard = match event.event.as_str() {
            "output" => serde_json::from_str(&event.data).map(Heard::Output),
            "end" => serde_json::from_str(&event.data).map(Heard::End),
            _ => continue,
        };
        // An event that this version does not understand is left out.
        let Ok(heard) = heard else { continue };
        progress = true;
        after.clone_from(&event.id);
        let ended = matches!(heard, Heard::End(_));
        // Nobody listens once the command is at its end.
        if tell.send(heard).is_err() || ended {
            return Ok(Part::Ended);
        }
    }
    Ok(Part::Broken { progress })
}

/// Shows what the readers tell, until all of them are at their end. With a width every line begins with its gate.
fn show(session: &Session, heard: &Receiver<Heard>, width: Option<usize>) -> Result<Exit, Problem> {
    for heard in heard {
        match heard {
            Heard::Output(output) if session.global.json => session.print_json(&output)?,
            Heard::End(end) if session.global.json => session.print_json(&end)?,
            Heard::Output(output) => {
                session.print_raw(lines(&output, width, session.terminal.out).as_bytes())?;
            }
            Heard::End(_) => {}
            Heard::Lost(problem) => return Err(problem),
        }
    }
    Ok(Exit::Ok)
}

fn lines(output: &GateOutput, width: Option<usize>, terminal: bool) -> String {
    let shown = |text: &str| if terminal { sanitize::block(text) } else { text.to_owned() };
    let Some(width) = width else { return shown(&output.text) };
    let gate = sanitize::line(&output.gate);
    let pad = " ".repeat(width.saturating_sub(sanitize::columns(&gate)));
    output.text.lines().map(|line| format!("{gate}{pad} | {}\n", shown(line))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_several_gates_begin_with_their_gate() {
        let output = GateOutput { gate: "lint".to_owned(), text: "one\n\u{1b}[31mtwo\n".to_owned() };
        assert_eq!(lines(&output, Some(5), true), "lint  | one\nlint  | \\x1b[31mtwo\n");
        assert_eq!(lines(&output, None, false), output.text);
    }
}
