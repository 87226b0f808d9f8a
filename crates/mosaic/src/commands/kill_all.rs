//! `mosaic kill-all`: ends every agent. Wide, so the count must be typed, or `--yes` given; never from an agent.

use serde_json::{Value, json};

use crate::cli::KillAllArgs;
use crate::client::Client;
use crate::exit::Exit;
use crate::local_kill::{self, Local, Who};
use crate::plain;
use crate::problem::Problem;
use crate::session::{Session, say};
use crate::trust::ask_line;
use crate::view::View;

/// Most agents that are counted beforehand; the order itself has no bound.
const COUNTED: usize = 10_000;

/// Runs the command.
pub(super) fn run(session: &Session, args: &KillAllArgs) -> Result<Exit, Problem> {
    if session.in_agent() {
        let hint = Some("end your own work instead, or ask the operator".to_owned());
        return Err(Problem::NotAllowed { what: "kill-all is not for agents".to_owned(), hint });
    }
    let client = match local_kill::who(session)? {
        Who::Server(client) => client,
        Who::Here(local) => return without_server(session, args, &local),
    };
    let active = match active(&client) {
        Ok(active) => active,
        Err(why) if args.dry_run => return Err(why),
        Err(why) => {
            permit_uncounted(session, "kill-all", args.yes, why)?;
            return order(session, &client, args.reason.as_deref());
        }
    };
    let count = active.len() as u64;
    if args.dry_run {
        let lines: String = active
            .iter()
            .map(|a| (View::new(a).name(), View::new(a).shown("phase")))
            .map(|(n, p)| format!("{n}\t{p}\n"))
            .collect();
        session.print(lines)?;
        say(&format!("{count} agents would be killed"));
        return Ok(Exit::Ok);
    }
    let queued = active.iter().filter(|a| View::new(a).text("phase") == "queued").count() as u64;
    let words =
        format!("This kills {count} agents ({} started, {queued} queued). Work is kept.", count - queued);
    permit(session, "kill-all", args.yes, count, &words)?;
    order(session, &client, args.reason.as_deref())
}

/// Lists what is not terminal. An error is one of the server's own, such as a store that is away; then an order is given
/// without a count.
pub(super) fn active(client: &Client) -> Result<Vec<Value>, Problem> {
    super::ps::list(client, "&status=spawning,running", COUNTED)
}

/// Gives the order and says what it came to.
fn order(session: &Session, client: &Client, reason: Option<&str>) -> Result<Exit, Problem> {
    let body = reason.map_or_else(|| json!({}), |reason| json!({"reason": reason}));
    let answer = client.post_kill_all(&body)?;
    let report = View::new(&answer.body);
    if session.global.json {
        session.print_json(&answer.body)?;
    } else {
        session.print(render(&report))?;
    }
    Ok(if report.number("failed") > 0 { Exit::Partly } else { Exit::Ok })
}

/// Does the same from the state directory.
fn without_server(session: &Session, args: &KillAllArgs, local: &Local) -> Result<Exit, Problem> {
    let active = local.present()?;
    if args.dry_run {
        session.print(active.iter().map(|agent| format!("{agent}\n")).collect())?;
        say(&format!("{} agents would be killed, and what waits in the queue would not start", active.len()));
        return Ok(Exit::Ok);
    }
    let count = active.len() as u64;
    let words =
        format!("This kills {count} agents; what waits in the queue does not start either. Work is kept.");
    permit(session, "kill-all", args.yes, count, &words)?;
    local.kill_all(session, args.reason.as_deref())
}

/// Makes sure that a person means it: `--yes`, the count by `--yes=N`, or the count typed after these words.
pub(super) fn permit(
    session: &Session,
    command: &str,
    yes: Option<Option<u64>>,
    count: u64,
    words: &str,
) -> Result<(), Problem> {
    match yes {
        Some(None) => return Ok(()),
        Some(Some(n)) if n == count => return Ok(()),
        Some(Some(n)) => {
            return Err(Problem::usage_hint(
                format!("--yes={n}, but there are {count} agents; nothing was killed"),
                "look first: mosaic ps",
            ));
        }
        None => {}
    }
    if count == 0 {
        return Ok(());
    }
    if !session.terminal.asks {
        return Err(Problem::usage_hint(
            format!("{command} would end {count} agents and asks first, but this is no terminal"),
            format!("say yes: mosaic {command} --yes"),
        ));
    }
    say(words);
    let typed = ask_line(&format!("Type {count} to go on: "))?;
    if typed.parse() == Ok(count) { Ok(()) } else { Err(Problem::usage("not confirmed; nothing was killed")) }
}

/// Makes sure that a person means it although nobody can say how many agents there are: `--yes`, or the command typed on a
/// terminal. A script's order is given without either.
/// Refuses what is no trouble of the server's own, such as a wrong token.
pub(super) fn permit_uncounted(
    session: &Session,
    command: &str,
    yes: Option<Option<u64>>,
    why: Problem,
) -> Result<(), Problem> {
    let api = match why {
        Problem::Api(api) if api.status >= 500 => api,
        other => return Err(other),
    };
    say(&format!("how many agents there are cannot be told: {}", plain::line(&api.detail)));
    match yes {
        Some(None) => return Ok(()),
        Some(Some(n)) => {
            let text = format!("--yes={n}, but the agents cannot be counted; nothing was killed");
            return Err(Problem::usage_hint(text, format!("without a number: mosaic {command} --yes")));
        }
        None => {}
    }
    // Nobody can be asked, and an order to stop that is not given is the greater harm.
    if !session.terminal.asks {
        return Ok(());
    }
    let typed = ask_line(&format!("Type {command} to go on: "))?;
    if typed == command { Ok(()) } else { Err(Problem::usage("not confirmed; nothing was killed")) }
}

/// Says in lines what a wide order came to.
pub(super) fn render(report: &View<'_>) -> String {
    let seconds =
        slowest(report).map_or(String::new(), |ms| format!(" in {}.{}s", ms / 1000, ms % 1000 / 100));
    let left: u64 = receipts(report).map(|receipt| receipt.number("processesAfter")).sum();
    let verified = match report.value().get("verified").and_then(serde_json::Value::as_bool) {
        Some(true) => format!(" · verified {left} processes"),
        _ => String::new(),
    };
    let mut out = format!(
        "{} killed{seconds} · {} failed{verified}\n",
        report.number("killed"),
        report.number("failed")
    );
    for error in report.list("errors").iter().filter_map(serde_json::Value::as_str) {
        out.push_str(&format!("  {}\n", plain::line(error)));
    }
    if report.text("recorded") == "memory" {
        out.push_str(
            "  the order is in force, but could not be written down: it is lost if the server ends now\n",
        );
    }
    out
}

fn receipts<'a>(report: &View<'a>) -> impl Iterator<Item = View<'a>> {
    report.value().get("receipts").and_then(serde_json::Value::as_array).into_iter().flatten().map(View::new)
}

/// Returns how long the slowest took until it was verified.
fn slowest(report: &View<'_>) -> Option<u64> {
    receipts(report).map(|receipt| receipt.number("tookMs")).max().filter(|ms| *ms > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_report_names_what_failed() {
        let report =
            json!({"total": 5, "killed": 4, "failed": 1, "errors": ["api-51cc: not confirmed\u{7}"]});
        assert_eq!(render(&View::new(&report)), "4 killed · 1 failed\n  api-51cc: not confirmed\\x07\n");
        let done = json!({"killed": 2, "failed": 0, "verified": true, "recorded": "memory", "errors": [],
            "receipts": [{"tookMs": 1840, "processesAfter": 0}, {"tookMs": 20}]});
        let text = render(&View::new(&done));
        assert!(text.starts_with("2 killed in 1.8s · 0 failed · verified 0 processes\n"), "{text}");
        assert!(text.contains("could not be written down"), "{text}");
    }
}
