//! `mosaic nodes`: the nodes of the fleet, and taking one out of service or back into it; never from an agent.

use std::time::Duration;

use serde_json::{Value, json};

use super::drain;
use crate::cli::{NodeArgs, NodeDrainArgs, NodeRemoveArgs, NodesAction, NodesArgs};
use crate::client::{Client, escape};
use crate::exit::Exit;
use crate::paint::Paint;
use crate::plain;
use crate::problem::Problem;
use crate::session::{Session, say};
use crate::table::{Column, column, render, tabs};
use crate::view::{View, now, span};

/// Offset of a clock from which on it is noted, in milliseconds.
const CLOCK_NOTE_MS: u64 = 1000;

/// Runs the command.
pub(super) fn run(session: &Session, args: &NodesArgs) -> Result<Exit, Problem> {
    if session.in_agent() && !matches!(args.action, None | Some(NodesAction::List)) {
        let what = "an agent may look at the nodes, but not take them out of service".to_owned();
        return Err(Problem::NotAllowed { what, hint: None });
    }
    match &args.action {
        None | Some(NodesAction::List) => list(session),
        Some(NodesAction::Cordon(node)) => {
            let said = "takes nothing new; what runs there goes on. Undo: mosaic nodes uncordon";
            change(session, node, "cordon", said)
        }
        Some(NodesAction::Uncordon(node)) => change(session, node, "uncordon", "takes work again"),
        Some(NodesAction::Drain(args)) => drain(session, args),
        Some(NodesAction::Remove(args)) => remove(session, args),
    }
}

fn drain(session: &Session, args: &NodeDrainArgs) -> Result<Exit, Problem> {
    let said = "takes nothing new and ends once nothing runs there; look: mosaic nodes";
    change(session, &args.one, "drain", said)?;
    let Some(patience) = args.wait else { return Ok(Exit::Ok) };
    let (client, name) = (session.client()?, args.one.node.as_str());
    drain::wait(patience, || left_on(&client, name))?;
    say(&format!("{name} is drained; its server has ended"));
    Ok(Exit::Ok)
}

/// Looks how many agents a draining node still runs; nothing once its server has ended.
fn left_on(client: &Client, name: &str) -> Result<Option<u64>, Problem> {
    let answer = match client.get("/v1/nodes") {
        // The node that was asked is the one that ended.
        Err(Problem::Unreachable { .. }) => return Ok(None),
        answer => answer?,
    };
    let nodes = answer.get("nodes").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let Some(node) = nodes.iter().find(|node| node["node"] == name) else { return Ok(None) };
    match state(node) {
        "ended" => Ok(None),
        "lost" => {
            let ends = View::new(node).shown("leasesEndAt");
            let what =
                format!("{name} is not heard of any more; what it runs ends with its leases at {ends}");
            Err(Problem::Conflict { what, hint: Some("look: mosaic nodes".to_owned()) })
        }
        _ => Ok(Some(node["slots"]["used"].as_u64().unwrap_or(0))),
    }
}

fn remove(session: &Session, args: &NodeRemoveArgs) -> Result<Exit, Problem> {
    let mut path = format!("/v1/nodes/{}?lost={}", escape(&args.one.node), args.lost);
    if let Some(reason) = &args.one.reason {
        path.push_str(&format!("&reason={}", escape(reason)));
    }
    let answer = session.client()?.delete(&path)?;
    let said = match args.lost {
        true => {
            "is off the list and declared lost for good: what only it had is given up, and records of it may be removed"
        }
        false => "is off the list; what only it had is looked for there once it is back",
    };
    say(&format!("{} {said}", View::new(&answer).shown("node")));
    if session.global.json {
        session.print_json(&answer)?;
    }
    Ok(Exit::Ok)
}

fn change(session: &Session, args: &NodeArgs, verb: &str, said: &str) -> Result<Exit, Problem> {
    let body = args.reason.as_ref().map_or_else(|| json!({}), |reason| json!({"reason": reason}));
    let path = format!("/v1/nodes/{}/{verb}", escape(&args.node));
    let answer = session.client()?.post(&path, &body)?.body;
    say(&format!("{} {said}", View::new(&answer).shown("node")));
    if session.global.json {
        session.print_json(&answer)?;
    }
    Ok(Exit::Ok)
}

fn list(session: &Session) -> Result<Exit, Problem> {
    let answer = session.client()?.get("/v1/nodes")?;
    let nodes = answer.get("nodes").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let lost = answer.get("lost").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    if session.global.json {
        session.print_json(&answer)?;
    } else if session.terminal.out {
        session.print(show(nodes, lost, session.terminal.width, session.paint()))?;
    } else {
        let titles =
            ["node", "state", "used", "slots", "version", "seenAt", "leasesEndAt", "clockOffsetMs", "note"];
        let row = |node: &Value| {
            let view = View::new(node);
            let slots = |name: &str| node["slots"][name].as_u64().unwrap_or(0).to_string();
            vec![
                view.shown("node"),
                state(node).to_owned(),
                slots("used"),
                slots("total"),
                view.shown("version"),
                view.shown("seenAt"),
                view.shown("leasesEndAt"),
                node["clock"]["offsetMs"].as_i64().map_or_else(String::new, |ms| ms.to_string()),
                note(node),
            ]
        };
        let gone = |node: &Value| {
            let mut cells = vec![View::new(node).shown("node"), GONE.to_owned()];
            cells.resize(titles.len() - 1, String::new());
            cells.push(given_up(node));
            cells
        };
        let rows: Vec<Vec<String>> = nodes.iter().map(row).chain(lost.iter().map(gone)).collect();
        session.print(tabs(&titles, &rows))?;
    }
    Ok(Exit::Ok)
}

/// Says in one word how a node is: what matters most first.
fn state(node: &Value) -> &'static str {
    let yes = |value: &Value| value.as_bool().unwrap_or(false);
    match (yes(&node["alive"]), yes(&node["draining"]), &node["cordon"]) {
        (false, true, _) => "ended",
        (false, false, _) => "lost",
        (true, true, _) => "draining",
        (true, false, Value::Null) if node["clock"]["ok"].as_bool() == Some(false) => "wrong clock",
        (true, false, Value::Null) => "ready",
        (true, false, cordon) if yes(&cordon["drain"]) => "drained",
        _ => "cordoned",
    }
}

const COLUMNS: [Column; 6] = [
    column("NODE"),
    column("STATE"),
    column("SLOTS").right(),
    column("SEEN").right(),
    column("VERSION").from(60),
    column("NOTE").from(80),
];

/// The state of a node that was declared lost for good.
const GONE: &str = "given up";

/// Says who declared a node lost for good, when and why.
fn given_up(node: &Value) -> String {
    let view = View::new(node);
    let (by, reason) = (view.shown("by"), view.shown("reason"));
    let why = if reason.is_empty() { String::new() } else { format!(": {reason}") };
    format!("declared lost for good by {by} at {}{why}", view.shown("at"))
}

fn show(nodes: &[Value], lost: &[Value], width: Option<usize>, paint: Paint) -> String {
    let at = now();
    let row = |node: &Value| {
        let view = View::new(node);
        let slots = |name: &str| node["slots"][name].as_u64().unwrap_or(0);
        let seen = view.time("seenAt").map_or(String::new(), |seen| span(at.since(seen)));
        vec![
            view.shown("node"),
            state(node).to_owned(),
            format!("{}/{}", slots("used"), slots("total")),
            seen,
            view.shown("version"),
            note(node),
        ]
    };
    let gone = |node: &Value| {
        let (name, empty) = (View::new(node).shown("node"), String::new);
        vec![name, GONE.to_owned(), empty(), empty(), empty(), given_up(node)]
    };
    let rows: Vec<Vec<String>> = nodes.iter().map(row).chain(lost.iter().map(gone)).collect();
    if rows.is_empty() {
        return "no node has joined yet\n".to_owned();
    }
    render(&COLUMNS, &rows, width, 0, paint, &|_, _, shown| shown)
}

/// Says what a node does not take now, and why.
fn troubles(node: &Value) -> Vec<String> {
    let view = View::new(node);
    let held = view.shown("held");
    let held = (!held.is_empty()).then(|| format!("starts nothing: {held}"));
    let mut parts: Vec<String> = held.into_iter().collect();
    for breaker in view.list("breakers") {
        let breaker = View::new(breaker);
        let about = match breaker.text("part") {
            "fetch" => format!("fetching from {}", breaker.shown("repository")),
            "push" => format!("pushing to {}", breaker.shown("repository")),
            _ => format!("running {}", breaker.shown("runtime")),
        };
        parts.push(format!("breaker open for {about}: {}", plain::first_line(breaker.text("why"), 120)));
    }
    for runtime in view.list("runtimes") {
        let runtime = View::new(runtime);
        if !runtime.shown("error").is_empty() {
            parts.push(format!("no {}", runtime.shown("name")));
        }
    }
    parts
}

/// Says why a node is out of service, when it is.
fn cordoned(node: &Value) -> String {
    let cordon = View::new(&node["cordon"]);
    let (by, reason) = (cordon.shown("by"), cordon.shown("reason"));
    match (by.is_empty(), reason.is_empty()) {
        (true, _) => String::new(),
        (false, true) => format!("by {by}"),
        (false, false) => format!("{reason} ({by})"),
    }
}

fn note(node: &Value) -> String {
    let mut parts = Vec::new();
    if node["here"].as_bool() == Some(true) {
        parts.push("this server".to_owned());
    }
    let cordoned = cordoned(node);
    parts.extend((!cordoned.is_empty()).then_some(cordoned));
    parts.extend(clock(&node["clock"]));
    parts.extend(troubles(node));
    let labels: Vec<String> = node["labels"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, value)| plain::line(&format!("{name}={}", value.as_str().unwrap_or_default())))
        .collect();
    parts.extend((!labels.is_empty()).then(|| labels.join(" ")));
    let ends = View::new(node).shown("leasesEndAt");
    if state(node) == "lost" && !ends.is_empty() {
        parts.push(format!("its leases end {ends}"));
    }
    parts.join(" · ")
}

/// Says how far a machine's clock is from the store's, where that is more than NTP leaves.
fn clock(clock: &Value) -> Option<String> {
    let ms = clock["offsetMs"].as_i64().filter(|ms| ms.unsigned_abs() >= CLOCK_NOTE_MS)?;
    let side = if ms < 0 { "behind" } else { "ahead" };
    let refused = if clock["ok"].as_bool() == Some(false) { ", takes nothing" } else { "" };
    Some(format!("clock {} {side}{refused}", span(Duration::from_millis(ms.unsigned_abs()))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::paint::ColorChoice;

    #[test]
    fn nodes_are_a_table_with_what_matters_most_in_one_word() {
        let node = |name: &str, alive: bool, cordon: Value| {
            json!({"node": name, "here": name == "a", "alive": alive, "draining": false, "cordon": cordon, "version": "0.1.0",
                "slots": {"used": 1, "total": 4}, "leasesEndAt": "2026-11-22T10:33:00.000Z"})
        };
        let nodes = [
            node("a", true, Value::Null),
            node("b", true, json!({"by": "alice", "reason": "bad disk", "drain": false})),
            node("c", false, Value::Null),
        ];
        assert_eq!(
            show(&nodes, &[], Some(120), Paint::choose(ColorChoice::Never, false, &|_| None)),
            "NODE  STATE     SLOTS  SEEN  VERSION  NOTE\na     ready       1/4        0.1.0    this server\nb     cordoned    1/4        0.1.0    bad disk (alice)\nc     lost        1/4        0.1.0    its leases end 2026-11-22T10:33:00.000Z\n"
        );
        let lost = [json!({"node": "e", "by": "alice", "reason": "burnt", "at": "2026-11-22T10:33:00.000Z"})];
        assert_eq!(
            show(&[], &lost, Some(120), Paint::choose(ColorChoice::Never, false, &|_| None)),
            "NODE  STATE     SLOTS  SEEN  VERSION  NOTE\ne     given up                        declared lost for good by alice at 2026-11-22T10:33:00.000Z: burnt\n"
        );
        let mut ahead = node("d", true, Value::Null);
        ahead["clock"] = json!({"offsetMs": 3_600_000, "errorMs": 1, "ok": false});
        assert_eq!(
            (state(&ahead), note(&ahead).as_str()),
            ("wrong clock", "clock 1h00m ahead, takes nothing")
        );
        let drained = json!({"alive": true, "draining": false, "cordon": {"drain": true}});
        assert_eq!(
            (
                state(&drained),
                show(&[], &[], None, Paint::choose(ColorChoice::Never, false, &|_| None)).as_str()
            ),
            ("drained", "no node has joined yet\n")
        );
    }
}
