//! `mosaic spawn`: one task out of flags, or many out of a file, handed to the server.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use mosaic_api::Spawned;
use mosaic_core::domain::repository::RepositoryUrl;
use mosaic_core::limits;
use serde::Serialize;
use serde_json::{Value, json};

use super::body::{self, RepositoryBranch};
use crate::cli::{SpawnArgs, TaskArgs};
use crate::client::Client;
use crate::exit::Exit;
use crate::local_git::{self, LocalRepository};
use crate::problem::Problem;
use crate::sanitize;
use crate::sent::Sent;
use crate::session::{Session, say};
use crate::view::{admitted_name, place as place_of};

/// Runs the command.
pub(super) fn run(session: &Session, args: &SpawnArgs) -> Result<Exit, Problem> {
    match (&args.file, args.text.as_deref()) {
        (Some(file), _) => batch(session, file, args.quiet),
        (None, Some("-")) => batch(session, Path::new("-"), args.quiet),
        (None, text) => spawn_one(session, text, args),
    }
}

/// Finds out where the work is: the flags, else the remote `origin` of the repository one is in.
pub(super) fn place(args: &TaskArgs) -> Result<RepositoryBranch, Problem> {
    let here = if args.repo.is_some() { None } else { LocalRepository::here()? };
    let repository = match (&args.repo, &here) {
        (Some(url), _) => url.clone(),
        (None, Some(here)) => here.origin()?.ok_or_else(|| {
            Problem::usage_hint(
                "this repository has no remote `origin`",
                "name one: --repo URL; or work on this repository itself: mosaic run",
            )
        })?,
        (None, None) => {
            return Err(Problem::usage_hint("there is no repository here", "name one: --repo URL"));
        }
    };
    // Checked before git meets it: an address may otherwise name a program.
    let url: RepositoryUrl = repository.parse().map_err(|e| Problem::usage(format!("--repo: {e}")))?;
    let branch = match (&args.branch, here) {
        (Some(branch), _) => branch.clone(),
        (None, Some(here)) => here
            .origin_branch()?
            .ok_or_else(|| Problem::usage_hint("HEAD is on no branch", "name one: --branch main"))?,
        (None, None) => local_git::default_branch(url.as_str())?,
    };
    Ok(RepositoryBranch { repository: url.as_str().to_owned(), branch })
}

/// Sends one spawn.
pub(super) fn send(
    client: &Client,
    body: &impl Serialize,
    key: Option<&str>,
) -> Result<Sent<Spawned>, Problem> {
    let answer = match key {
        Some(key) if key.is_empty() || key.len() > 256 || key.bytes().any(|b| !b.is_ascii_graphic()) => {
            return Err(Problem::usage(
                "--idempotency-key: must be 1 to 256 printable ASCII characters without spaces",
            ));
        }
        Some(key) => client.post_once("/agents/spawn", body, key)?,
        None => client.post("/agents/spawn", body)?,
    };
    answer.read()
}

/// Says in one line what was admitted and how to look at it.
pub(super) fn admitted(agent: &Spawned) -> String {
    let queued = place_of(agent.queue_position)
        .map_or_else(|| agent.phase.to_string(), |place| format!("queued (place {place})"));
    let branch = sanitize::line(&agent.branch);
    let branch = if branch.is_empty() { String::new() } else { format!("   branch {branch}") };
    format!("{}  {queued}{branch}", admitted_name(agent))
}

fn spawn_one(session: &Session, text: Option<&str>, args: &SpawnArgs) -> Result<Exit, Problem> {
    body::items(text, &args.task)?;
    let body = body::build(text, &args.task, &place(&args.task)?)?;
    let client = session.client()?;
    let agent = send(&client, &body, args.task.idempotency_key.as_deref())?;
    if args.quiet {
        session.print(format!("{}\n", sanitize::line(&agent.agent_id)))?;
    } else if session.global.json {
        session.print_json(&agent)?;
    } else {
        session.print(format!("{}\n", admitted(&agent)))?;
        say(&format!("follow: mosaic logs -f {}", admitted_name(&agent)));
    }
    Ok(Exit::Ok)
}

/// Sends one spawn per line. A line that fails does not stop the others.
fn batch(session: &Session, file: &Path, quiet: bool) -> Result<Exit, Problem> {
    let client = session.client()?;
    let input: Box<dyn Read> = if file == Path::new("-") {
        Box::new(std::io::stdin())
    } else {
        let name = sanitize::line(&file.display().to_string());
        let opened = std::fs::File::open(file)
            .map_err(|e| Problem::NotFound { what: format!("{name} cannot be read: {e}"), hint: None })?;
        Box::new(opened)
    };
    let mut reader = BufReader::new(input);
    let (mut number, mut admitted_count, mut failed) = (0_u64, 0_u64, 0_u64);
    while let Some(line) = next_line(&mut reader)? {
        number += 1;
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        match spawn_line(&client, &line) {
            Ok(agent) => {
                admitted_count += 1;
                print_line(session, number, &agent, quiet)?;
            }
            // Without a server every further line would fail the same way.
            Err(lost @ Problem::Unreachable { .. }) => return Err(lost),
            Err(problem) => {
                failed += 1;
                if session.global.json {
                    let exit = Exit::of_problem(&problem) as u8;
                    session.print_raw(
                        format!(
                            "{}\n",
                            json!({"line": number, "error": problem.to_string(), "exitCode": exit})
                        )
                        .as_bytes(),
                    )?;
                } else {
                    say(&format!("line {number}: {}", problem.render().trim_end()));
                }
            }
        }
    }
    if !quiet && !session.global.json {
        say(&format!("{admitted_count} admitted, {failed} failed"));
    }
    Ok(if failed > 0 { Exit::Partly } else { Exit::Ok })
}

fn print_line(session: &Session, number: u64, agent: &Sent<Spawned>, quiet: bool) -> Result<(), Problem> {
    let id = sanitize::line(&agent.agent_id);
    if quiet {
        session.print(format!("{id}\n"))
    } else if session.global.json {
        session.print_raw(format!("{}\n", json!({"line": number, "agent": agent})).as_bytes())
    } else {
        session.print(format!("{number}\t{id}\t{}\t{}\n", admitted_name(agent), agent.status))
    }
}

/// Reads one line of at most a request body's size; a longer one comes cut and is then refused as no JSON.
fn next_line(reader: &mut impl BufRead) -> Result<Option<Vec<u8>>, Problem> {
    let mut line = Vec::new();
    let most = limits::BODY_BYTES as u64 + 1;
    let read = reader.by_ref().take(most).read_until(b'\n', &mut line);
    let read = read.map_err(|e| anyhow::Error::new(e).context("the file of tasks cannot be read"))?;
    if read as u64 == most && line.last() != Some(&b'\n') {
        // The rest of the long line must not pass for a line of its own.
        skip_line(reader)?;
    }
    Ok((read > 0).then_some(line))
}

fn skip_line(reader: &mut impl BufRead) -> Result<(), Problem> {
    loop {
        let buffer = reader
            .fill_buf()
            .map_err(|e| anyhow::Error::new(e).context("the file of tasks cannot be read"))?;
        if buffer.is_empty() {
            return Ok(());
        }
        let end = buffer.iter().position(|&b| b == b'\n');
        let used = end.map_or(buffer.len(), |at| at + 1);
        reader.consume(used);
        if end.is_some() {
            return Ok(());
        }
    }
}

fn spawn_line(client: &Client, line: &[u8]) -> Result<Sent<Spawned>, Problem> {
    if line.len() > limits::BODY_BYTES {
        return Err(Problem::usage(format!("is longer than {} bytes", limits::BODY_BYTES)));
    }
    let body: Value = serde_json::from_slice(line).map_err(|e| Problem::usage(format!("is no JSON: {e}")))?;
    send(client, &body, None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_line_does_not_pass_for_several() {
        let mut text = vec![b'x'; limits::BODY_BYTES + 5000];
        text.extend_from_slice(b"\n{}\nlast");
        let mut reader = BufReader::new(text.as_slice());
        let mut lengths = Vec::new();
        while let Some(line) = next_line(&mut reader).unwrap() {
            lengths.push(line.len());
        }
        assert_eq!(lengths, [limits::BODY_BYTES + 1, 3, 4]);
    }

    #[test]
    fn what_was_admitted_is_one_line() {
        let agent = json!({"name": "fix-3f9a", "status": "spawning", "phase": "queued", "queuePosition": 1, "branch": "mosaic/fix/7d0c6c1e"});
        let agent = crate::samples::spawned(agent);
        assert_eq!(admitted(&agent), "fix-3f9a  queued (place 2)   branch mosaic/fix/7d0c6c1e");
    }
}
