//! `mosaic restore`: an ended agent's work as a repository of its own.

use serde_json::{Value, json};

use crate::cli::RestoreArgs;
use crate::client::escape;
use crate::exit::Exit;
use crate::problem::Problem;
use crate::resolve;
use crate::session::Session;
use crate::view::View;

/// Runs the command.
pub(super) fn run(session: &Session, args: &RestoreArgs) -> Result<Exit, Problem> {
    let client = session.client()?;
    let agent = resolve::agent(&client, &args.one.agent)?;
    let view = View::new(&agent);
    let body = json!({"attempt": args.attempt, "run": args.run});
    let answer = client.post(&format!("/v1/agents/{}/restore", escape(view.id())), &body)?.body;
    if args.quiet {
        session.print(format!("{}\n", View::new(&answer).shown("path")))?;
    } else if session.global.json {
        session.print_json(&answer)?;
    } else {
        session.print(receipt(&view, &answer))?;
    }
    Ok(Exit::Ok)
}

/// Renders where it is and what came back.
fn receipt(agent: &View<'_>, answer: &Value) -> String {
    let restored = View::new(answer);
    let head = match restored.text("head") {
        "" => "no commit".to_owned(),
        head => head.chars().take(7).collect(),
    };
    let on = match restored.shown("node") {
        node if node.is_empty() || node == agent.shown("node") => String::new(),
        node => format!(" on node {node}"),
    };
    let what = match answer.get("salvage").is_some_and(Value::is_object) {
        true => "its commits, index and files as they were when it was ended",
        false => "its commits; nothing was left uncommitted",
    };
    format!(
        "{}  restored into {}{on}\n  branch      {} at {head}\n  holds       {what}\n",
        agent.name(),
        restored.shown("path"),
        restored.shown("branch")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_says_where_and_what() {
        let agent = json!({"name": "loop-0e31"});
        let mut answer = json!({"path": "/d/restored/loop-0e31-1", "branch": "mosaic/loop/1", "head": "9f31c2abbbb",
            "salvage": {"reference": "refs/mosaic/salvage/x", "commit": "4be11c0"}});
        let text = receipt(&View::new(&agent), &answer);
        assert_eq!(
            text,
            "loop-0e31  restored into /d/restored/loop-0e31-1\n  branch      mosaic/loop/1 at 9f31c2a\n  holds       its commits, index and files as they were when it was ended\n"
        );
        answer["salvage"] = Value::Null;
        assert!(receipt(&View::new(&agent), &answer).contains("nothing was left uncommitted"));
    }
}
