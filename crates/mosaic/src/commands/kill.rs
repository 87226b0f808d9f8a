//! `mosaic kill`: ends one agent, with proof that nothing of it is alive.

use mosaic_api::{KillReceipt, Killed, OrderRequest, PublicationState, SalvageState};

use crate::cli::KillArgs;
use crate::client::escape;
use crate::color::Paint;
use crate::exit::Exit;
use crate::local_kill::{self, Who};
use crate::problem::Problem;
use crate::resolve::{self, ToStop};
use crate::sanitize;
use crate::session::Session;
use crate::view::shown;

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
    let body = OrderRequest { reason: args.reason.clone() };
    let answer = client.post(&format!("/agents/{}/kill", escape(&agent.id)), &body)?;
    let is_pending = answer.status == 202;
    let killed = answer.read::<Killed>()?;
    if session.global.json {
        session.print_json(&killed)?;
    } else {
        session.print(receipt(&agent, &killed, is_pending, session.paint()))?;
    }
    // 202 means that the order stands and that its end is not proved, which a script must not take for a success.
    Ok(if is_pending { Exit::Partly } else { Exit::Ok })
}

/// Renders what the kill came to.
fn receipt(agent: &ToStop, answer: &Killed, pending: bool, paint: Paint) -> String {
    let name = &agent.name;
    if answer.already_terminal {
        return format!("{name}  had already ended: {}\n", answer.agent.status);
    }
    if pending && let Some(node) = &answer.node {
        let ends = match &answer.lease_expires_at {
            None => "it stops itself when its lease ends".to_owned(),
            Some(at) => format!("its lease expires {}, then it stops itself", sanitize::line(at)),
        };
        return format!(
            "{name}  {} node {} has not confirmed it; {ends}\n  look again: mosaic wait {name}\n",
            paint.warn("killing:"),
            sanitize::line(node)
        );
    }
    if pending {
        return format!(
            "{name}  {} asked to stop, not confirmed yet\n  look again: mosaic wait {name}\n",
            paint.warn("killing:")
        );
    }
    let inner = answer.receipt.as_ref();
    let time = inner.and_then(|inner| inner.took_ms).filter(|took| *took > 0);
    let time = time.map_or(String::new(), |took| format!(" in {}.{}s", took / 1000, took % 1000 / 100));
    let rung = inner.and_then(|inner| inner.rung.as_deref()).filter(|rung| !matches!(*rung, "" | "none"));
    let rung = rung.map_or(String::new(), |rung| format!(" ({})", sanitize::line(rung)));
    let mut out = format!("{name}  {}{time}{rung}\n", paint.warn("killed"));
    match inner.and_then(|inner| Some((inner.processes_after?, inner))) {
        Some((after, inner)) => out.push_str(&format!(
            "  verified    {after} of {} processes left{}\n",
            inner.processes_before.unwrap_or(0),
            held_by(inner)
        )),
        None if answer.verified => out.push_str("  verified    nothing of it is alive\n"),
        None => {}
    }
    out.push_str(&inner.map(salvaged).unwrap_or_default());
    out.push_str(&inner.map(published).unwrap_or_default());
    if agent.has_commits {
        out.push_str(&format!("  kept        its commits, for {}: mosaic diff {name}\n", agent.branch));
    }
    out.push_str(&format!("  again       mosaic retry {name}\n"));
    out
}

/// Says what held its processes together, and what is left of its tree.
fn held_by(receipt: &KillReceipt) -> String {
    let parts = [
        ("", shown(&receipt.confinement)),
        ("container ", sanitize::line(&receipt.container)),
        ("worktree ", receipt.worktree.to_string()),
    ];
    let said = parts.iter().filter(|(_, word)| !word.is_empty());
    said.map(|(label, word)| format!(" · {label}{word}")).collect()
}

/// Says what is known of its commit on the remote; nothing when no push was begun.
fn published(receipt: &KillReceipt) -> String {
    let known = &receipt.publication;
    let commit = shown(&known.commit).chars().take(7).collect::<String>();
    match known.state {
        PublicationState::MayBeThere => {
            format!("  remote      may have its branch at {commit}: a push was under way\n")
        }
        PublicationState::There => {
            format!("  remote      has its branch at {commit}: the push had arrived\n")
        }
        PublicationState::NotThere => format!("  remote      does not have {commit}\n"),
        PublicationState::None | PublicationState::Unknown => String::new(),
    }
}

/// Says what became of work that the server had not received before.
fn salvaged(receipt: &KillReceipt) -> String {
    match receipt.salvage.state {
        SalvageState::Done => format!("  salvaged    {}\n", shown(&receipt.salvage.reference)),
        SalvageState::Pending => "  salvaged    not yet: its work is being kept\n".to_owned(),
        SalvageState::Failed => "  salvaged    no: its tree stays as it is\n".to_owned(),
        SalvageState::None | SalvageState::Unknown => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::color::ColorChoice;
    use serde_json::json;

    #[test]
    fn the_receipt_proves_the_end() {
        let agent = crate::samples::agent(
            json!({"name": "loop-0e31", "branch": "mosaic/loop/1", "headCommit": "abc"}),
        );
        let agent = ToStop::from(&agent);
        let paint = || Paint::choose(ColorChoice::Never, false, &|_| None);
        let inner = json!({"processesBefore": 9, "processesAfter": 0, "rung": "kill", "tookMs": 1840});
        let answer = json!({"status": "killed", "verified": true, "receipt": crate::samples::receipt(inner)});
        assert_eq!(
            receipt(&agent, &crate::samples::killed(answer), false, paint()),
            "loop-0e31  killed in 1.8s (kill)\n  verified    0 of 9 processes left · worktree none\n  kept        its commits, for mosaic/loop/1: mosaic diff loop-0e31\n  again       mosaic retry loop-0e31\n"
        );
        let ended = crate::samples::killed(json!({"status": "completed", "alreadyTerminal": true}));
        assert_eq!(receipt(&agent, &ended, false, paint()), "loop-0e31  had already ended: completed\n");
        let pending = crate::samples::killed(json!({}));
        assert!(receipt(&agent, &pending, true, paint()).contains("not confirmed yet"));
        let elsewhere =
            crate::samples::killed(json!({"node": "build-2", "leaseExpiresAt": "2026-11-22T10:33:00.000Z"}));
        assert_eq!(
            receipt(&agent, &elsewhere, true, paint()),
            "loop-0e31  killing: node build-2 has not confirmed it; its lease expires 2026-11-22T10:33:00.000Z, then it stops itself\n  look again: mosaic wait loop-0e31\n"
        );
    }
}
