//! `mosaic restore`: an ended agent's work as a repository of its own.

use mosaic_api::{AgentView, RestoreRequest, Restored};

use crate::cli::RestoreArgs;
use crate::client::escape;
use crate::exit::Exit;
use crate::problem::Problem;
use crate::resolve;
use crate::sanitize;
use crate::sent::Sent;
use crate::session::Session;
use crate::view::AgentStatus;

/// Runs the command.
pub(super) fn run(session: &Session, args: &RestoreArgs) -> Result<Exit, Problem> {
    let client = session.client()?;
    let agent = resolve::agent(&client, &args.one.agent)?;
    let body = RestoreRequest { reason: None, attempt: args.attempt, run: args.run };
    let path = format!("/v1/agents/{}/restore", escape(&agent.status.agent_id));
    let answer: Sent<Restored> = client.post(&path, &body)?.read()?;
    if args.quiet {
        session.print(format!("{}\n", sanitize::line(&answer.path)))?;
    } else if session.global.json {
        session.print_json(&answer)?;
    } else {
        session.print(receipt(&agent, &answer))?;
    }
    Ok(Exit::Ok)
}

/// Renders where it is and what came back.
fn receipt(agent: &AgentView, restored: &Restored) -> String {
    let head = restored
        .head
        .as_deref()
        .map_or_else(|| "no commit".to_owned(), |head| head.chars().take(7).collect());
    let on = match sanitize::line(&restored.node) {
        node if node.is_empty() || agent.node.as_ref() == Some(&restored.node) => String::new(),
        node => format!(" on node {node}"),
    };
    let what = match restored.salvage {
        Some(_) => "its commits, index and files as they were when it was ended",
        None => "its commits; nothing was left uncommitted",
    };
    format!(
        "{}  restored into {}{on}\n  branch      {} at {head}\n  holds       {what}\n",
        agent.status.short_name(),
        sanitize::line(&restored.path),
        sanitize::line(&restored.branch)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn the_answer_says_where_and_what() {
        let agent = crate::samples::agent(json!({"name": "loop-0e31", "node": "here"}));
        let read = |answer: &Value| Sent::<Restored>::read(answer.clone()).unwrap();
        let mut answer = json!({"node": "here", "path": "/d/restored/loop-0e31-1", "branch": "mosaic/loop/1", "head": "9f31c2abbbb",
            "salvage": {"reference": "refs/mosaic/salvage/x", "commit": "4be11c0"}});
        let text = receipt(&agent, &read(&answer));
        assert_eq!(
            text,
            "loop-0e31  restored into /d/restored/loop-0e31-1\n  branch      mosaic/loop/1 at 9f31c2a\n  holds       its commits, index and files as they were when it was ended\n"
        );
        answer["salvage"] = Value::Null;
        assert!(receipt(&agent, &read(&answer)).contains("nothing was left uncommitted"));
    }
}
