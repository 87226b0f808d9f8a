//! `mosaic ps`: agents in the groups that matter (who needs you first), or one flat table for programs.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::cli::PsArgs;
use crate::client::{Client, escape};
use crate::exit::Exit;
use crate::paint::Paint;
use crate::plain;
use crate::problem::Problem;
use crate::session::Session;
use crate::table::{Column, column, render, tabs};
use crate::view::{View, now, span};

/// Agents of one page.
const PAGE: usize = 200;

/// Runs the command.
pub(super) fn run(session: &Session, args: &PsArgs) -> Result<Exit, Problem> {
    let client = session.client()?;
    let mut agents = fetch(&client, args)?;
    if args.problems {
        agents.retain(is_problem);
    }
    if args.quiet {
        let ids: String = agents.iter().map(|a| format!("{}\n", View::new(a).shown("agentId"))).collect();
        session.print(ids)?;
    } else if session.global.json {
        session.print_json(&json!({"items": agents}))?;
    } else if session.terminal.out {
        if let Some(stopped) = super::killswitch::banner(&client) {
            session.print(format!("{}\n\n", session.paint().bad(&stopped)))?;
        }
        session.print(groups(&agents, session.terminal.width, session.paint()))?;
    } else {
        super::killswitch::warn(&client);
        session.print(flat(&agents))?;
    }
    Ok(Exit::Ok)
}

fn is_problem(agent: &Value) -> bool {
    let view = View::new(agent);
    view.needs_a_person() || view.text("status") == "failed" || !view.list("warnings").is_empty()
}

fn filters(args: &PsArgs) -> String {
    let mut query = String::new();
    let statuses: Vec<&str> = match (args.status.is_empty(), args.all || args.problems) {
        (false, _) => args.status.iter().map(String::as_str).collect(),
        (true, true) => Vec::new(),
        (true, false) => vec!["spawning", "running"],
    };
    if !statuses.is_empty() {
        query.push_str(&format!("&status={}", statuses.join(",")));
    }
    if let Some((key, value)) = &args.label {
        query.push_str(&format!("&label={}", escape(&format!("{key}={value}"))));
    }
    if let Some(repo) = &args.repo {
        query.push_str(&format!("&repo={}", escape(repo)));
    }
    query
}

/// Reads the list page by page, at most `limit` agents.
fn fetch(client: &Client, args: &PsArgs) -> Result<Vec<Value>, Problem> {
    let most = usize::try_from(args.limit).unwrap_or(PAGE);
    list(client, &filters(args), most)
}

/// Reads agents page by page. `filters` is the rest of the query, each part with its `&`.
pub(super) fn list(client: &Client, filters: &str, most: usize) -> Result<Vec<Value>, Problem> {
    let mut agents: Vec<Value> = Vec::new();
    let mut cursor = String::new();
    while agents.len() < most {
        let limit = PAGE.min(most - agents.len());
        let page = client.get(&format!("/v1/agents?limit={limit}{filters}{cursor}"))?;
        let items = page.get("items").and_then(Value::as_array).cloned().unwrap_or_default();
        let next = page.get("nextCursor").and_then(Value::as_str).map(|c| format!("&cursor={}", escape(c)));
        let done = items.is_empty();
        agents.extend(items);
        match next {
            Some(next) if !done => cursor = next,
            _ => break,
        }
    }
    agents.truncate(most);
    Ok(agents)
}

const NEEDS: [Column; 5] = [
    column("AGENT"),
    column("ROLE").from(80),
    column("FOR").from(60),
    column("WAITING").right().from(60),
    column("WHY"),
];
const WORKING: [Column; 8] = [
    column("AGENT"),
    column("ROLE").from(80),
    column("FOR").from(60),
    column("PHASE"),
    column("TRY").right().from(100),
    column("LAST").right().from(80),
    column("ELAPSED").right().from(60),
    column("WARN").from(100),
];
const QUEUED: [Column; 7] = [
    column("AGENT"),
    column("ROLE").from(80),
    column("FOR").from(60),
    column("PRIO").right(),
    column("WAITS").right().from(60),
    column("POS").right(),
    column("WHY").from(80),
];
const FINISHED: [Column; 7] = [
    column("AGENT"),
    column("ROLE").from(80),
    column("FOR").from(60),
    column("STATUS"),
    column("GATES").from(80),
    column("TOOK").right().from(60),
    column("WHY"),
];

fn group_of(view: &View<'_>) -> usize {
    match view.text("phase") {
        _ if view.is_terminal() => 3,
        _ if view.needs_a_person() => 0,
        "queued" | "backoff" => 2,
        _ => 1,
    }
}

fn row(view: &View<'_>, group: usize) -> Vec<String> {
    let at = now();
    let mut cells = vec![view.name(), view.shown("agentType"), view.shown("taskId")];
    let elapsed = view.elapsed(at).map_or(String::new(), span);
    match group {
        0 => {
            let first = view.list("attention").first().map(View::new);
            let since = first.and_then(|a| a.time("since")).map_or(String::new(), |t| span(at.since(t)));
            let why = first.map_or(String::new(), |a| format!("{}: {}", a.shown("kind"), a.shown("summary")));
            cells.extend([since, why]);
        }
        1 => {
            let tries = format!("{}/{}", view.number("attempt"), view.number("maxRetries") + 1);
            let fix = view.number("fixRound");
            let phase =
                if fix > 0 { format!("{} (fix {fix})", view.shown("phase")) } else { view.shown("phase") };
            let warnings = view.warnings();
            let warn = if warnings.is_empty() { String::new() } else { plain::cut(&warnings[0], 40) };
            let last = view.time("lastEventAt").map_or(String::new(), |heard| span(at.since(heard)));
            cells.extend([phase, tries, last, elapsed, warn]);
        }
        2 => {
            let place = view.place().map_or_else(|| view.shown("phase"), |place| place.to_string());
            let why = plain::first_line(view.text("delayedBecause"), 100);
            cells.extend([view.number("priority").to_string(), elapsed, place, why]);
        }
        _ => {
            let why = match plain::first_line(view.text("error"), 100) {
                text if text.is_empty() => view.shown("endReason"),
                text => format!("{}: {text}", view.shown("endReason")),
            };
            cells.extend([view.shown("status"), view.shown("verdict"), elapsed, why]);
        }
    }
    cells
}

/// Renders the groups for a terminal.
fn groups(agents: &[Value], width: Option<usize>, paint: Paint) -> String {
    let mut rows: BTreeMap<usize, Vec<Vec<String>>> = BTreeMap::new();
    for agent in agents {
        let view = View::new(agent);
        let group = group_of(&view);
        rows.entry(group).or_default().push(row(&view, group));
    }
    let count = |group: usize| rows.get(&group).map_or(0, Vec::len);
    if agents.is_empty() {
        return "No agents. Start one: mosaic run \"add a test for the parser\" · ended ones: mosaic ps -a\n"
            .to_owned();
    }
    let finished = if count(3) > 0 { format!(" · {} finished", count(3)) } else { String::new() };
    let mut out = format!("{} need you · {} working · {} queued{finished}\n", count(0), count(1), count(2));
    let titles = ["NEEDS YOU", "WORKING", "QUEUED", "FINISHED"];
    let columns: [&[Column]; 4] = [&NEEDS, &WORKING, &QUEUED, &FINISHED];
    for (group, rows) in &rows {
        out.push_str(&format!("\n{}\n", paint.bold(titles[*group])));
        let colour = |title: &str, word: &str, shown: String| match title {
            "STATUS" | "GATES" => paint.by_word(word, &shown),
            "WARN" => paint.warn(&shown),
            _ => shown,
        };
        out.push_str(&render(columns[*group], rows, width, 2, paint, &colour));
    }
    out
}

/// Renders one flat table for programs.
fn flat(agents: &[Value]) -> String {
    const FIELDS: [&str; 12] = [
        "agentId",
        "name",
        "taskId",
        "agentType",
        "status",
        "phase",
        "endReason",
        "verdict",
        "spawnedAt",
        "startedAt",
        "completedAt",
        "delayedBecause",
    ];
    let cell = |agent: &Value, field: &str| match View::new(agent).time(field) {
        Some(at) if field.ends_with("At") => at.to_rfc3339(),
        _ => View::new(agent).shown(field),
    };
    let rows: Vec<Vec<String>> =
        agents.iter().map(|agent| FIELDS.iter().map(|field| cell(agent, field)).collect()).collect();
    tabs(&FIELDS, &rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::paint::ColorChoice;

    fn agents() -> Vec<Value> {
        vec![
            json!({"agentId":"a","name":"fix-3f9a","taskId":"US-1","agentType":"worker","status":"running","phase":"gating","attempt":1,"maxRetries":3,"fixRound":1}),
            json!({"agentId":"b","name":"ask-9b02","taskId":"US-2","agentType":"worker","status":"running","phase":"waiting","attention":[{"kind":"question","summary":"keep v1?\u{1b}"}]}),
            json!({"agentId":"c","name":"ttl-c4d8","taskId":"US-3","agentType":"tester","status":"spawning","phase":"queued","priority":3,"queuePosition":0,"delayedBecause":"limit reached\nwords"}),
            json!({"agentId":"d","name":"old-d4d8","taskId":"US-4","agentType":"worker","status":"failed","phase":"settled","endReason":"auth","error":"no key\nset one","spawnedAt":"2026-11-22T10:00:00.000Z","completedAt":"2026-11-22T10:00:09.000Z"}),
        ]
    }

    #[test]
    fn who_needs_you_comes_first() {
        let text = groups(&agents(), Some(120), Paint::choose(ColorChoice::Never, false, &|_| None));
        let expected = "1 need you · 1 working · 1 queued · 1 finished

NEEDS YOU
  AGENT     ROLE    FOR   WAITING  WHY
  ask-9b02  worker  US-2           question: keep v1?\\x1b

WORKING
  AGENT     ROLE    FOR   PHASE           TRY  LAST  ELAPSED  WARN
  fix-3f9a  worker  US-1  gating (fix 1)  1/4

QUEUED
  AGENT     ROLE    FOR   PRIO  WAITS  POS  WHY
  ttl-c4d8  tester  US-3     3           1  limit reached

FINISHED
  AGENT     ROLE    FOR   STATUS  GATES  TOOK  WHY
  old-d4d8  worker  US-4  failed           9s  auth: no key
";
        assert_eq!(text, expected);
    }

    #[test]
    fn piped_it_is_one_flat_table() {
        let text = flat(&agents());
        assert_eq!(text.lines().count(), 5);
        let last: Vec<&str> = text.lines().last().unwrap().split('\t').collect();
        assert_eq!((last[1], last[8], last[9]), ("old-d4d8", "2026-11-22T10:00:00.000Z", ""));
    }
}
