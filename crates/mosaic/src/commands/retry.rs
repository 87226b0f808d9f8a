//! `mosaic retry`: the same task again with a new agent.

use serde_json::json;

use crate::cli::RetryArgs;
use crate::client::escape;
use crate::exit::Exit;
use crate::problem::Problem;
use crate::resolve;
use crate::session::{Session, say};
use crate::view::View;

/// Runs the command.
pub(super) fn run(session: &Session, args: &RetryArgs) -> Result<Exit, Problem> {
    let client = session.client()?;
    let agent = resolve::agent(&client, &args.one.agent)?;
    let old = View::new(&agent);
    let mut body = args.reason.as_ref().map_or_else(|| json!({}), |reason| json!({"reason": reason}));
    if !args.allow_secret.is_empty() {
        let one = |fingerprint: &String| json!({"fingerprint": fingerprint, "reason": &args.reason});
        body["allowedSecrets"] = args.allow_secret.iter().map(one).collect();
    }
    let answer = client.post(&format!("/v1/agents/{}/retry", escape(old.id())), &body)?.body;
    let view = View::new(&answer);
    if args.quiet {
        session.print(format!("{}\n", view.shown("agentId")))?;
    } else if session.global.json {
        session.print_json(&answer)?;
    } else {
        session.print(format!("{}   repeats {}\n", super::spawn::admitted(&answer), old.name()))?;
        say(&format!("follow: mosaic logs -f {}", view.name()));
    }
    Ok(Exit::Ok)
}
