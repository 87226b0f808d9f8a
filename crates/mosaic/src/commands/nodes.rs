//! `mosaic nodes`: the nodes of the fleet, and taking one out of service or back into it; never from an agent.

use std::time::Duration;

use mosaic_api::{Clock, LostNode, Node, NodeList, NodeRemoved, OrderRequest};

use super::doctor::breaker_about;
use super::drain;
use crate::cli::{NodeArgs, NodeDrainArgs, NodeRemoveArgs, NodesAction, NodesArgs};
use crate::client::{Client, escape};
use crate::color::Paint;
use crate::exit::Exit;
use crate::problem::Problem;
use crate::sanitize;
use crate::session::{Session, say};
use crate::table::{Column, column, render, tabs};
use crate::view::{now, shown, span, time};

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
    let answer = match client.get::<NodeList>("/v1/nodes") {
        // The node that was asked is the one that ended.
        Err(Problem::Unreachable { .. }) => return Ok(None),
        answer => answer?,
    };
    let Some(node) = answer.nodes.iter().find(|node| node.node == name) else { return Ok(None) };
    match state(node) {
        "ended" => Ok(None),
        "lost" => {
            let ends = shown(&node.leases_end_at);
            let what =
                format!("{name} sends no heartbeat any more; what it runs ends with its leases at {ends}");
            Err(Problem::Conflict { what, hint: Some("look: mosaic nodes".to_owned()) })
        }
        _ => Ok(Some(node.slots.used as u64)),
    }
}

fn remove(session: &Session, args: &NodeRemoveArgs) -> Result<Exit, Problem> {
    let mut path = format!("/v1/nodes/{}?lost={}", escape(&args.one.node), args.lost);
    if let Some(reason) = &args.one.reason {
        path.push_str(&format!("&reason={}", escape(reason)));
    }
    let answer = session.client()?.delete::<NodeRemoved>(&path)?;
    let said = match args.lost {
        true => {
            "is off the list and declared lost for good: what only it had is given up, and records of it may be removed"
        }
        false => "is off the list; what only it had is looked for there once it is back",
    };
    say(&format!("{} {said}", sanitize::line(&answer.node)));
    if session.global.json {
        session.print_json(&answer)?;
    }
    Ok(Exit::Ok)
}

fn change(session: &Session, args: &NodeArgs, verb: &str, said: &str) -> Result<Exit, Problem> {
    let body = OrderRequest { reason: args.reason.clone() };
    let path = format!("/v1/nodes/{}/{verb}", escape(&args.node));
    let answer = session.client()?.post(&path, &body)?.read::<Node>()?;
    say(&format!("{} {said}", sanitize::line(&answer.node)));
    if session.global.json {
        session.print_json(&answer)?;
    }
    Ok(Exit::Ok)
}

fn list(session: &Session) -> Result<Exit, Problem> {
    let answer = session.client()?.get::<NodeList>("/v1/nodes")?;
    if session.global.json {
        session.print_json(&answer)?;
    } else if session.terminal.out {
        session.print(show(&answer, session.terminal.width, session.paint()))?;
    } else {
        let titles =
            ["node", "state", "used", "slots", "version", "seenAt", "leasesEndAt", "clockOffsetMs", "note"];
        let row = |node: &Node| {
            vec![
                sanitize::line(&node.node),
                state(node).to_owned(),
                node.slots.used.to_string(),
                node.slots.total.to_string(),
                sanitize::line(&node.version),
                sanitize::line(&node.seen_at),
                shown(&node.leases_end_at),
                node.clock.as_ref().map_or_else(String::new, |clock| clock.offset_ms.to_string()),
                note(node),
            ]
        };
        let gone = |node: &LostNode| {
            let mut cells = vec![sanitize::line(&node.node), GONE.to_owned()];
            cells.resize(titles.len() - 1, String::new());
            cells.push(given_up(node));
            cells
        };
        let rows: Vec<Vec<String>> =
            answer.nodes.iter().map(row).chain(answer.lost.iter().map(gone)).collect();
        session.print(tabs(&titles, &rows))?;
    }
    Ok(Exit::Ok)
}

/// Says in one word how a node is: what matters most first.
fn state(node: &Node) -> &'static str {
    match (node.alive, node.draining, &node.cordon) {
        (false, true, _) => "ended",
        (false, false, _) => "lost",
        (true, true, _) => "draining",
        (true, false, None) if node.clock.as_ref().is_some_and(|clock| !clock.ok) => "wrong clock",
        (true, false, None) => "ready",
        (true, false, Some(cordon)) if cordon.drain => "drained",
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
fn given_up(node: &LostNode) -> String {
    let why = match shown(&node.reason) {
        reason if reason.is_empty() => reason,
        reason => format!(": {reason}"),
    };
    format!("declared lost for good by {} at {}{why}", sanitize::line(&node.by), sanitize::line(&node.at))
}

fn show(list: &NodeList, width: Option<usize>, paint: Paint) -> String {
    let at = now();
    let row = |node: &Node| {
        let seen = time(&node.seen_at).map_or(String::new(), |seen| span(at.since(seen)));
        vec![
            sanitize::line(&node.node),
            state(node).to_owned(),
            format!("{}/{}", node.slots.used, node.slots.total),
            seen,
            sanitize::line(&node.version),
            note(node),
        ]
    };
    let gone = |node: &LostNode| {
        let empty = String::new;
        vec![sanitize::line(&node.node), GONE.to_owned(), empty(), empty(), empty(), given_up(node)]
    };
    let rows: Vec<Vec<String>> = list.nodes.iter().map(row).chain(list.lost.iter().map(gone)).collect();
    if rows.is_empty() {
        return "no node has joined yet\n".to_owned();
    }
    render(&COLUMNS, &rows, width, 0, paint, &|_, _, shown| shown)
}

/// Says what a node does not take now, and why.
fn troubles(node: &Node) -> Vec<String> {
    let held = node.held.as_ref().map(|held| format!("starts nothing: {}", sanitize::line(held)));
    let mut parts: Vec<String> = held.into_iter().collect();
    for breaker in &node.breakers {
        let (about, why) = (breaker_about(breaker), sanitize::first_line(&breaker.why, 120));
        parts.push(format!("breaker open for {about}: {why}"));
    }
    let missing = node.runtimes.iter().filter(|runtime| runtime.error.is_some());
    parts.extend(missing.map(|runtime| format!("no {}", sanitize::line(&runtime.name))));
    parts
}

/// Says why a node is out of service, when it is.
fn cordoned(node: &Node) -> Option<String> {
    let cordon = node.cordon.as_ref()?;
    let by = sanitize::line(&cordon.by);
    Some(match shown(&cordon.reason) {
        reason if reason.is_empty() => format!("by {by}"),
        reason => format!("{reason} ({by})"),
    })
}

fn note(node: &Node) -> String {
    let mut parts = Vec::new();
    if node.here {
        parts.push("this server".to_owned());
    }
    parts.extend(cordoned(node));
    parts.extend(node.clock.as_ref().and_then(clock));
    parts.extend(troubles(node));
    let labels: Vec<String> =
        node.labels.iter().map(|(name, value)| sanitize::line(&format!("{name}={value}"))).collect();
    parts.extend((!labels.is_empty()).then(|| labels.join(" ")));
    if let (Some(ends), "lost") = (&node.leases_end_at, state(node)) {
        parts.push(format!("its leases end {}", sanitize::line(ends)));
    }
    parts.join(" · ")
}

/// Says how far a machine's clock is from the store's, where that is more than NTP leaves.
fn clock(clock: &Clock) -> Option<String> {
    let ms = Some(clock.offset_ms).filter(|ms| ms.unsigned_abs() >= CLOCK_NOTE_MS)?;
    let side = if ms < 0 { "behind" } else { "ahead" };
    let refused = if clock.ok { "" } else { ", takes nothing" };
    Some(format!("clock {} {side}{refused}", span(Duration::from_millis(ms.unsigned_abs()))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::color::ColorChoice;
    use serde_json::{Value, json};

    fn paint() -> Paint {
        Paint::choose(ColorChoice::Never, false, &|_| None)
    }

    fn list(nodes: Vec<Node>, lost: Vec<LostNode>) -> NodeList {
        NodeList { nodes, lost, lease_ms: None }
    }

    #[test]
    fn nodes_are_a_table_with_what_matters_most_in_one_word() {
        let node = |name: &str, alive: bool, cordon: Value| {
            let fields = json!({"node": name, "here": name == "a", "alive": alive, "cordon": cordon, "version": "0.1.0",
                "slots": {"used": 1, "total": 4}, "leasesEndAt": "2026-11-22T10:33:00.000Z"});
            Node::clone(&crate::samples::node(fields))
        };
        let nodes = vec![
            node("a", true, Value::Null),
            node("b", true, json!({"by": "alice", "reason": "bad disk", "at": "", "drain": false})),
            node("c", false, Value::Null),
        ];
        assert_eq!(
            show(&list(nodes, Vec::new()), Some(120), paint()),
            "NODE  STATE     SLOTS  SEEN  VERSION  NOTE\na     ready       1/4        0.1.0    this server\nb     cordoned    1/4        0.1.0    bad disk (alice)\nc     lost        1/4        0.1.0    its leases end 2026-11-22T10:33:00.000Z\n"
        );
        let lost = json!({"node": "e", "by": "alice", "reason": "burnt", "at": "2026-11-22T10:33:00.000Z"});
        let lost = vec![serde_json::from_value(lost).unwrap()];
        assert_eq!(
            show(&list(Vec::new(), lost), Some(120), paint()),
            "NODE  STATE     SLOTS  SEEN  VERSION  NOTE\ne     given up                        declared lost for good by alice at 2026-11-22T10:33:00.000Z: burnt\n"
        );
        let mut ahead = node("d", true, Value::Null);
        ahead.clock = Some(Clock { offset_ms: 3_600_000, error_ms: 1, ok: false });
        assert_eq!(
            (state(&ahead), note(&ahead).as_str()),
            ("wrong clock", "clock 1h00m ahead, takes nothing")
        );
        let drained = node("f", true, json!({"by": "alice", "reason": null, "at": "", "drain": true}));
        assert_eq!(
            (state(&drained), show(&list(Vec::new(), Vec::new()), None, paint()).as_str()),
            ("drained", "no node has joined yet\n")
        );
    }
}
