//! `mosaic kill`: ends one agent, with proof that nothing of it is alive.

use serde_json::{Value, json};

use crate::cli::KillArgs;
use crate::client::escape;
use crate::exit::Exit;
use crate::local_kill::{self, Who};
use crate::paint::Paint;
use crate::problem::Problem;
use crate::resolve;
use crate::session::Session;
use crate::view::View;

/// Runs the command.
pub(super) fn run(session: &Session, args: &KillArgs) -> Result<Exit, Problem> {
    if session.in_agent() {
        return Err(Problem::NotAllowed {
            what: "an agent may not kill agents, itself included".to_owned(),
            hint: Some("end your own work instead, or ask the operator".to_owned()),
        });
    }
    let client = match local_kill::who(session)? {
        Who::Server(client) => client,
        Who::Here(local) => return local.kill(session, &args.one.agent, args.reason.as_deref()),
    };
    let agent = resolve::agent_to_stop(&client, &args.one.agent)?;
    let view = View::new(&agent);
    let body = args.reason.as_ref().map_or_else(|| json!({}), |reason| json!({"reason": reason}));
    let answer = client.post(&format!("/agents/{}/kill", escape(view.id())), &body)?;
    if session.global.json {
        session.print_json(&answer.body)?;
    } else {
        session.print(receipt(&view, &answer.body, answer.status == 202, session.paint()))?;
    }
    Ok(if answer.status == 202 { Exit::Partly } else { Exit::Ok })
}

/// Renders what the kill came to.
fn receipt(agent: &View<'_>, answer: &Value, pending: bool, paint: Paint) -> String {
    let name = agent.name();
    let said = View::new(answer);
    let yes = |field: &str| answer.get(field).and_then(Value::as_bool).unwrap_or(false);
    if yes("alreadyTerminal") {
        return format!("{name}  had already ended: {}\n", said.shown("status"));
    }
    let node = said.shown("node");
    if pending && !node.is_empty() {
        let ends = match said.shown("leaseExpiresAt") {
            at if at.is_empty() => "it stops itself when its lease ends".to_owned(),
            at => format!("its lease expires {at}, then it stops itself"),
        };
        return format!(
            "{name}  {} node {node} has not confirmed it; {ends}\n  look again: mosaic wait {name}\n",
            paint.warn("killing:")
        );
    }
    if pending {
        return format!(
            "{name}  {} asked to stop, not confirmed yet\n  look again: mosaic wait {name}\n",
            paint.warn("killing:")
        );
    }
    let inner = View::new(answer.get("receipt").unwrap_or(answer));
    let took = inner.number("tookMs");
    let time = if took > 0 { format!(" in {}.{}s", took / 1000, took % 1000 / 100) } else { String::new() };
    let rung = match inner.text("rung") {
        "" | "none" => String::new(),
        rung => format!(" ({})", crate::plain::line(rung)),
    };
    let mut out = format!("{name}  {}{time}{rung}\n", paint.warn("killed"));
    if inner.value().get("processesAfter").is_some() {
        out.push_str(&format!(
            "  verified    {} of {} processes left{}\n",
            inner.number("processesAfter"),
            inner.number("processesBefore"),
            held_by(&inner)
        ));
    } else if yes("verified") {
        out.push_str("  verified    nothing of it is alive\n");
    }
    out.push_str(&salvaged(&inner));
    out.push_str(&published(&inner));
    let branch = agent.shown("branch");
    if !agent.text("headCommit").is_empty() || !said.text("headCommit").is_empty() {
        out.push_str(&format!("  kept        its commits, for {branch}: mosaic diff {name}\n"));
    }
    out.push_str(&format!("  again       mosaic retry {name}\n"));
    out
}

/// What held its processes together, and what is left of its tree.
fn held_by(receipt: &View<'_>) -> String {
    let parts = [("confinement", ""), ("container", "container "), ("worktree", "worktree ")];
    let said = parts.iter().map(|(field, label)| (label, receipt.shown(field)));
    said.filter(|(_, word)| !word.is_empty()).map(|(label, word)| format!(" · {label}{word}")).collect()
}

/// What is known of its commit on the remote; nothing when no push was begun.
fn published(receipt: &View<'_>) -> String {
    let Some(known) = receipt.value().get("publication").map(View::new) else { return String::new() };
    let commit = known.shown("commit").chars().take(7).collect::<String>();
    match known.text("state") {
        "mayBeThere" => format!("  remote      may have its branch at {commit}: a push was under way\n"),
        "there" => format!("  remote      has its branch at {commit}: the push had arrived\n"),
        "notThere" => format!("  remote      does not have {commit}\n"),
        _ => String::new(),
    }
}

/// What became of work that nobody had received.
fn salvaged(receipt: &View<'_>) -> String {
    let Some(salvage) = receipt.value().get("salvage").map(View::new) else { return String::new() };
    match salvage.text("state") {
        "done" => format!("  salvaged    {}\n", salvage.shown("ref")),
        "pending" => "  salvaged    not yet: its work is being kept\n".to_owned(),
        "failed" => "  salvaged    no: its tree stays as it is\n".to_owned(),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::paint::ColorChoice;

    #[test]
    fn the_receipt_proves_the_end() {
        let agent = json!({"name": "loop-0e31", "branch": "mosaic/loop/1", "headCommit": "abc"});
        let view = View::new(&agent);
        let answer = json!({"status": "killed", "verified": true, "receipt": {"processesBefore": 9, "processesAfter": 0, "rung": "kill", "tookMs": 1840}});
        assert_eq!(
            receipt(&view, &answer, false, Paint::choose(ColorChoice::Never, false, &|_| None)),
            "loop-0e31  killed in 1.8s (kill)\n  verified    0 of 9 processes left\n  kept        its commits, for mosaic/loop/1: mosaic diff loop-0e31\n  again       mosaic retry loop-0e31\n"
        );
        let ended = json!({"status": "completed", "alreadyTerminal": true});
        assert_eq!(
            receipt(&view, &ended, false, Paint::choose(ColorChoice::Never, false, &|_| None)),
            "loop-0e31  had already ended: completed\n"
        );
        assert!(
            receipt(&view, &json!({}), true, Paint::choose(ColorChoice::Never, false, &|_| None))
                .contains("not confirmed yet")
        );
        let elsewhere = json!({"node": "build-2", "leaseExpiresAt": "2026-11-22T10:33:00.000Z"});
        assert_eq!(
            receipt(&view, &elsewhere, true, Paint::choose(ColorChoice::Never, false, &|_| None)),
            "loop-0e31  killing: node build-2 has not confirmed it; its lease expires 2026-11-22T10:33:00.000Z, then it stops itself\n  look again: mosaic wait loop-0e31\n"
        );
    }
}
