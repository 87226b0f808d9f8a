//! `mosaic status`: everything about one agent on one screen, or the state of the server.

use serde_json::{Value, json};

use crate::cli::StatusArgs;
use crate::client::{Client, escape};
use crate::exit::Exit;
use crate::paint::Paint;
use crate::plain;
use crate::problem::Problem;
use crate::resolve;
use crate::session::Session;
use crate::view::{View, now, span};

/// Runs the command.
pub(super) fn run(session: &Session, args: &StatusArgs) -> Result<Exit, Problem> {
    let client = session.client()?;
    let Some(typed) = &args.agent else { return fleet(session, &client) };
    let agent = resolve::agent(&client, typed)?;
    // A list leaves out what is large and the place in the queue.
    let agent = client.get(&format!("/v1/agents/{}", escape(View::new(&agent).id())))?;
    if session.global.json {
        session.print_json(&agent)?;
        return Ok(Exit::Ok);
    }
    let view = View::new(&agent);
    // One that has ended uses nothing; a server of an earlier version does not say.
    let resources = match view.is_terminal() {
        true => None,
        false => client.get(&format!("/v1/agents/{}/resources", escape(view.id()))).ok(),
    };
    session.print(render(&view, resources.as_ref(), session.paint()))?;
    Ok(Exit::Ok)
}

/// Says in one line what the agent's processes use; nothing when that is not known.
fn process(resources: &Value) -> String {
    let Some(sample) = resources.get("now").filter(|sample| sample.is_object()) else { return String::new() };
    let number = |field: &str| sample.get(field).and_then(Value::as_u64).unwrap_or(0);
    let mib = |bytes: u64| format!("{} MiB", bytes / (1024 * 1024));
    let cores = sample.get("cores").and_then(Value::as_f64).unwrap_or(0.0);
    let disk = sample
        .get("diskBytes")
        .and_then(Value::as_u64)
        .map_or(String::new(), |b| format!("{} on disk", mib(b)));
    let silent = sample.get("silentMs").and_then(Value::as_u64).map(std::time::Duration::from_millis);
    let silent = silent.map_or(String::new(), |time| format!("silent for {}", span(time)));
    let children = match number("processes").saturating_sub(1) {
        1 => "1 child".to_owned(),
        n => format!("{n} children"),
    };
    join(&[format!("{cores:.1} cores"), mib(number("memoryBytes")), children, disk, silent])
}

fn short(commit: &str) -> String {
    plain::line(commit.get(..7).unwrap_or(commit))
}

/// Joins the parts that are there.
fn join(parts: &[String]) -> String {
    parts.iter().filter(|p| !p.is_empty()).cloned().collect::<Vec<_>>().join(" · ")
}

fn labelled(label: &str, value: String) -> String {
    if value.is_empty() { String::new() } else { format!("{label}{value}") }
}

/// Renders one agent.
fn render(agent: &View<'_>, resources: Option<&Value>, paint: Paint) -> String {
    let name = agent.name();
    let status = agent.text("status");
    let phase = agent.shown("phase");
    let state = if agent.is_terminal() || phase.is_empty() {
        join(&[paint.by_word(status, &plain::line(status)), agent.shown("endReason")])
    } else {
        join(&[plain::line(status), phase])
    };
    let mut out = format!("{}   {state}   {}\n", paint.bold(&name), paint.dim(&agent.shown("agentId")));
    let mut line = |label: &str, value: String| {
        if !value.is_empty() {
            out.push_str(&format!("{label:<10}{value}\n"));
        }
    };
    line("Task", task(agent));
    line(
        "Agent",
        join(&[agent.shown("runtime"), labelled("model ", agent.shown("model")), agent.shown("agentType")]),
    );
    line("Where", join(&[agent.shown("repository"), labelled("from ", agent.shown("baseBranch"))]));
    line("Branch", branch(agent));
    line("Time", times(agent));
    line("Process", resources.map(process).unwrap_or_default());
    line("Waits", agent.shown("delayedBecause"));
    line("Gates", gates(agent, paint));
    line("Labels", labels(agent));
    line("Repeats", agent.shown("previousAgentId"));
    for attention in agent.list("attention") {
        let one = View::new(attention);
        line("Needs you", paint.warn(&format!("{}: {}", one.shown("kind"), one.shown("summary"))));
    }
    for warning in agent.warnings() {
        line("Warning", paint.warn(&warning));
    }
    for work in agent.list("keptWork").iter().map(View::new).filter(is_to_be_looked_after) {
        line("Kept", kept(&work));
    }
    for (n, text) in plain::block(agent.text("error")).lines().enumerate() {
        line(if n == 0 { "Error" } else { "" }, paint.bad(text));
    }
    for found in agent.list("findings").iter().filter(|found| found.get("secret").is_some()) {
        line("Secret", secret(&View::new(found)));
    }
    line("Result", plain::first_line(agent.text("result"), 200));
    line("Next", super::summary::next(agent, &name).trim_start_matches("next: ").to_owned());
    out
}

/// Tells whether an attempt's work would be lost with its node.
fn is_to_be_looked_after(work: &View<'_>) -> bool {
    matches!(work.text("state"), "kept" | "unreported")
}

/// Says in one line where an attempt's work lies.
fn kept(work: &View<'_>) -> String {
    let refs: Vec<String> = work.list("refs").iter().map(|kept| View::new(kept).shown("reference")).collect();
    let run = format!("run {} (attempt {})", work.number("run"), work.number("attempt"));
    join(&[run, labelled("on node ", work.shown("node")), work.shown("state"), refs.join(", ")])
}

/// Returns rule, place, commit and fingerprint of a secret that was found.
pub(super) fn secret(found: &View<'_>) -> String {
    let Some(secret) = found.value().get("secret").map(View::new) else { return String::new() };
    let line = match found.number("line") {
        0 => String::new(),
        n => format!(":{n}"),
    };
    let place = found.shown("path");
    let place = if place.is_empty() { "commit message".to_owned() } else { format!("{place}{line}") };
    let commit = labelled("commit ", short(secret.text("commit")));
    join(&[secret.shown("rule"), place, commit, labelled("fingerprint ", secret.shown("fingerprint"))])
}

fn task(agent: &View<'_>) -> String {
    let attempt = agent.number("attempt");
    let of = agent.number("maxRetries") + 1;
    let tries = if attempt > 0 { format!("attempt {attempt} of {of}") } else { "not started yet".to_owned() };
    let fix = match agent.number("fixRound") {
        0 => String::new(),
        n => format!("fix round {n}"),
    };
    let place = agent.place().map_or(String::new(), |n| format!("place {n} in the queue"));
    join(&[agent.shown("taskId"), tries, fix, labelled("priority ", nonzero(agent, "priority")), place])
}

fn nonzero(agent: &View<'_>, field: &str) -> String {
    match agent.number(field) {
        0 => String::new(),
        n => n.to_string(),
    }
}

fn branch(agent: &View<'_>) -> String {
    let pushed = pushed(agent);
    let base = labelled("base ", short(agent.text("baseCommit")));
    join(&[agent.shown("branch"), base, labelled("head ", short(agent.text("headCommit"))), pushed])
}

/// Says what is known of the agent's commit on the remote. A server of an earlier version only knows what it pushed.
fn pushed(agent: &View<'_>) -> String {
    let publication = agent.value().get("publication").map(View::new);
    let commit = publication.as_ref().map(|known| short(known.text("commit"))).unwrap_or_default();
    match publication.as_ref().map_or("", |known| known.text("state")) {
        "mayBeThere" => format!("may be on the remote at {commit}"),
        "there" => format!("pushed {commit}"),
        _ if agent.text("pushedCommit").is_empty() => "not pushed".to_owned(),
        _ => format!("pushed {}", short(agent.text("pushedCommit"))),
    }
}

fn times(agent: &View<'_>) -> String {
    let at = now();
    let time = |field: &str| agent.time(field).map_or(String::new(), |t| t.to_rfc3339());
    let elapsed = agent.elapsed(at).map_or(String::new(), span);
    let left =
        agent.time("deadline").filter(|_| !agent.is_terminal()).map_or(String::new(), |t| span(t.since(at)));
    join(&[
        labelled("spawned ", time("spawnedAt")),
        labelled("started ", time("startedAt")),
        labelled("ended ", time("completedAt")),
        elapsed,
        labelled("times out in ", left),
    ])
}

fn gates(agent: &View<'_>, paint: Paint) -> String {
    let verdict = agent.shown("verdict");
    join(&[agent.shown("gateProfile"), paint.by_word(&verdict, &verdict)])
}

fn labels(agent: &View<'_>) -> String {
    let Some(map) = agent.value().get("labels").and_then(Value::as_object) else { return String::new() };
    let one = |(key, value): (&String, &Value)| {
        format!("{}={}", plain::line(key), plain::line(value.as_str().unwrap_or("")))
    };
    map.iter().map(one).collect::<Vec<_>>().join(" ")
}

/// Shows the server: its parts, its queue, its agents.
fn fleet(session: &Session, client: &Client) -> Result<Exit, Problem> {
    let (ready, health) = client.ready()?;
    let queue = client.get("/v1/queue")?;
    let active = super::ps::list(client, "&status=spawning,running", 1000)?;
    if session.global.json {
        session.print_json(&json!({"url": client.url(), "ready": ready, "health": health, "queue": queue, "active": active.len()}))?;
        return Ok(if ready { Exit::Ok } else { Exit::Error });
    }
    let paint = session.paint();
    let word = if ready { paint.good("ready") } else { paint.bad("not ready") };
    let mut out = format!("{}   {word}\n", client.url());
    if let Some(stopped) = super::killswitch::banner(client) {
        out.push_str(&format!("{}\n", paint.bad(&stopped)));
    }
    for (name, ok, detail) in checks(&health) {
        let mark = if ok { paint.good("ok") + "  " } else { paint.bad("FAIL") };
        out.push_str(&format!("  {mark}  {name:<12} {detail}\n"));
    }
    let needs = active.iter().filter(|a| View::new(a).needs_a_person()).count();
    out.push_str(&format!(
        "{} active, {needs} need you · {}\n",
        active.len(),
        super::queue::headline(&queue)
    ));
    out.push_str("next: mosaic ps · mosaic queue · mosaic run \"…\"\n");
    session.print(out)?;
    Ok(if ready { Exit::Ok } else { Exit::Error })
}

/// Reads the checks of readiness, as an object by name or as a list.
pub(super) fn checks(health: &Value) -> Vec<(String, bool, String)> {
    let one = |name: &str, value: &Value| {
        let view = View::new(value);
        let word = value.as_str().unwrap_or_else(|| view.text("status"));
        let ok = value
            .get("ok")
            .and_then(Value::as_bool)
            .unwrap_or(!matches!(word, "fail" | "failed" | "down" | "error"));
        let detail = if value.is_string() { plain::line(word) } else { view.shown("detail") };
        (plain::line(name), ok, detail)
    };
    match health.get("checks") {
        Some(Value::Object(map)) => map.iter().map(|(name, value)| one(name, value)).collect(),
        Some(Value::Array(list)) => {
            list.iter().map(|value| one(View::new(value).text("name"), value)).collect()
        }
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::paint::ColorChoice;

    #[test]
    fn one_agent_fits_a_screen() {
        let agent = json!({
            "agentId": "7d0c6c1e-4a52-4d0e-9a55-0d7c9f2f3f9a", "name": "fix-7d0c", "taskId": "US-1", "status": "completed",
            "phase": "settled", "endReason": "done", "attempt": 2, "maxRetries": 3, "fixRound": 1, "priority": 5,
            "runtime": "claude", "agentType": "worker", "repository": "https://git.example.com/r.git", "baseBranch": "main",
            "branch": "mosaic/us-1/7d0c6c1e", "baseCommit": "8c1d2e0aaaa", "headCommit": "9f31c2abbbb", "pushedCommit": "9f31c2abbbb",
            "gateProfile": "standard", "verdict": "passed", "spawnedAt": "2026-11-22T10:00:00.000Z",
            "startedAt": "2026-11-22T10:00:02.000Z", "completedAt": "2026-11-22T10:04:14.000Z", "labels": {"team": "web"},
            "result": "Done.\nMore.",
        });
        let expected = "fix-7d0c   completed · done   7d0c6c1e-4a52-4d0e-9a55-0d7c9f2f3f9a
Task      US-1 · attempt 2 of 4 · fix round 1 · priority 5
Agent     claude · worker
Where     https://git.example.com/r.git · from main
Branch    mosaic/us-1/7d0c6c1e · base 8c1d2e0 · head 9f31c2a · pushed 9f31c2a
Time      spawned 2026-11-22T10:00:00.000Z · started 2026-11-22T10:00:02.000Z · ended 2026-11-22T10:04:14.000Z · 4m12s
Gates     standard · passed
Labels    team=web
Result    Done.
Next      mosaic diff fix-7d0c · mosaic gates fix-7d0c · mosaic logs fix-7d0c
";
        assert_eq!(
            render(&View::new(&agent), None, Paint::choose(ColorChoice::Never, false, &|_| None)),
            expected
        );
    }

    #[test]
    fn what_processes_use_is_one_line() {
        let now = json!({"cores": 1.24, "memoryBytes": 640_000_000, "processes": 8, "diskBytes": 50_331_648, "silentMs": 12_000});
        let line = process(&json!({"now": now}));
        assert_eq!(line, "1.2 cores · 610 MiB · 7 children · 48 MiB on disk · silent for 12s");
        assert_eq!(process(&json!({"now": null})), "");
    }

    #[test]
    fn checks_are_read_in_both_shapes() {
        let object = json!({"checks": {"store": {"ok": true, "detail": "fine"}, "disk": "fail"}});
        assert_eq!(
            checks(&object),
            [("disk".to_owned(), false, "fail".to_owned()), ("store".to_owned(), true, "fine".to_owned())]
        );
        let list = json!({"checks": [{"name": "git", "ok": false, "detail": "too old"}]});
        assert_eq!(checks(&list), [("git".to_owned(), false, "too old".to_owned())]);
    }
}
