//! `mosaic retry`: the same task again with a new agent.

use mosaic_api::{AllowedSecret, RetryRequest, Spawned};

use crate::cli::RetryArgs;
use crate::client::escape;
use crate::exit::Exit;
use crate::problem::Problem;
use crate::resolve;
use crate::sanitize;
use crate::sent::Sent;
use crate::session::{Session, say};
use crate::view::{AgentStatus, admitted_name};

/// Runs the command.
pub(super) fn run(session: &Session, args: &RetryArgs) -> Result<Exit, Problem> {
    let client = session.client()?;
    let agent = resolve::agent(&client, &args.one.agent)?;
    let allowed = |fingerprint: &String| AllowedSecret {
        fingerprint: fingerprint.clone(),
        reason: args.reason.clone().unwrap_or_default(),
    };
    let body = RetryRequest {
        reason: args.reason.clone(),
        allowed_secrets: (!args.allow_secret.is_empty())
            .then(|| args.allow_secret.iter().map(allowed).collect()),
    };
    let path = format!("/v1/agents/{}/retry", escape(&agent.status.agent_id));
    let answer: Sent<Spawned> = client.post(&path, &body)?.read()?;
    if args.quiet {
        session.print(format!("{}\n", sanitize::line(&answer.agent_id)))?;
    } else if session.global.json {
        session.print_json(&answer)?;
    } else {
        session.print(format!(
            "{}   repeats {}\n",
            super::spawn::admitted(&answer),
            agent.status.short_name()
        ))?;
        say(&format!("follow: mosaic logs -f {}", admitted_name(&answer)));
    }
    Ok(Exit::Ok)
}
