//! `mosaic kill-all`: ends every agent. Wide, so the count must be typed, or `--yes` given; never from an agent.

use mosaic_api::{AgentReceipt, KillAll, OrderRequest, Phase, Recorded};

use crate::cli::KillAllArgs;
use crate::client::Client;
use crate::exit::Exit;
use crate::local_kill::{self, Local, Who};
use crate::problem::Problem;
use crate::sanitize;
use crate::sent::Agent;
use crate::session::{Session, say};
use crate::trust::ask_line;
use crate::view::AgentStatus;

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
            .map(|agent| format!("{}\t{}\n", agent.status.short_name(), agent.status.phase))
            .collect();
        session.print(lines)?;
        say(&format!("{count} agents would be killed"));
        return Ok(Exit::Ok);
    }
    let queued = active.iter().filter(|agent| agent.status.phase == Phase::Queued).count() as u64;
    let words =
        format!("This kills {count} agents ({} started, {queued} queued). Work is kept.", count - queued);
    permit(session, "kill-all", args.yes, count, &words)?;
    order(session, &client, args.reason.as_deref())
}

/// Lists what is not terminal. An error is one of the server's own, such as a store that is away; then an order is given
/// without a count.
pub(super) fn active(client: &Client) -> Result<Vec<Agent>, Problem> {
    super::agent_list::list(client, "&status=spawning,running", COUNTED)
}

/// Gives the order and says what it came to.
fn order(session: &Session, client: &Client, reason: Option<&str>) -> Result<Exit, Problem> {
    let body = OrderRequest { reason: reason.map(str::to_owned) };
    let report = client.post_stop::<KillAll>("/agents/kill-all", &body)?;
    if session.global.json {
        session.print_json(&report)?;
    } else {
        session.print(render(&report))?;
    }
    Ok(if report.failed > 0 { Exit::Partly } else { Exit::Ok })
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
    say(&format!("how many agents there are cannot be told: {}", sanitize::line(&api.detail)));
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

/// Says in lines the outcome of a bulk stop order.
pub(super) fn render(report: &KillAll) -> String {
    let slowest = report.receipts.iter().filter_map(|one| one.receipt.took_ms).max().filter(|ms| *ms > 0);
    let seconds = slowest.map_or(String::new(), |ms| format!(" in {}.{}s", ms / 1000, ms % 1000 / 100));
    let left = |one: &AgentReceipt| u64::from(one.receipt.processes_after.unwrap_or(0));
    let verified = match report.verified {
        true => format!(" · verified {} processes", report.receipts.iter().map(left).sum::<u64>()),
        false => String::new(),
    };
    let mut out = format!("{} killed{seconds} · {} failed{verified}\n", report.killed, report.failed);
    for error in &report.errors {
        out.push_str(&format!("  {}\n", sanitize::line(error)));
    }
    if report.recorded == Recorded::Memory {
        out.push_str(
            "  the order is in force, but could not be written down: it is lost if the server ends now\n",
        );
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::{agent_receipt, kill_all};
    use serde_json::json;

    #[test]
    fn the_report_names_what_failed() {
        let report =
            json!({"total": 5, "killed": 4, "failed": 1, "errors": ["api-51cc: not confirmed\u{7}"]});
        assert_eq!(render(&kill_all(report)), "4 killed · 1 failed\n  api-51cc: not confirmed\\x07\n");
        let receipts =
            [json!({"tookMs": 1840, "processesAfter": 0}), json!({"tookMs": 20})].map(agent_receipt);
        let done = json!({"killed": 2, "verified": true, "recorded": "memory", "receipts": receipts});
        let text = render(&kill_all(done));
        assert!(text.starts_with("2 killed in 1.8s · 0 failed · verified 0 processes\n"), "{text}");
        assert!(text.contains("could not be written down"), "{text}");
    }
}
