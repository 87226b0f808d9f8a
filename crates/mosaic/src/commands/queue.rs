//! `mosaic queue`: what waits and why; pause, resume, and taking waiting work out.

use serde_json::{Value, json};

use super::queue_transfer;
use crate::cli::{QueueAction, QueueArgs};
use crate::client::escape;
use crate::exit::Exit;
use crate::paint::Paint;
use crate::plain;
use crate::problem::Problem;
use crate::session::{Session, say};
use crate::table::{Column, column, render, tabs};
use crate::view::{View, now, span};

/// Runs the command.
pub(super) fn run(session: &Session, args: &QueueArgs) -> Result<Exit, Problem> {
    if session.in_agent() && !matches!(args.action, None | Some(QueueAction::List)) {
        return Err(Problem::NotAllowed {
            what: "an agent may look at the queue, but not change it".to_owned(),
            hint: None,
        });
    }
    match &args.action {
        Some(QueueAction::Export { file, embedded, dry_run }) => {
            return queue_transfer::export(session, file.as_deref(), *embedded, *dry_run);
        }
        Some(QueueAction::Import { file, dry_run }) => {
            return queue_transfer::import(session, file, *dry_run);
        }
        _ => {}
    }
    let client = session.client()?;
    let answer = match &args.action {
        None | Some(QueueAction::List) => return list(session, &client.get("/v1/queue")?),
        Some(QueueAction::Pause { reason }) => {
            let body = reason.as_ref().map_or_else(|| json!({}), |reason| json!({"reason": reason}));
            let answer = client.post("/v1/queue/pause", &body)?.body;
            say("dispatch paused; running agents go on. Start again: mosaic queue resume");
            answer
        }
        Some(QueueAction::Resume) => {
            let answer = client.post("/v1/queue/resume", &json!({}))?.body;
            say("dispatch running");
            answer
        }
        Some(QueueAction::Export { .. } | QueueAction::Import { .. }) => unreachable!("dealt with above"),
        Some(QueueAction::Rm { task }) => {
            let answer = client.delete(&format!("/v1/tasks/{}", escape(task)))?;
            say(&format!("{} is out of the queue", plain::line(task)));
            answer
        }
    };
    if session.global.json {
        session.print_json(&answer)?;
    }
    Ok(Exit::Ok)
}

/// Returns a figure of the queue, wherever the server puts it.
fn figure(queue: &Value, names: &[&str]) -> Option<u64> {
    let places = [queue.get("counts"), queue.get("slots"), Some(queue)];
    places.into_iter().flatten().find_map(|place| names.iter().find_map(|name| place.get(name)?.as_u64()))
}

/// Says in one line how the queue is.
pub(super) fn headline(queue: &Value) -> String {
    let pause = queue.get("pause").or_else(|| queue.get("paused"));
    let paused = pause.is_some_and(|p| p.as_bool().unwrap_or(!p.is_null()));
    let reason = pause
        .map(View::new)
        .map(|p| p.shown("reason"))
        .filter(|r| !r.is_empty())
        .map_or(String::new(), |r| format!(" ({r})"));
    let held = View::new(queue).shown("held");
    let dispatch = match (paused, held.is_empty()) {
        (true, _) => format!("dispatch paused{reason}"),
        (false, false) => format!("dispatch held ({held})"),
        (false, true) => "dispatch running".to_owned(),
    };
    let mut parts = vec![dispatch];
    if let (Some(used), Some(all)) = (figure(queue, &["used"]), figure(queue, &["total"])) {
        parts.push(format!("{used} of {all} slots"));
    }
    for (names, word) in [
        (&["waiting", "ready", "queued"][..], "waiting"),
        (&["delayed", "backoff"], "backing off"),
        (&["dead"], "dead"),
    ] {
        if let Some(n) = figure(queue, names) {
            parts.push(format!("{n} {word}"));
        }
    }
    parts.join(" · ")
}

fn list(session: &Session, queue: &Value) -> Result<Exit, Problem> {
    if session.global.json {
        session.print_json(queue)?;
    } else if session.terminal.out {
        session.print(show(queue, session.terminal.width, session.paint()))?;
    } else {
        let titles = ["priority", "taskId", "agentType", "phase", "agentId", "spawnedAt"];
        let cell = |entry: &Value, title: &str| match title {
            "priority" => View::new(entry).number(title).to_string(),
            _ => View::new(entry).shown(title),
        };
        let rows: Vec<Vec<String>> =
            entries(queue).iter().map(|e| titles.iter().map(|t| cell(e, t)).collect()).collect();
        session.print(tabs(&titles, &rows))?;
    }
    Ok(Exit::Ok)
}

fn entries(queue: &Value) -> &[Value] {
    ["waiting", "entries", "items"]
        .iter()
        .find_map(|name| queue.get(name)?.as_array())
        .map_or(&[], Vec::as_slice)
}

const COLUMNS: [Column; 7] = [
    column("PRIO").right(),
    column("TASK"),
    column("ROLE").from(60),
    column("WAITS").right(),
    column("TRY").right().from(80),
    column("AGENT"),
    column("REASON").from(100),
];

fn show(queue: &Value, width: Option<usize>, paint: Paint) -> String {
    let at = now();
    let row = |entry: &Value| {
        let view = View::new(entry);
        let until =
            view.time("until").or_else(|| view.time("notBefore")).filter(|t| t.since(at).as_secs() > 0);
        let waits = match until {
            Some(until) => format!("in {}", span(until.since(at))),
            None => view.time("spawnedAt").map_or(String::new(), |t| span(at.since(t))),
        };
        let tries = (view.number("attempt") + 1).to_string();
        vec![
            view.number("priority").to_string(),
            view.shown("taskId"),
            view.shown("agentType"),
            waits,
            tries,
            view.name(),
            plain::cut(&view.shown("reason"), 80),
        ]
    };
    let rows: Vec<Vec<String>> = entries(queue).iter().map(row).collect();
    let mut out = format!("{}   (priority 1 runs first)\n", headline(queue));
    if rows.is_empty() {
        out.push_str("nothing waits\n");
    } else {
        out.push_str(&render(&COLUMNS, &rows, width, 0, paint, &|_, _, shown| shown));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::paint::ColorChoice;

    #[test]
    fn the_queue_is_a_headline_and_a_table() {
        let queue = json!({
            "paused": true, "pause": {"reason": "freeze"}, "slots": {"total": 4, "used": 3}, "counts": {"waiting": 1, "delayed": 0, "dead": 2},
            "waiting": [{"taskId": "US-1", "agentType": "worker", "priority": 3, "name": "us-1-aaaa", "attempt": 0, "maxRetries": 3, "reason": "waits for a slot"}],
        });
        assert_eq!(
            show(&queue, Some(100), Paint::choose(ColorChoice::Never, false, &|_| None)),
            "dispatch paused (freeze) · 3 of 4 slots · 1 waiting · 0 backing off · 2 dead   (priority 1 runs first)\nPRIO  TASK  ROLE    WAITS  TRY  AGENT      REASON\n   3  US-1  worker           1  us-1-aaaa  waits for a slot\n"
        );
        assert_eq!(headline(&json!({"paused": false})), "dispatch running");
        assert_eq!(headline(&json!({"paused": null})), "dispatch running");
        assert_eq!(
            headline(&json!({"paused": false, "held": "memory: 9 MiB"})),
            "dispatch held (memory: 9 MiB)"
        );
    }
}
