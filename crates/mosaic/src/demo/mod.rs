//! `mosaic demo`: a sample repository, a server on the embedded store, and four scripted agents through the whole
//! life. Everything is real but the model. It ends by itself: 0 when every story ended as told.

mod sample;
mod stage;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context as _, bail, ensure};
use mosaic_api::{
    AgentType, Context, Event, Finding, GateProfile, Killed, OrderRequest, SpawnRequest, Spawned, Status,
    StatusView, Verdict,
};

use crate::cli::DemoArgs;
use crate::config::{Config, Trust};
use crate::exit::Exit;
use crate::interrupt;
use crate::problem::Problem;
use crate::sanitize;
use crate::sent::Agent;
use crate::serve::{LocalOptions, LocalServer, blocking, private_dir, start_local};
use crate::session::say;
use crate::view::shown;
use crate::wire;
use stage::Stage;

/// The stories in the order in which they are told, with what each shows.
const STORIES: [(&str, &str); 4] = [
    ("demo-fix", "fixes a bug, adds a test, passes every gate"),
    ("demo-cover", "forgets to test its code: coverage fails, it gets the findings and repairs them"),
    ("demo-secret", "commits a (made-up) cloud key: blocked, it rewrites its commits"),
    ("demo-loop", "runs away on purpose, until it is killed"),
];

/// The data directory of the demo's server, within its place.
const STATE: &str = "state";

/// Where the demo keeps its things, below the data directory.
fn directory(data_dir: &Path) -> PathBuf {
    data_dir.join("demo")
}

/// Deletes what earlier demos left. Only a directory that a demo made is touched.
fn remove(data_dir: &Path) -> anyhow::Result<bool> {
    let place = directory(data_dir);
    if !place.exists() {
        return Ok(false);
    }
    ensure!(
        place.join(sample::PLACE_MARKER).is_file(),
        "{} was not made by mosaic demo; it is left alone",
        place.display()
    );
    // An earlier demo that was killed has left its runaway behind; one that still plays must not lose its stage.
    blocking(wire::stop_left(&place.join(STATE))).context("an earlier demo cannot be deleted")?;
    std::fs::remove_dir_all(&place).with_context(|| format!("{} cannot be removed", place.display()))?;
    Ok(true)
}

/// Runs the demo, or deletes what the last one left.
pub(crate) fn demo(config: &Config, args: &DemoArgs) -> ExitCode {
    let done = if args.remove {
        remove(&config.data_dir).map(|was| say(if was { "demo removed" } else { "no demo to remove" }))
    } else {
        let interrupts = interrupt::catch();
        match run(config, &interrupts) {
            // Whatever broke off, it did because of this.
            Err(_) if interrupts.caught() => {
                say("\nstopped: nothing of the demo runs any more. Clean up: mosaic demo --remove");
                return Exit::Interrupted.into();
            }
            done => done,
        }
    };
    match done.map_err(Problem::from) {
        Ok(()) => Exit::Ok.into(),
        Err(problem) => {
            say(problem.render().trim_end());
            Exit::of_problem(&problem).into()
        }
    }
}

fn run(config: &Config, interrupts: &interrupt::Interrupts) -> anyhow::Result<()> {
    let began = Instant::now();
    remove(&config.data_dir)?;
    let place = directory(&config.data_dir);
    // The data directory may be new; what it will hold later is for its owner only.
    private_dir(&config.data_dir)?;
    sample::make(&place)?;
    println!("DEMO: scripted agents, no model, no cost. Everything else is real.");
    println!("  made    {} (a bash calculator, its remote beside it)", place.join("calc").display());
    let server = start_local(
        &demo_config(config, &place),
        LocalOptions { allowed_repository: None, trust: Trust::All, trusted: None, gate_cache: None },
    )?;
    println!("  server  {} (embedded store, ends with this demo)\n", server.url());
    let stop = server.stopper();
    interrupts.tell(move || {
        stop();
        true
    });
    let stage = Stage::new(&server);
    let mut agents = BTreeMap::new();
    for (story, what) in STORIES {
        let name = spawn(&stage, story, &place.join("remote.git"))?;
        println!("  {:<18} {what}", name.name);
        agents.insert(name.id.clone(), name);
    }
    println!();
    let endings = follow(&stage, agents, began)?;
    check(&endings)?;
    finish(server, &place, began)
}

/// The demo has its own state and free port, whatever the environment says about the rest.
fn demo_config(config: &Config, place: &Path) -> Config {
    let mut demo = config.clone();
    demo.data_dir = place.join(STATE);
    demo.runtime = "demo".to_owned();
    demo.allow_local_repositories = true;
    demo.slots = STORIES.len();
    demo.branch_prefix = "mosaic".to_owned();
    demo.coordinator.url = None;
    demo
}

/// A story on stage.
struct Cast {
    id: String,
    name: String,
    story: &'static str,
    killed: bool,
}

fn spawn(stage: &Stage, story: &'static str, remote: &Path) -> anyhow::Result<Cast> {
    let context = Context {
        repository: remote.display().to_string(),
        branch: "main".to_owned(),
        work_items: vec![story.to_owned()],
        skills: Vec::new(),
        instructions: None,
    };
    let body = SpawnRequest {
        gate_profile: Some(GateProfile::Standard),
        max_retries: Some(0),
        ..SpawnRequest::new(story, AgentType::Worker, context)
    };
    let answer = stage.post::<Spawned>("/agents/spawn", &body)?;
    Ok(Cast { id: answer.agent_id.clone(), name: answer.name.clone(), story, killed: false })
}

/// Tells what happens until every story has ended; kills the runaway once the others are done.
fn follow(
    stage: &Stage,
    mut cast: BTreeMap<String, Cast>,
    began: Instant,
) -> anyhow::Result<BTreeMap<&'static str, Agent>> {
    let mut endings = BTreeMap::new();
    stage.events(|envelope| {
        let Some(id) = envelope.data.agent_id.as_deref() else { return Ok(true) };
        let Some(agent) = cast.get_mut(id) else { return Ok(true) };
        let event = envelope.event();
        if let Some(line) = tell(&event) {
            println!("[{:>4.1}s] {:<18} {line}", began.elapsed().as_secs_f64(), agent.name);
        }
        if event.is_end() {
            endings.insert(agent.story, stage.get(&format!("/v1/agents/{id}"))?);
        }
        let others_done = endings.len() == STORIES.len() - 1;
        if let Some(runaway) = cast.values_mut().find(|a| a.story == "demo-loop" && others_done && !a.killed)
        {
            runaway.killed = true;
            kill(stage, runaway, began)?;
        }
        Ok(endings.len() < STORIES.len())
    })?;
    Ok(endings)
}

fn kill(stage: &Stage, runaway: &Cast, began: Instant) -> anyhow::Result<()> {
    println!(
        "[{:>4.1}s] {:<18} is still running: mosaic kill {}",
        began.elapsed().as_secs_f64(),
        runaway.name,
        runaway.name
    );
    let path = format!("/agents/{}/kill", runaway.id);
    let killed = stage.post::<Killed>(&path, &OrderRequest { reason: None })?;
    ensure!(killed.verified, "the kill was not verified: {}", killed.json());
    let receipt = killed.receipt.as_ref().context("the kill was verified, but has no receipt")?;
    println!(
        "        verified: {} processes before, {} after, in {} ms (furthest rung: {})",
        receipt.processes_before.unwrap_or(0),
        receipt.processes_after.unwrap_or(0),
        receipt.took_ms.unwrap_or(0),
        receipt.rung.as_deref().unwrap_or("?")
    );
    Ok(())
}

/// Returns what to say about an event; nothing for those that would only be noise.
fn tell(event: &Event) -> Option<String> {
    Some(match event {
        Event::AgentRunning(_) => "running".to_owned(),
        Event::GitCommit(git) => {
            format!("commit   {}", sanitize::line(&git.commit.chars().take(7).collect::<String>()))
        }
        Event::SecretFound(secret) => format!("BLOCKED  {}", first(&secret.findings)),
        Event::GateFinished(gates) => {
            let words: Vec<String> = gates
                .results
                .iter()
                .map(|one| format!("{} {}", sanitize::line(&one.name), one.outcome))
                .collect();
            format!("gates    {}", words.join(" · "))
        }
        Event::AgentFixRequested(fix) => {
            format!("returned to the agent (round {}): {}", fix.fix_round, first(&fix.findings))
        }
        Event::GitPushed(git) => format!("pushed   {}", sanitize::line(&git.branch)),
        Event::AgentCompleted(_) => "completed".to_owned(),
        Event::AgentFailed(end) => {
            format!("FAILED   {}", sanitize::line(end.error.as_deref().unwrap_or_default()))
        }
        Event::AgentKilled(_) => "killed".to_owned(),
        _ => return None,
    })
}

/// Returns the first finding in one line, or nothing.
fn first(findings: &[Finding]) -> String {
    let Some(finding) = findings.first() else { return String::new() };
    let place = match (&finding.path, finding.line) {
        (Some(path), Some(line)) => format!("{}:{line} ", sanitize::line(path)),
        (Some(path), None) => format!("{} ", sanitize::line(path)),
        _ => String::new(),
    };
    format!("{place}{}", sanitize::line(&finding.message))
}

/// Compares how the stories ended with how they are told.
fn check(endings: &BTreeMap<&'static str, Agent>) -> anyhow::Result<()> {
    for (story, _) in STORIES {
        let Some(end) = endings.get(story) else { bail!("{story} did not end") };
        let StatusView { status, fix_round: rounds, verdict, .. } = end.status;
        let (has_ended_well, has_passed) = (status == Status::Completed, verdict == Some(Verdict::Passed));
        let as_told = match story {
            "demo-fix" => has_ended_well && rounds == 0 && has_passed,
            "demo-cover" | "demo-secret" => has_ended_well && rounds == 1 && has_passed,
            _ => status == Status::Killed,
        };
        ensure!(
            as_told,
            "{story} ended otherwise than told: {status} after {rounds} fix rounds: {}",
            shown(&end.status.error)
        );
    }
    Ok(())
}

fn finish(server: LocalServer, place: &Path, began: Instant) -> anyhow::Result<()> {
    let branches = sample::branches(&place.join("remote.git"))?;
    ensure!(
        branches.len() == STORIES.len() - 1,
        "the remote should have three new branches, it has: {branches:?}"
    );
    println!("\nOn the remote now:");
    for (branch, subject) in branches {
        println!("  {branch:<32} {}", sanitize::line(&subject));
    }
    server.stop();
    println!(
        "\nDone in {:.1} s. Look around: git -C {} log --oneline --all --graph",
        began.elapsed().as_secs_f64(),
        place.join("remote.git").display()
    );
    println!(
        "Next: cd your-repository && mosaic run \"add a test for the parser\"    Clean up: mosaic demo --remove"
    );
    Ok(())
}
