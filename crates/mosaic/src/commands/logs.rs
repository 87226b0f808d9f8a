//! `mosaic logs`: the transcript of an agent, once or until it has ended. The header goes to standard error, so
//! that pipes stay clean.

use std::collections::VecDeque;
use std::io::Read;

use crate::cli::LogsArgs;
use crate::client::{Client, escape};
use crate::exit::Exit;
use crate::follow::{self, Followed};
use crate::problem::Problem;
use crate::resolve;
use crate::sanitize;
use crate::session::{Session, say};
use crate::transcript::{self, Entry};
use crate::view::AgentStatus;

/// Most entries that `-n` keeps.
const LAST: usize = 100_000;

/// Runs the command.
pub(super) fn run(session: &Session, args: &LogsArgs) -> Result<Exit, Problem> {
    let client = session.client()?;
    let agent = resolve::agent(&client, &args.one.agent)?;
    let state = &agent.status;
    let id = &state.agent_id;
    if args.raw {
        return raw(session, &client, id);
    }
    let follows = args.follow && !state.is_final();
    let tail = if follows { "; Ctrl-C stops reading, not the agent" } else { "" };
    say(&format!(
        "(reading {}, attempt {}, {}, times in UTC{tail})",
        state.short_name(),
        state.attempt,
        state.status
    ));
    let mut show = |entry: &Entry| {
        if !transcript::is_wanted(entry, &args.kind) {
            return Ok(());
        }
        if session.global.json {
            return session.print_raw(format!("{}\n", entry.json()).as_bytes());
        }
        session.print(transcript::render(entry, session.paint()))
    };
    let after = match args.last {
        Some(last) => show_last(&client, id, last.min(LAST), &args.kind, &mut show)?,
        None => 0,
    };
    if !follows {
        if args.last.is_none() {
            follow::pages(&client, id, 0, &mut show)?;
        }
        return Ok(Exit::Ok);
    }
    match follow::follow(&client, id, after, None, &mut show)? {
        Followed::Ended(agent) if !session.global.json => {
            say(super::summary::render(&agent, session.paint()).trim_end())
        }
        Followed::Ended(_) | Followed::Interrupted => {}
    }
    Ok(Exit::Ok)
}

/// Shows the last entries; returns the number to go on from.
fn show_last(
    client: &Client,
    id: &str,
    last: usize,
    kinds: &[String],
    show: &mut dyn FnMut(&Entry) -> Result<(), Problem>,
) -> Result<u64, Problem> {
    let mut kept: VecDeque<Entry> = VecDeque::new();
    let after = follow::pages(client, id, 0, &mut |entry| {
        if transcript::is_wanted(entry, kinds) {
            kept.push_back(entry.clone());
        }
        if kept.len() > last {
            kept.pop_front();
        }
        Ok(())
    })?;
    kept.iter().try_for_each(show)?;
    Ok(after)
}

/// Passes the agent's own output on. On a terminal control characters are escaped; in a pipe the bytes are exact.
fn raw(session: &Session, client: &Client, id: &str) -> Result<Exit, Problem> {
    let mut reader =
        client.stream(&format!("/v1/agents/{}/transcript", escape(id)), "application/x-ndjson")?;
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let read = reader
            .read(&mut buffer)
            .map_err(|e| anyhow::Error::new(e).context("the output could not be read to its end"))?;
        if read == 0 {
            return Ok(Exit::Ok);
        }
        if session.terminal.out {
            session.print_raw(sanitize::block(&String::from_utf8_lossy(&buffer[..read])).as_bytes())?;
        } else {
            session.print_raw(&buffer[..read])?;
        }
    }
}
