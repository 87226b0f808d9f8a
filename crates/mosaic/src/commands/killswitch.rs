//! `mosaic killswitch`: stops dispatch and kills what runs, until it is released; what waits keeps its place. Wide, so
//! the count must be typed, or `--yes` given; never from an agent.

use mosaic_api::{KillSwitch, OrderRequest, Phase, SwitchEngaged, SwitchReleased};

use super::kill_all::{active, permit, permit_uncounted, render};
use crate::cli::{KillswitchArgs, SwitchAction};
use crate::client::Client;
use crate::exit::Exit;
use crate::local_kill::{self, Local, Who};
use crate::problem::Problem;
use crate::sanitize;
use crate::sent::{Agent, Sent};
use crate::session::{Session, say};
use crate::view::shown;

/// Runs the command.
pub(super) fn run(session: &Session, args: &KillswitchArgs) -> Result<Exit, Problem> {
    let action = args.action.clone().unwrap_or(SwitchAction::Status);
    if session.in_agent() && !matches!(action, SwitchAction::Status) {
        let hint = Some("end your own work instead, or ask the operator".to_owned());
        return Err(Problem::NotAllowed { what: "the kill switch is not for agents".to_owned(), hint });
    }
    let client = match (&action, local_kill::who(session)?) {
        (_, Who::Server(client)) => client,
        (SwitchAction::Engage { yes, reason }, Who::Here(local)) => {
            return without_server(session, &local, *yes, reason.as_deref());
        }
        // The others want the server, and say what is wrong with it.
        (_, Who::Here(_)) => session.client()?,
    };
    match action {
        SwitchAction::Status => {
            let state = client.get::<KillSwitch>("/v1/killswitch")?;
            show(session, &state, |state| {
                line(state).unwrap_or_else(|| "kill switch off".to_owned()) + "\n"
            })?;
            Ok(Exit::Ok)
        }
        SwitchAction::Engage { yes, reason } => engage(session, &client, yes, reason),
        SwitchAction::Release => {
            let none = OrderRequest { reason: None };
            let state = client.post("/v1/killswitch/release", &none)?.read::<SwitchReleased>()?;
            let said =
                if state.was_engaged { "released: what waits starts again" } else { "it was not engaged" };
            show(session, &state, |_| format!("kill switch {said}\n"))?;
            Ok(Exit::Ok)
        }
    }
}

/// Engages it from the state directory.
fn without_server(
    session: &Session,
    local: &Local,
    yes: Option<Option<u64>>,
    reason: Option<&str>,
) -> Result<Exit, Problem> {
    let count = local.present()?.len() as u64;
    let words =
        format!("This stops dispatch and kills {count} agents. Queued ones stay queued. Work is kept.");
    permit(session, "killswitch engage", yes, count, &words)?;
    local.engage(session, reason)
}

fn engage(
    session: &Session,
    client: &Client,
    yes: Option<Option<u64>>,
    reason: Option<String>,
) -> Result<Exit, Problem> {
    let active = match active(client) {
        Ok(active) => active,
        Err(why) => {
            permit_uncounted(session, "killswitch engage", yes, why)?;
            return order(session, client, reason);
        }
    };
    let waits = |agent: &&Agent| matches!(agent.status.phase, Phase::Queued | Phase::Backoff);
    let queued = active.iter().filter(waits).count() as u64;
    let count = active.len() as u64 - queued;
    let words = format!(
        "This stops dispatch and kills {count} agents. {queued} queued ones stay queued. Work is kept."
    );
    permit(session, "killswitch engage", yes, count, &words)?;
    order(session, client, reason)
}

/// Gives the order and says what it came to.
fn order(session: &Session, client: &Client, reason: Option<String>) -> Result<Exit, Problem> {
    let answer = client.post_stop::<SwitchEngaged>("/v1/killswitch/engage", &OrderRequest { reason })?;
    show(session, &answer, |answer| {
        let waits = format!("{} queued, until: mosaic killswitch release", answer.report.queued);
        format!("dispatch stopped · {}{waits}\n", render(&answer.report))
    })?;
    Ok(if answer.report.failed > 0 { Exit::Partly } else { Exit::Ok })
}

fn show<T>(session: &Session, state: &Sent<T>, text: impl FnOnce(&T) -> String) -> Result<(), Problem> {
    if session.global.json { session.print_json(state) } else { session.print(text(state)) }
}

/// Says who stopped dispatch, when and why, and the way out; nothing while the switch is off.
fn line(state: &KillSwitch) -> Option<String> {
    if !state.engaged {
        return None;
    }
    let reason = match shown(&state.reason) {
        reason if reason.is_empty() => reason,
        reason => format!(" ({reason})"),
    };
    let out = match &state.stop_file {
        None => "go on: mosaic killswitch release".to_owned(),
        Some(file) => format!("go on: remove {}, then mosaic killswitch release", sanitize::line(file)),
    };
    Some(format!("STOPPED by {} at {}{reason} · {out}", shown(&state.by), shown(&state.since)))
}

/// Returns that line for other commands; nothing when the server does not say.
pub(super) fn banner(client: &Client) -> Option<String> {
    line(&*client.get::<KillSwitch>("/v1/killswitch").ok()?)
}

/// Says it beside a table for programs.
pub(super) fn warn(client: &Client) {
    if let Some(text) = banner(client) {
        say(&text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::kill_switch;
    use serde_json::json;

    #[test]
    fn the_line_says_who_why_and_the_way_out() {
        assert_eq!(line(&kill_switch(json!({}))), None);
        let mut state = json!({"engaged": true, "by": "alice\u{7}", "since": "2026-11-22T10:31:00.000Z", "reason": "freeze"});
        assert_eq!(
            line(&kill_switch(state.clone())).unwrap(),
            "STOPPED by alice\\x07 at 2026-11-22T10:31:00.000Z (freeze) · go on: mosaic killswitch release"
        );
        state["stopFile"] = json!("/data/STOP");
        assert!(
            line(&kill_switch(state.clone()))
                .unwrap()
                .ends_with("go on: remove /data/STOP, then mosaic killswitch release")
        );
    }
}
