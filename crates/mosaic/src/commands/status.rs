//! `mosaic status`: everything about one agent on one screen, or the state of the server.

use mosaic_api::{
    AgentView, Finding, KeptWork, KillReceipt, PublicationState, Queue, Readiness, Resources, WorkState,
};
use serde_json::json;

use crate::cli::StatusArgs;
use crate::client::{Client, escape};
use crate::color::Paint;
use crate::exit::Exit;
use crate::problem::Problem;
use crate::resolve;
use crate::sanitize;
use crate::sent::Agent;
use crate::session::Session;
use crate::view::{AgentStatus, now, place, shown, span, time, word};

/// Runs the command.
pub(super) fn run(session: &Session, args: &StatusArgs) -> Result<Exit, Problem> {
    let client = session.client()?;
    let Some(typed) = &args.agent else { return fleet(session, &client) };
    let agent = resolve::agent(&client, typed)?;
    // A list leaves out what is large and the place in the queue.
    let path = format!("/v1/agents/{}", escape(&agent.status.agent_id));
    let agent: Agent = client.get(&path)?;
    if session.global.json {
        session.print_json(&agent)?;
        return Ok(Exit::Ok);
    }
    // One that has ended uses nothing; a server of an earlier version does not say.
    let resources = match agent.status.is_final() {
        true => None,
        false => client.get::<Resources>(&format!("{path}/resources")).ok(),
    };
    session.print(render(&agent, resources.as_deref(), session.paint()))?;
    Ok(Exit::Ok)
}

/// Says in one line what the agent's processes use; nothing when that is not known.
fn process(resources: &Resources) -> String {
    let Some(sample) = &resources.now else { return String::new() };
    let mib = |bytes: u64| format!("{} MiB", bytes / (1024 * 1024));
    let disk = sample.disk_bytes.map_or(String::new(), |bytes| format!("{} on disk", mib(bytes)));
    let silent = sample.silent_ms.map(std::time::Duration::from_millis);
    let silent = silent.map_or(String::new(), |time| format!("silent for {}", span(time)));
    let children = match sample.processes.saturating_sub(1) {
        1 => "1 child".to_owned(),
        n => format!("{n} children"),
    };
    join(&[format!("{:.1} cores", sample.cores), mib(sample.memory_bytes), children, disk, silent])
}

fn short(commit: &str) -> String {
    sanitize::line(commit.get(..7).unwrap_or(commit))
}

fn short_of(commit: &Option<String>) -> String {
    commit.as_deref().map_or(String::new(), short)
}

/// Joins the parts that are there.
fn join(parts: &[String]) -> String {
    parts.iter().filter(|p| !p.is_empty()).cloned().collect::<Vec<_>>().join(" · ")
}

fn labelled(label: &str, value: String) -> String {
    if value.is_empty() { String::new() } else { format!("{label}{value}") }
}

/// Renders one agent.
fn render(agent: &AgentView, resources: Option<&Resources>, paint: Paint) -> String {
    let state = &agent.status;
    let name = state.short_name();
    let status = state.status.to_string();
    let shown_state = if state.is_final() {
        join(&[paint.by_word(&status, &status), word(state.end_reason)])
    } else {
        join(&[status, state.phase.to_string()])
    };
    let id = sanitize::line(&state.agent_id);
    let mut out = format!("{}   {shown_state}   {}\n", paint.bold(&name), paint.dim(&id));
    let mut line = |label: &str, value: String| {
        if !value.is_empty() {
            out.push_str(&format!("{label:<10}{value}\n"));
        }
    };
    line("Task", task(agent));
    let model = labelled("model ", shown(&agent.model));
    line("Agent", join(&[shown(&agent.runtime), model, agent.agent_type.to_string()]));
    let base = labelled("from ", sanitize::line(&agent.base_branch));
    line("Where", join(&[sanitize::line(&agent.repository), base]));
    line("Branch", branch(agent));
    line("Time", times(agent));
    line("Process", resources.map(process).unwrap_or_default());
    line("Waits", shown(&agent.delayed_because));
    line("Gates", gates(agent, paint));
    line("Labels", labels(agent));
    line("Repeats", shown(&state.previous_agent_id));
    for one in &state.attention {
        line("Needs you", paint.warn(&format!("{}: {}", one.kind, sanitize::line(&one.summary))));
    }
    for warning in state.shown_warnings() {
        line("Warning", paint.warn(&warning));
    }
    line("Stopped", agent.receipt.as_ref().map(stopped).unwrap_or_default());
    for work in agent.kept_work.iter().filter(|work| is_to_be_looked_after(work)) {
        line("Kept", kept(work));
    }
    for (n, text) in sanitize::block(state.error.as_deref().unwrap_or_default()).lines().enumerate() {
        line(if n == 0 { "Error" } else { "" }, paint.bad(text));
    }
    if let Some(detail) = &agent.detail {
        for found in &detail.findings {
            line("Secret", secret(found));
        }
        line("Result", sanitize::first_line(detail.result.as_deref().unwrap_or_default(), 200));
    }
    line("Next", super::summary::next(agent, &name).trim_start_matches("next: ").to_owned());
    out
}

/// Says in one line what was stopped of its last run; nothing when nothing was.
fn stopped(receipt: &KillReceipt) -> String {
    let (Some(before @ 1..), Some(after)) = (receipt.processes_before, receipt.processes_after) else {
        return String::new();
    };
    let took = receipt.took_ms.map_or(String::new(), |ms| format!("in {ms} ms"));
    let left = format!("{after} of {before} processes left");
    join(&[left, shown(&receipt.rung), took, shown(&receipt.confinement)])
}

/// Tells whether an attempt's work would be lost with its node.
fn is_to_be_looked_after(work: &KeptWork) -> bool {
    matches!(work.state, WorkState::Kept | WorkState::Unreported)
}

/// Says in one line where an attempt's work lies.
fn kept(work: &KeptWork) -> String {
    let refs: Vec<String> = work.refs.iter().map(|kept| sanitize::line(&kept.reference)).collect();
    let run = format!("run {} (attempt {})", work.run, work.attempt);
    let node = labelled("on node ", sanitize::line(&work.node));
    join(&[run, node, work.state.to_string(), refs.join(", ")])
}

/// Returns rule, place, commit and fingerprint of a secret that was found; nothing for another finding.
pub(super) fn secret(found: &Finding) -> String {
    let Some(secret) = &found.secret else { return String::new() };
    let line = found.line.map_or(String::new(), |line| format!(":{line}"));
    let place = shown(&found.path);
    let place = if place.is_empty() { "commit message".to_owned() } else { format!("{place}{line}") };
    let commit = labelled("commit ", short(&secret.commit));
    let fingerprint = labelled("fingerprint ", sanitize::line(&secret.fingerprint));
    join(&[sanitize::line(&secret.rule), place, commit, fingerprint])
}

fn task(agent: &AgentView) -> String {
    let tries = match agent.status.attempt {
        0 => "not started yet".to_owned(),
        attempt => format!("attempt {attempt} of {}", agent.max_retries + 1),
    };
    let fix = match agent.status.fix_round {
        0 => String::new(),
        n => format!("fix round {n}"),
    };
    let place = place(agent.queue_position).map_or(String::new(), |n| format!("place {n} in the queue"));
    join(&[sanitize::line(&agent.status.task_id), tries, fix, format!("priority {}", agent.priority), place])
}

fn branch(agent: &AgentView) -> String {
    let base = labelled("base ", short_of(&agent.base_commit));
    let head = labelled("head ", short_of(&agent.head_commit));
    join(&[shown(&agent.status.branch), base, head, pushed(agent)])
}

/// Says what is known of the agent's commit on the remote.
fn pushed(agent: &AgentView) -> String {
    let commit = short_of(&agent.publication.commit);
    match agent.publication.state {
        PublicationState::MayBeThere => format!("may be on the remote at {commit}"),
        PublicationState::There => format!("pushed {commit}"),
        _ if agent.pushed_commit.is_none() => "not pushed".to_owned(),
        _ => format!("pushed {}", short_of(&agent.pushed_commit)),
    }
}

fn times(agent: &AgentView) -> String {
    let (at, state) = (now(), &agent.status);
    let point = |text: &str| time(text).map_or(String::new(), |t| t.to_rfc3339());
    let maybe = |text: &Option<String>| text.as_deref().map_or(String::new(), point);
    let elapsed = state.elapsed(at).map_or(String::new(), span);
    let deadline = agent.deadline.as_deref().and_then(time).filter(|_| !state.is_final());
    let left = deadline.map_or(String::new(), |t| span(t.since(at)));
    join(&[
        labelled("spawned ", point(&state.spawned_at)),
        labelled("started ", maybe(&state.started_at)),
        labelled("ended ", maybe(&state.completed_at)),
        elapsed,
        labelled("times out in ", left),
    ])
}

fn gates(agent: &AgentView, paint: Paint) -> String {
    let verdict = word(agent.status.verdict);
    join(&[agent.gate_profile.to_string(), paint.by_word(&verdict, &verdict)])
}

fn labels(agent: &AgentView) -> String {
    let one = |(key, value): (&String, &String)| format!("{}={}", sanitize::line(key), sanitize::line(value));
    agent.labels.iter().map(one).collect::<Vec<_>>().join(" ")
}

/// Shows the server: its parts, its queue, its agents.
fn fleet(session: &Session, client: &Client) -> Result<Exit, Problem> {
    let (ready, health) = client.ready()?;
    let queue = client.get::<Queue>("/v1/queue")?;
    let active = super::agent_list::list(client, "&status=spawning,running", 1000)?;
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
    let needs = active.iter().filter(|agent| agent.status.needs_a_person()).count();
    out.push_str(&format!(
        "{} active, {needs} need you · {}\n",
        active.len(),
        super::queue::headline(&queue)
    ));
    out.push_str("next: mosaic ps · mosaic queue · mosaic run \"…\"\n");
    session.print(out)?;
    Ok(if ready { Exit::Ok } else { Exit::Error })
}

/// Lists the checks of readiness: name, result, detail.
pub(super) fn checks(health: &Readiness) -> Vec<(String, bool, String)> {
    let one = |(name, check): (&String, &mosaic_api::Check)| {
        (sanitize::line(name), check.status == mosaic_api::Check::OK, sanitize::line(&check.detail))
    };
    health.checks.iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::color::ColorChoice;

    #[test]
    fn one_agent_fits_a_screen() {
        let agent = crate::samples::agent(json!({
            "agentId": "7d0c6c1e-4a52-4d0e-9a55-0d7c9f2f3f9a", "name": "fix-7d0c", "taskId": "US-1", "status": "completed",
            "phase": "settled", "endReason": "done", "attempt": 2, "maxRetries": 3, "fixRound": 1, "priority": 5,
            "runtime": "claude", "agentType": "worker", "repository": "https://git.example.com/r.git", "baseBranch": "main",
            "branch": "mosaic/us-1/7d0c6c1e", "baseCommit": "8c1d2e0aaaa", "headCommit": "9f31c2abbbb", "pushedCommit": "9f31c2abbbb",
            "gateProfile": "standard", "verdict": "passed", "spawnedAt": "2026-11-22T10:00:00.000Z",
            "startedAt": "2026-11-22T10:00:02.000Z", "completedAt": "2026-11-22T10:04:14.000Z", "labels": {"team": "web"},
            "result": "Done.\nMore.",
        }));
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
        assert_eq!(render(&agent, None, Paint::choose(ColorChoice::Never, false, &|_| None)), expected);
    }

    #[test]
    fn what_processes_use_is_one_line() {
        let now = json!({
            "at": "", "cpuMs": 0, "readBytes": 0, "writtenBytes": 0, "diskMore": false, "phase": "working", "stall": "none",
            "cores": 1.24, "memoryBytes": 640_000_000, "processes": 8, "diskBytes": 50_331_648, "silentMs": 12_000,
        });
        let line = process(&crate::samples::resources(now));
        assert_eq!(line, "1.2 cores · 610 MiB · 7 children · 48 MiB on disk · silent for 12s");
        assert_eq!(process(&crate::samples::resources(serde_json::Value::Null)), "");
    }

    #[test]
    fn checks_are_listed_by_name() {
        let check = |status: &str, detail: &str| json!({"status": status, "detail": detail});
        let health = json!({"status": "not_ready", "failing": ["disk"], "dispatch": "running",
            "checks": {"store": check("ok", "fine"), "disk": check("fail", "full\u{7}")}});
        let health: Readiness = serde_json::from_value(health).unwrap();
        assert_eq!(
            checks(&health),
            [
                ("disk".to_owned(), false, "full\\x07".to_owned()),
                ("store".to_owned(), true, "fine".to_owned())
            ]
        );
    }
}
