//! `mosaic gates`: what the quality gates found about an agent's commit, as a table, as files for other programs, or live; and
//! without an agent the history of gates. The exit code is 11 unless the gates passed.

mod annotations;
mod follow;
mod history;
mod log;
pub(super) mod screen;

use std::io::Read;

use mosaic_api::{AgentGates, Verdict};

use crate::cli::{GatesArgs, GatesCommand};
use crate::client::{Client, escape};
use crate::exit::Exit;
use crate::problem::Problem;
use crate::resolve;
use crate::sent::{Agent, Sent};
use crate::session::Session;

/// Largest report for another program that is read, in bytes.
const FILE_BYTES: u64 = 64 * 1024 * 1024;

/// Runs the command.
pub(super) fn run(session: &Session, args: &GatesArgs) -> Result<Exit, Problem> {
    match &args.command {
        Some(GatesCommand::Explain(args)) => return super::gates_explain::run(session, args),
        Some(GatesCommand::Init(args)) => return super::gates_explain::init(session, args),
        Some(GatesCommand::Run(args)) => return super::gates_run::run(session, args),
        None => {}
    }
    let client = session.client()?;
    let Some(typed) = &args.agent else { return history::run(session, &client, args) };
    let mut agent = resolve::agent(&client, typed)?;
    match (&args.log, args.follow) {
        (Some(gate), false) => return log::run(session, &client, &agent, gate, args.tail),
        (gate, true) => {
            follow::run(session, &client, &agent, gate.as_deref())?;
            agent = client.get(&format!("/v1/agents/{}", escape(&agent.status.agent_id)))?;
        }
        (None, false) => {}
    }
    let gates = client.get::<AgentGates>(&path(&agent, ""))?;
    show(session, &client, args, &agent, &gates)?;
    let passed = verdict(&gates) == Some(Verdict::Passed);
    Ok(if passed { Exit::Ok } else { Exit::GatesNotPassed })
}

/// Shows a judgement in the forms that were asked for.
fn show(
    session: &Session,
    client: &Client,
    args: &GatesArgs,
    agent: &Agent,
    gates: &Sent<AgentGates>,
) -> Result<(), Problem> {
    let files = [(&args.junit, "application/xml"), (&args.sarif, "application/sarif+json")];
    for (file, form) in files {
        if let Some(file) = file {
            write(session, file, &fetch(client, agent, form)?)?;
        }
    }
    let is_taken = [&args.junit, &args.sarif].into_iter().flatten().any(|file| file == "-");
    if session.global.json {
        // What was followed are lines already; the end is one more.
        session.print_json(gates)
    } else if args.github {
        session.print_raw(annotations::render(gates).as_bytes())
    } else if is_taken || args.log.is_some() {
        Ok(())
    } else {
        let ends = log::ends(client, agent, gates)?;
        session.print(screen::render(agent, gates, &ends, session.terminal.width, session.paint()))
    }
}

/// Returns the path of an agent's gates, or of what is below it.
fn path(agent: &Agent, rest: &str) -> String {
    format!("/v1/agents/{}/gates{rest}", escape(&agent.status.agent_id))
}

fn verdict(gates: &AgentGates) -> Option<Verdict> {
    gates.report.as_ref().map(|report| report.verdict).or(gates.verdict)
}

fn fetch(client: &Client, agent: &Agent, form: &str) -> Result<Vec<u8>, Problem> {
    let mut bytes = Vec::new();
    let reader = client.stream(&path(agent, ""), form)?;
    let read = reader.take(FILE_BYTES).read_to_end(&mut bytes);
    read.map_err(|e| anyhow::Error::new(e).context("the report could not be read to its end"))?;
    Ok(bytes)
}

fn write(session: &Session, file: &str, bytes: &[u8]) -> Result<(), Problem> {
    if file == "-" {
        return session.print_raw(bytes);
    }
    let written = std::fs::write(file, bytes);
    written.map_err(|e| anyhow::Error::new(e).context(format!("{file} cannot be written")).into())
}
