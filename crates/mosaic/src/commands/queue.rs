//! `mosaic queue`: what waits and why; pause, resume, and taking waiting work out.

use mosaic_api::{Dispatch, OrderRequest, Queue, QueueEntry, TaskRemoved};

use super::queue_transfer;
use crate::cli::{QueueAction, QueueArgs};
use crate::client::escape;
use crate::color::Paint;
use crate::exit::Exit;
use crate::problem::Problem;
use crate::sanitize;
use crate::sent::Sent;
use crate::session::{Session, say};
use crate::table::{Column, column, render, tabs};
use crate::view::{name_of, now, span, time};

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
            let body = OrderRequest { reason: reason.clone() };
            let answer = client.post("/v1/queue/pause", &body)?.read::<Dispatch>()?;
            say("dispatch paused; running agents go on. Start again: mosaic queue resume");
            answer.json().clone()
        }
        Some(QueueAction::Resume) => {
            let body = OrderRequest { reason: None };
            let answer = client.post("/v1/queue/resume", &body)?.read::<Dispatch>()?;
            say("dispatch running");
            answer.json().clone()
        }
        Some(QueueAction::Export { .. } | QueueAction::Import { .. }) => unreachable!("dealt with above"),
        Some(QueueAction::Rm { task }) => {
            let answer = client.delete::<TaskRemoved>(&format!("/v1/tasks/{}", escape(task)))?;
            say(&format!("{} is out of the queue", sanitize::line(task)));
            answer.json().clone()
        }
    };
    if session.global.json {
        session.print_json(&answer)?;
    }
    Ok(Exit::Ok)
}

/// Says in one line how the queue is.
pub(super) fn headline(queue: &Queue) -> String {
    let reason = queue.pause.as_ref().and_then(|pause| pause.reason.as_deref()).filter(|r| !r.is_empty());
    let reason = reason.map_or(String::new(), |reason| format!(" ({})", sanitize::line(reason)));
    let dispatch = match (queue.paused, &queue.held) {
        (true, _) => format!("dispatch paused{reason}"),
        (false, Some(held)) => format!("dispatch held ({})", sanitize::line(held)),
        (false, None) => "dispatch running".to_owned(),
    };
    let (slots, counts) = (&queue.slots, &queue.counts);
    format!(
        "{dispatch} · {} of {} slots · {} waiting · {} backing off · {} dead",
        slots.used, slots.total, counts.waiting, counts.delayed, counts.dead
    )
}

fn list(session: &Session, queue: &Sent<Queue>) -> Result<Exit, Problem> {
    if session.global.json {
        session.print_json(queue)?;
    } else if session.terminal.out {
        session.print(show(queue, session.terminal.width, session.paint()))?;
    } else {
        let titles = ["priority", "taskId", "agentType", "phase", "agentId", "spawnedAt"];
        let row = |entry: &QueueEntry| {
            vec![
                entry.priority.to_string(),
                sanitize::line(&entry.task_id),
                entry.agent_type.to_string(),
                entry.phase.to_string(),
                sanitize::line(&entry.agent_id),
                sanitize::line(&entry.spawned_at),
            ]
        };
        session.print(tabs(&titles, &queue.waiting.iter().map(row).collect::<Vec<_>>()))?;
    }
    Ok(Exit::Ok)
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

fn show(queue: &Queue, width: Option<usize>, paint: Paint) -> String {
    let at = now();
    let row = |entry: &QueueEntry| {
        let until = entry.not_before.as_deref().and_then(time).filter(|t| t.since(at).as_secs() > 0);
        let waits = match until {
            Some(until) => format!("in {}", span(until.since(at))),
            None => time(&entry.spawned_at).map_or(String::new(), |t| span(at.since(t))),
        };
        vec![
            entry.priority.to_string(),
            sanitize::line(&entry.task_id),
            entry.agent_type.to_string(),
            waits,
            (entry.attempt + 1).to_string(),
            name_of(&entry.name, &entry.agent_id),
            sanitize::cut(&sanitize::line(entry.reason.as_deref().unwrap_or_default()), 80),
        ]
    };
    let rows: Vec<Vec<String>> = queue.waiting.iter().map(row).collect();
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
    use crate::color::ColorChoice;
    use crate::samples::{counts, queue, queue_entry};
    use serde_json::json;

    #[test]
    fn the_queue_is_a_headline_and_a_table() {
        let entry = queue_entry(json!({
            "taskId": "US-1", "priority": 3, "name": "us-1-aaaa", "status": "spawning", "phase": "queued",
            "reason": "waits for a slot",
        }));
        let paused = queue(json!({
            "paused": true, "pause": {"by": "alice", "reason": "freeze", "since": ""}, "slots": {"total": 4, "used": 3},
            "counts": counts(1, 0, 2), "waiting": [entry],
        }));
        assert_eq!(
            show(&paused, Some(100), Paint::choose(ColorChoice::Never, false, &|_| None)),
            "dispatch paused (freeze) · 3 of 4 slots · 1 waiting · 0 backing off · 2 dead   (priority 1 runs first)\nPRIO  TASK  ROLE    WAITS  TRY  AGENT      REASON\n   3  US-1  worker           1  us-1-aaaa  waits for a slot\n"
        );
        let idle = " · 0 of 4 slots · 0 waiting · 0 backing off · 0 dead";
        assert_eq!(headline(&queue(json!({}))), format!("dispatch running{idle}"));
        let held = queue(json!({"held": "memory: 9 MiB"}));
        assert_eq!(headline(&held), format!("dispatch held (memory: 9 MiB){idle}"));
    }
}
