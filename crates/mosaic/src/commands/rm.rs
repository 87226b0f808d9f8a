//! `mosaic rm`: removes ended agents. Work that is kept nowhere else is given up only when the agent's name is typed;
//! never by an agent.

use mosaic_api::{Code, Removed};
use serde_json::json;

use crate::cli::RmArgs;
use crate::client::{Client, escape};
use crate::exit::Exit;
use crate::problem::Problem;
use crate::resolve;
use crate::sanitize;
use crate::sent::Sent;
use crate::session::{Session, say};
use crate::trust::ask_line;
use crate::view::{AgentStatus, name_of};

/// Runs the command.
pub(super) fn run(session: &Session, args: &RmArgs) -> Result<Exit, Problem> {
    if session.in_agent() {
        let hint = Some("ask the operator".to_owned());
        return Err(Problem::NotAllowed { what: "an agent may not remove agents".to_owned(), hint });
    }
    if let (Some(Some(_)), [_, _, ..]) = (&args.discard, args.agents.as_slice()) {
        let hint = "one agent at a time: mosaic rm AGENT --discard=NAME";
        return Err(Problem::usage_hint("--discard=NAME names one agent, but several were given", hint));
    }
    let client = session.client()?;
    let mut removed = Vec::new();
    let mut refused = Vec::new();
    for typed in &args.agents {
        match remove_one(session, &client, typed, args.discard.as_ref()) {
            Ok(answer) => {
                if !session.global.json {
                    session.print(line(&answer))?;
                }
                removed.push(answer);
            }
            Err(problem) => refused.push(problem),
        }
    }
    if session.global.json {
        let refused: Vec<String> = refused.iter().map(ToString::to_string).collect();
        session.print_json(&json!({"removed": removed, "refused": refused}))?;
    }
    match (removed.is_empty(), refused.pop()) {
        (_, None) => Ok(Exit::Ok),
        (true, Some(last)) => {
            refused.iter().for_each(|problem| say(problem.render().trim_end()));
            Err(last)
        }
        (false, Some(last)) => {
            refused.push(last);
            refused.iter().for_each(|problem| say(problem.render().trim_end()));
            Ok(Exit::Partly)
        }
    }
}

/// Removes one agent.
fn remove_one(
    session: &Session,
    client: &Client,
    typed: &str,
    discard: Option<&Option<String>>,
) -> Result<Sent<Removed>, Problem> {
    let agent = resolve::agent(client, typed)?;
    let shown_name = agent.status.short_name();
    let path = format!("/v1/agents/{}", escape(&agent.status.agent_id));
    let with = |name: &str| format!("{path}?discard={}", escape(name));
    // Asked without the name first, whatever was typed: an agent whose work is kept elsewhere gives nothing up, and
    // only a refusal tells what would be lost.
    match (discard, client.delete(&path)) {
        (Some(Some(name)), Err(Problem::Api(api))) if api.is(Code::UnmergedWork) => {
            client.delete(&with(name))
        }
        (Some(None), Err(Problem::Api(api))) if api.is(Code::UnmergedWork) => {
            if !session.terminal.asks {
                let hint = format!(
                    "{}; or say which: mosaic rm {} --discard=NAME",
                    sanitize::line(&api.detail),
                    shown_name
                );
                return Err(Problem::usage_hint(
                    "--discard asks for the agent's name, but this is no terminal",
                    hint,
                ));
            }
            say(&sanitize::line(&api.detail));
            let typed = ask_line(&format!("Type {shown_name} to give it up for good: "))?;
            if typed != agent.status.name {
                return Err(Problem::usage("not confirmed; nothing was removed"));
            }
            client.delete(&with(&typed))
        }
        (None, Err(Problem::Api(mut api))) if api.is(Code::UnmergedWork) => {
            api.hint = Some(format!(
                "push it or keep it elsewhere first; to give it up: mosaic rm {shown_name} --discard"
            ));
            Err(Problem::Api(api))
        }
        (_, answer) => answer,
    }
}

fn line(answer: &Removed) -> String {
    let lost = match answer.discarded.as_ref().map_or(0, |lost| lost.commits.len()) {
        0 => String::new(),
        1 => " · 1 commit given up".to_owned(),
        n => format!(" · {n} commits given up"),
    };
    let name = name_of(&answer.name, &answer.agent_id);
    format!("{name}  removed · {} freed{lost}\n", bytes(answer.freed_bytes))
}

/// Renders an amount for people.
pub(super) fn bytes(n: u64) -> String {
    match n {
        0..1024 => format!("{n} bytes"),
        1024..1_048_576 => format!("{} KiB", n / 1024),
        1_048_576..1_073_741_824 => format!("{} MiB", n >> 20),
        _ => format!("{:.1} GiB", n as f64 / f64::from(1 << 30)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_removed_is_said_in_a_line() {
        let read = |answer: serde_json::Value| Sent::<Removed>::read(answer).unwrap();
        let answer = read(json!({"agentId": "", "name": "fix-7d0c", "freedBytes": 2048}));
        assert_eq!(line(&answer), "fix-7d0c  removed · 2 KiB freed\n");
        let commit = json!({"commit": "9f31c2a", "subject": "A change"});
        let lost = crate::samples::unmerged(json!({"commits": [commit, commit]}));
        let answer = read(json!({"agentId": "", "name": "fix-7d0c", "freedBytes": 0, "discarded": lost}));
        assert_eq!(line(&answer), "fix-7d0c  removed · 0 bytes freed · 2 commits given up\n");
        assert_eq!(bytes(3 << 30), "3.0 GiB");
    }
}
