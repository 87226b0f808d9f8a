//! `mosaic ps`: agents in the groups that matter (who needs you first), or one flat table for programs.

use std::collections::BTreeMap;

use mosaic_api::{AgentView, Phase, Status};
use serde_json::json;

use super::agent_list;
use crate::cli::PsArgs;
use crate::client::{Client, escape};
use crate::color::Paint;
use crate::exit::Exit;
use crate::problem::Problem;
use crate::sanitize;
use crate::sent::Agent;
use crate::session::Session;
use crate::table::{Column, column, render, tabs};
use crate::view::{AgentStatus, now, place, shown, span, time, word};

/// Runs the command.
pub(super) fn run(session: &Session, args: &PsArgs) -> Result<Exit, Problem> {
    let client = session.client()?;
    let mut agents = fetch(&client, args)?;
    if args.problems {
        agents.retain(is_problem);
    }
    if args.quiet {
        let ids: String =
            agents.iter().map(|a| format!("{}\n", sanitize::line(&a.status.agent_id))).collect();
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

fn is_problem(agent: &Agent) -> bool {
    let status = &agent.status;
    status.needs_a_person() || status.status == Status::Failed || !status.warnings.is_empty()
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
fn fetch(client: &Client, args: &PsArgs) -> Result<Vec<Agent>, Problem> {
    let most = usize::try_from(args.limit).unwrap_or(agent_list::PAGE);
    agent_list::list(client, &filters(args), most)
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

fn group_of(agent: &AgentView) -> usize {
    match agent.status.phase {
        _ if agent.status.is_final() => 3,
        _ if agent.status.needs_a_person() => 0,
        Phase::Queued | Phase::Backoff => 2,
        _ => 1,
    }
}

fn row(agent: &AgentView, group: usize) -> Vec<String> {
    let at = now();
    let status = &agent.status;
    let mut cells = vec![status.short_name(), agent.agent_type.to_string(), sanitize::line(&status.task_id)];
    let elapsed = status.elapsed(at).map_or(String::new(), span);
    match group {
        0 => {
            let first = status.attention.first();
            let since =
                first.and_then(|one| time(&one.since)).map_or(String::new(), |since| span(at.since(since)));
            let why =
                first.map_or(String::new(), |one| format!("{}: {}", one.kind, sanitize::line(&one.summary)));
            cells.extend([since, why]);
        }
        1 => {
            let tries = format!("{}/{}", status.attempt, agent.max_retries + 1);
            let phase = match status.fix_round {
                0 => status.phase.to_string(),
                round => format!("{} (fix {round})", status.phase),
            };
            let warn =
                status.shown_warnings().first().map_or(String::new(), |first| sanitize::cut(first, 40));
            let last = agent.last_event_at.as_deref().and_then(time);
            let last = last.map_or(String::new(), |heard| span(at.since(heard)));
            cells.extend([phase, tries, last, elapsed, warn]);
        }
        2 => {
            let place = place(agent.queue_position)
                .map_or_else(|| status.phase.to_string(), |place| place.to_string());
            let why = sanitize::first_line(agent.delayed_because.as_deref().unwrap_or_default(), 100);
            cells.extend([agent.priority.to_string(), elapsed, place, why]);
        }
        _ => {
            let reason = word(status.end_reason);
            let why = match sanitize::first_line(status.error.as_deref().unwrap_or_default(), 100) {
                text if text.is_empty() => reason,
                text => format!("{reason}: {text}"),
            };
            cells.extend([status.status.to_string(), word(status.verdict), elapsed, why]);
        }
    }
    cells
}

/// Renders the groups for a terminal.
fn groups(agents: &[Agent], width: Option<usize>, paint: Paint) -> String {
    let mut rows: BTreeMap<usize, Vec<Vec<String>>> = BTreeMap::new();
    for agent in agents {
        let group = group_of(agent);
        rows.entry(group).or_default().push(row(agent, group));
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
fn flat(agents: &[Agent]) -> String {
    const TITLES: [&str; 12] = [
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
    let at = |text: &str| time(text).map_or_else(|| sanitize::line(text), |at| at.to_rfc3339());
    let maybe = |text: &Option<String>| text.as_deref().map_or(String::new(), at);
    let row = |agent: &Agent| {
        let status = &agent.status;
        vec![
            sanitize::line(&status.agent_id),
            sanitize::line(&status.name),
            sanitize::line(&status.task_id),
            agent.agent_type.to_string(),
            status.status.to_string(),
            status.phase.to_string(),
            word(status.end_reason),
            word(status.verdict),
            at(&status.spawned_at),
            maybe(&status.started_at),
            maybe(&status.completed_at),
            shown(&agent.delayed_because),
        ]
    };
    tabs(&TITLES, &agents.iter().map(row).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::color::ColorChoice;

    fn agents() -> Vec<Agent> {
        let all = [
            json!({"agentId":"a","name":"fix-3f9a","taskId":"US-1","agentType":"worker","status":"running","phase":"gating","attempt":1,"maxRetries":3,"fixRound":1}),
            json!({"agentId":"b","name":"ask-9b02","taskId":"US-2","agentType":"worker","status":"running","phase":"waiting","attention":[{"kind":"question","summary":"keep v1?\u{1b}","since":""}]}),
            json!({"agentId":"c","name":"ttl-c4d8","taskId":"US-3","agentType":"tester","status":"spawning","phase":"queued","priority":3,"queuePosition":0,"delayedBecause":"limit reached\nwords"}),
            json!({"agentId":"d","name":"old-d4d8","taskId":"US-4","agentType":"worker","status":"failed","phase":"settled","endReason":"auth","error":"no key\nset one","spawnedAt":"2026-11-22T10:00:00.000Z","completedAt":"2026-11-22T10:00:09.000Z"}),
        ];
        all.into_iter().map(crate::samples::agent).collect()
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
