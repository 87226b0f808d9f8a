//! `mosaic gates` without an agent: pass rate, times and flaky tests of each gate in each repository.

use mosaic_api::{GateHistory, GateHistoryList, GateOutcome};

use crate::cli::GatesArgs;
use crate::client::{Client, escape};
use crate::color::Paint;
use crate::commands::audit::since;
use crate::exit::Exit;
use crate::problem::Problem;
use crate::sanitize;
use crate::session::{Session, say};
use crate::table::{Column, column, render, tabs};
use crate::view::{now, span, time};

/// Results that the last column shows.
const LAST: usize = 10;

const COLUMNS: [Column; 8] = [
    column("REPOSITORY"),
    column("GATE"),
    column("RUNS").right(),
    column("PASS").right(),
    column("P50").right().from(80),
    column("P95").right(),
    column("FLAKY").right().from(70),
    column("LAST").from(60),
];

/// Runs the command.
pub(super) fn run(session: &Session, client: &Client, args: &GatesArgs) -> Result<Exit, Problem> {
    let mut filters = String::new();
    for (name, value) in [("repository", &args.repo), ("gate", &args.gate)] {
        filters.extend(value.as_ref().map(|value| format!("&{name}={}", escape(value))));
    }
    if let Some(text) = &args.since {
        filters.push_str(&format!("&since={}", escape(&since(text)?.to_rfc3339())));
    }
    let mut cursor = String::new();
    let mut items = Vec::new();
    let begin = loop {
        let page = client.get::<GateHistoryList>(&format!("/v1/gates?limit=200{filters}{cursor}"))?;
        if session.global.json {
            session.print_json(&page)?;
        }
        items.extend(page.items.iter().cloned());
        match &page.next_cursor {
            Some(next) => cursor = format!("&cursor={}", escape(next)),
            None => break page.since.clone(),
        }
    };
    if session.global.json {
        return Ok(Exit::Ok);
    }
    if items.is_empty() {
        say("no gate was run in the time that is known");
    } else if session.terminal.out {
        session.print(screen(&items, session.terminal.width, session.paint()))?;
        let begin = begin.as_deref().and_then(time).map(|begin| span(now().since(begin)));
        say(&format!(
            "(the last {}; one gate's runs: mosaic gates --gate GATE --json)",
            begin.unwrap_or_default()
        ));
    } else {
        let names = COLUMNS.map(|column| column.title);
        session.print(tabs(&names, &items.iter().map(row).collect::<Vec<_>>()))?;
    }
    Ok(Exit::Ok)
}

/// Renders the table, and below it the flaky tests.
fn screen(items: &[GateHistory], width: Option<usize>, paint: Paint) -> String {
    let rows: Vec<Vec<String>> = items.iter().map(row).collect();
    let colour = |title: &str, cell: &str, painted: String| match (title, cell) {
        ("PASS", "100%") => paint.good(&painted),
        ("FLAKY", cell) if !cell.is_empty() => paint.warn(&painted),
        _ => painted,
    };
    let mut out = render(&COLUMNS, &rows, width, 0, paint, &colour);
    let flaky = items.iter().flat_map(|item| item.flaky_tests.iter().map(move |test| (item, test)));
    for (item, test) in flaky {
        let ago = time(&test.last_seen_at)
            .map_or(String::new(), |at| format!(", last {} ago", span(now().since(at))));
        let times = if test.count == 1 { "once".to_owned() } else { format!("{} times", test.count) };
        let (gate, name) = (sanitize::line(&item.gate), sanitize::line(&test.test));
        let line = format!("flaky  {}  {gate}  {name}  {times}{ago}", short(&item.repository));
        out.push_str(&width.map_or(line.clone(), |width| sanitize::cut(&line, width)));
        out.push('\n');
    }
    out
}

fn row(item: &GateHistory) -> Vec<String> {
    let seconds = |ms: Option<u64>| ms.map_or(String::new(), seconds);
    let rate = item.pass_rate.map_or(String::new(), |rate| format!("{}%", rounded_down(rate)));
    let flaky = if item.flaky == 0 { String::new() } else { item.flaky.to_string() };
    let last: String = item.recent.iter().take(LAST).rev().map(|run| letter(run.outcome)).collect();
    vec![
        short(&item.repository),
        sanitize::line(&item.gate),
        item.runs.to_string(),
        rate,
        seconds(item.p50_ms),
        seconds(item.p95_ms),
        flaky,
        last,
    ]
}

/// Returns a share as a whole number; 100 only when nothing is missing.
fn rounded_down(rate: f64) -> u64 {
    // Between 0 and 100, so nothing but the fraction is lost.
    rate.clamp(0.0, 100.0) as u64
}

fn seconds(ms: u64) -> String {
    match ms {
        0..60_000 => format!("{}.{}s", ms / 1000, ms % 1000 / 100),
        _ => span(std::time::Duration::from_millis(ms)),
    }
}

/// Returns the letter of an outcome, the newest stands last.
fn letter(outcome: GateOutcome) -> char {
    match outcome {
        GateOutcome::Pass => '.',
        GateOutcome::Fail => 'F',
        GateOutcome::Error => 'E',
        GateOutcome::Flaky => '~',
        GateOutcome::Skip => 's',
        GateOutcome::Unknown => '?',
    }
}

/// Returns the last two parts of a repository's address, which tell people which one it is.
fn short(repository: &str) -> String {
    let text = repository.trim_end_matches('/').trim_end_matches(".git");
    let parts: Vec<&str> = text.rsplit(['/', ':']).filter(|part| !part.is_empty()).take(2).collect();
    let parts: Vec<&str> = parts.into_iter().rev().collect();
    sanitize::cut(&sanitize::line(&parts.join("/")), 32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::color::ColorChoice;
    use serde_json::json;

    fn history() -> Vec<GateHistory> {
        let run = |outcome: &str| json!({"agentId": null, "taskId": null, "commit": "c", "at": "", "outcome": outcome, "durationMs": 1, "cached": false});
        let item = json!({
            "repository": "https://git.example.com/team/app.git", "gate": "tests", "runs": 200, "passed": 199, "failed": 0,
            "errors": 0, "flaky": 1, "skipped": 0, "cached": 3, "passRate": 99.5, "p50Ms": 1250, "p95Ms": 75_000,
            "flakyTests": [{"test": "a::b\u{1b}[m", "count": 1, "lastSeenAt": "never"}],
            "recent": [run("flaky"), run("fail"), run("pass")],
        });
        serde_json::from_value(json!([item])).expect("it is a history")
    }

    #[test]
    fn a_history_fits_the_terminal_and_names_flaky_tests() {
        let paint = Paint::choose(ColorChoice::Never, false, &|_| None);
        let expected = "\
REPOSITORY  GATE   RUNS  PASS   P50    P95  FLAKY  LAST
team/app    tests   200   99%  1.2s  1m15s      1  .F~
flaky  team/app  tests  a::b\\x1b[m  once
";
        assert_eq!(screen(&history(), Some(80), paint), expected);
        assert!(screen(&history(), Some(40), paint).lines().all(|line| sanitize::columns(line) <= 40));
        assert_eq!(short("git@host:team/x.git"), "team/x");
    }
}
