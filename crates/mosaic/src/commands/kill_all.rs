//! `mosaic kill-all`: ends every agent. Wide, so the count must be typed, or `--yes` given; never from an agent.

use serde_json::json;

use crate::cli::KillAllArgs;
use crate::exit::Exit;
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
    let client = session.stop_client()?;
    let active = super::ps::list(&client, "&status=spawning,running", COUNTED)?;
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
    permit(session, args, &active)?;
    let body = args.reason.as_ref().map_or_else(|| json!({}), |reason| json!({"reason": reason}));
    let answer = client.post_kill_all(&body)?;
    let report = View::new(&answer.body);
    if session.global.json {
        session.print_json(&answer.body)?;
    } else {
        session.print(render(&report))?;
    }
    Ok(if report.number("failed") > 0 { Exit::Partly } else { Exit::Ok })
}

/// Makes sure that a person means it: `--yes`, the count by `--yes=N`, or the count typed.
fn permit(session: &Session, args: &KillAllArgs, active: &[serde_json::Value]) -> Result<(), Problem> {
    let count = active.len() as u64;
    match args.yes {
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
            format!("kill-all would end {count} agents and asks first, but this is no terminal"),
            "say yes: mosaic kill-all --yes",
        ));
    }
    let queued = active.iter().filter(|a| View::new(a).text("phase") == "queued").count() as u64;
    say(&format!("This kills {count} agents ({} started, {queued} queued). Work is kept.", count - queued));
    let typed = ask_line(&format!("Type {count} to go on: "))?;
    if typed.parse() == Ok(count) { Ok(()) } else { Err(Problem::usage("not confirmed; nothing was killed")) }
}

fn render(report: &View<'_>) -> String {
    let mut out = format!("{} killed · {} failed\n", report.number("killed"), report.number("failed"));
    for error in report.list("errors").iter().filter_map(serde_json::Value::as_str) {
        out.push_str(&format!("  {}\n", plain::line(error)));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_report_names_what_failed() {
        let report =
            json!({"total": 5, "killed": 4, "failed": 1, "errors": ["api-51cc: not confirmed\u{7}"]});
        assert_eq!(render(&View::new(&report)), "4 killed · 1 failed\n  api-51cc: not confirmed\\x07\n");
    }
}
