//! `mosaic freeze` and `mosaic thaw`: agents stand still, and go on. Each is done for itself, so that one that cannot be
//! frozen keeps none of the others running.

use mosaic_api::{Frozen, OrderRequest, Phase};
use serde_json::{Value, json};

use crate::cli::FreezeArgs;
use crate::client::{ApiAnswer, Client, escape};
use crate::exit::Exit;
use crate::problem::{ApiProblem, Problem};
use crate::resolve;
use crate::sanitize;
use crate::sent::{Agent, Sent};
use crate::session::{Session, say};
use crate::view::AgentStatus;

/// Most agents that `--all` looks at.
const MOST: usize = 10_000;

/// Which of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// Stand still.
    Freeze,
    /// Go on.
    Thaw,
}

impl Way {
    fn verb(self) -> &'static str {
        match self {
            Self::Freeze => "freeze",
            Self::Thaw => "thaw",
        }
    }

    fn done(self) -> &'static str {
        match self {
            Self::Freeze => "frozen",
            Self::Thaw => "thawed",
        }
    }
}

/// Runs the command.
pub(super) fn run(session: &Session, args: &FreezeArgs, way: Way) -> Result<Exit, Problem> {
    if session.in_agent() {
        let what = format!("{} is not for agents", way.verb());
        return Err(Problem::NotAllowed { what, hint: Some("ask the operator".to_owned()) });
    }
    let client = session.client()?;
    let agents = meant(&client, args, way)?;
    let body = OrderRequest { reason: args.reason.clone() };
    let mut answers = Vec::new();
    for agent in &agents {
        let name = agent.status.short_name();
        let path = format!("/v1/agents/{}/{}", escape(&agent.status.agent_id), way.verb());
        match client.post(&path, &body).and_then(ApiAnswer::read) {
            Ok(answer) => answers.push((name, Ok(answer))),
            Err(Problem::Api(refused)) => answers.push((name, Err(refused))),
            Err(lost) => return Err(lost),
        }
    }
    report(session, way, &answers)?;
    let asked = answers.len();
    match answers.into_iter().filter_map(|(_, answer)| answer.err()).next_back() {
        // The one agent that was asked for says best why not.
        Some(refused) if asked == 1 && !args.all => Err(Problem::Api(refused)),
        // Between two steps there is nothing to freeze: with --all that is no failure of a thaw.
        Some(_) => Ok(Exit::Partly),
        None => Ok(Exit::Ok),
    }
}

/// Lists the agents that are meant.
fn meant(client: &Client, args: &FreezeArgs, way: Way) -> Result<Vec<Agent>, Problem> {
    if !args.all {
        return args.agents.iter().map(|typed| resolve::agent(client, typed)).collect();
    }
    let mut agents = super::agent_list::list(client, "&status=spawning,running", MOST)?;
    agents.retain(|agent| match way {
        Way::Freeze => !matches!(agent.status.phase, Phase::Queued | Phase::Backoff | Phase::Killing),
        Way::Thaw => agent.status.frozen,
    });
    Ok(agents)
}

fn report(
    session: &Session,
    way: Way,
    answers: &[(String, Result<Sent<Frozen>, ApiProblem>)],
) -> Result<(), Problem> {
    if session.global.json {
        let items: Vec<Value> = answers
            .iter()
            .map(|(name, answer)| match answer {
                Ok(body) => body.json().clone(),
                Err(refused) => json!({"name": name, "error": refused.detail}),
            })
            .collect();
        return session.print_json(&json!({"items": items}));
    }
    let mut out = String::new();
    for (name, answer) in answers {
        match answer {
            Ok(body) if !body.changed => out.push_str(&format!("{name}  was {} already\n", way.done())),
            Ok(_) => out.push_str(&format!("{name}  {}\n", way.done())),
            Err(refused) if answers.len() > 1 => {
                out.push_str(&format!("{name}  not {}: {}\n", way.done(), sanitize::line(&refused.detail)))
            }
            Err(_) => {}
        }
    }
    session.print(out)?;
    if answers.is_empty() {
        say(&format!("no agent to {}", way.verb()));
    } else if way == Way::Freeze && answers.iter().any(|(_, answer)| answer.is_ok()) {
        say("go on: mosaic thaw --all");
    }
    Ok(())
}
