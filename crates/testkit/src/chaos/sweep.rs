//! The sweep: what must hold after any run, whatever was broken in it. One function, called at the end of every run.
//!
//! I1 no acknowledged task is lost; I2 never two live trees of one agent; I3 every record ends; I4 nothing is left
//! without a record; I5 an end is final; I6 the event log has no gap; I7 no work is lost. [`transcripts`] adds `TOLD`: what
//! an agent said stands in its transcript once, whoever listened.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use mosaic_api::{AgentView, Event, Status, TranscriptEntry, TranscriptEvent, TranscriptPage};

use super::Outcome;
use super::api::Logged;
use super::scene::{Scene, has_ended};
use super::testbed::Testbed;
use crate::program::command;

/// Longest wait for background deletions, once every agent has ended.
const DELETIONS: Duration = Duration::from_secs(10);

/// Something that must hold and did not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Which invariant: `I1` to `I7`, `TOLD`, `END` for an agent that ended otherwise than its story says, `RUN` for a run that
    /// could not be finished.
    pub invariant: &'static str,
    /// Description of the violation.
    pub text: String,
}

impl Violation {
    pub(crate) fn new(invariant: &'static str, text: impl Into<String>) -> Self {
        Self { invariant, text: text.into() }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.invariant, self.text)
    }
}

/// Looks at everything. The server that runs is an ordinary one, and every agent has had its time.
pub(crate) fn sweep(scene: &mut Scene) -> Outcome<(Vec<Violation>, Vec<AgentView>)> {
    let api = scene.api()?;
    let mut found = Vec::new();
    let agents = api.agents()?;
    let events = api.events()?;
    records(&scene.place, &scene.acknowledged, &agents, &events, &mut found);
    promised(scene, &agents, &mut found);
    audit(scene, &mut found);
    leftovers(scene, &agents, &mut found);
    work(scene, &agents, &mut found)?;
    removed(scene, &agents, &mut found);
    Ok((found, agents))
}

pub(super) fn brief(agent: &AgentView) -> String {
    let of = &agent.status;
    format!(
        "{} of {}: {} in {}, {:?}, attempt {}, {:?}, {:?}",
        of.agent_id, of.task_id, of.status, of.phase, of.end_reason, of.attempt, of.error, of.warnings
    )
}

/// Checks the records and the log, of one node or many: I1, I2, I3, I5 and the log's part of I6.
pub(super) fn records(
    place: &Testbed,
    spawned: &BTreeMap<String, String>,
    agents: &[AgentView],
    events: &[Logged],
    found: &mut Vec<Violation>,
) {
    acknowledged(spawned, agents, found);
    for agent in agents.iter().filter(|agent| !has_ended(agent)) {
        found.push(Violation::new("I3", format!("has not ended: {}", brief(agent))));
    }
    for line in place.log("OVERLAP") {
        found.push(Violation::new("I2", format!("two at once: {}", line.join(" "))));
    }
    finality(agents, events, found);
    sequence(events, found);
}

/// Checks that every agent is killed whose kill was acknowledged.
fn promised(scene: &Scene, agents: &[AgentView], found: &mut Vec<Violation>) {
    let killed = |agent: &&AgentView| {
        scene.ordered.contains(&agent.status.agent_id) && agent.status.status != Status::Killed
    };
    for agent in agents.iter().filter(killed) {
        found.push(Violation::new("I5", format!("its kill was acknowledged: {}", brief(agent))));
    }
}

/// I1.
fn acknowledged(spawned: &BTreeMap<String, String>, agents: &[AgentView], found: &mut Vec<Violation>) {
    let known: BTreeSet<&str> = agents.iter().map(|agent| agent.status.agent_id.as_str()).collect();
    for (task, id) in spawned.iter().filter(|(_, id)| !known.contains(id.as_str())) {
        found.push(Violation::new("I1", format!("{task} was acknowledged as {id}, which has no record")));
    }
    let tasks: BTreeSet<&str> = agents.iter().map(|agent| agent.status.task_id.as_str()).collect();
    if tasks.len() != agents.len() {
        found.push(Violation::new("I1", "a task has two agents"));
    }
}

/// I5: one end per agent, and nothing of it afterwards.
fn finality(agents: &[AgentView], events: &[Logged], found: &mut Vec<Violation>) {
    let mut ends: BTreeMap<&str, &Logged> = BTreeMap::new();
    for event in events {
        let kind = event.event.kind();
        let of_agent = ["agent.", "task.", "git.", "gate.", "secret."];
        let counts = of_agent.iter().any(|family| kind.starts_with(family));
        // What is done with an ended agent's record and work comes after its end by its nature; under the kill switch no
        // job of an agent starts, so that its work is kept once that is released.
        let afterwards = matches!(
            event.event,
            Event::AgentRemoved(_)
                | Event::AgentWorkReported(_)
                | Event::GitRestored(_)
                | Event::GitSalvaged(_)
        );
        // Whether a push arrived that a kill broke off, the remote says only afterwards.
        let learnt =
            |end: &Logged| matches!((&end.event, &event.event), (Event::AgentKilled(_), Event::GitPushed(_)));
        if let Some(end) = ends.get(event.agent()).filter(|end| counts && !afterwards && !learnt(end)) {
            let (at, details) = (end.seq, event.event.details());
            let text = format!("{} {kind} after {at} {}: {details}", event.seq, end.event);
            found.push(Violation::new("I5", text));
        } else if event.event.is_end() {
            ends.insert(event.agent(), event);
        }
    }
    for agent in agents.iter().filter(|agent| has_ended(agent)) {
        let told =
            ends.get(agent.status.agent_id.as_str()).map(|end| end.event.kind().trim_start_matches("agent."));
        if told != Some(agent.status.status.to_string().as_str()) {
            found.push(Violation::new("I5", format!("the log says {told:?}: {}", brief(agent))));
        }
    }
}

/// I6.
fn sequence(events: &[Logged], found: &mut Vec<Violation>) {
    let mut last = 0;
    for event in events.iter().filter(|event| event.event.kind() != "snapshot") {
        if event.seq != last + 1 {
            found.push(Violation::new("I6", format!("event {} follows {last}", event.seq)));
        }
        last = event.seq;
    }
}

/// I4 and I5 for agents whose removal was acknowledged: no record and no transcript comes back.
fn removed(scene: &Scene, agents: &[AgentView], found: &mut Vec<Violation>) {
    for agent in agents.iter().filter(|agent| scene.removed.contains(&agent.status.agent_id)) {
        found.push(Violation::new("I5", format!("its removal was acknowledged: {}", brief(agent))));
    }
    for shelf in children(&scene.place.data().join("transcripts")) {
        let id = shelf.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if scene.removed.contains(&id) {
            found.push(Violation::new("I4", format!("transcripts of the removed {id}")));
        }
    }
}

/// I6, the chain of the audit log, where the program has one.
fn audit(scene: &Scene, found: &mut Vec<Violation>) {
    static THERE: OnceLock<bool> = OnceLock::new();
    let run = |arguments: &[&str]| {
        let data = scene.place.data();
        command(&scene.programs.mosaic, &data, &data).args(arguments).envs(scene.place.env()).output()
    };
    let there = || run(&["audit", "verify", "--help"]).is_ok_and(|output| output.status.success());
    if !*THERE.get_or_init(there) {
        return;
    }
    match run(&["audit", "verify"]) {
        Ok(output) if output.status.success() => {}
        Ok(output) => {
            let text = [output.stdout, output.stderr].concat();
            let text =
                format!("audit verify ended with {}: {}", output.status, String::from_utf8_lossy(&text));
            found.push(Violation::new("I6", text));
        }
        Err(e) => found.push(Violation::new("I6", format!("audit verify cannot be run: {e}"))),
    }
}

/// I4: processes, control groups, directories, locks, temporary files and refs. What is deleted in the background gets
/// its time.
fn leftovers(scene: &Scene, agents: &[AgentView], found: &mut Vec<Violation>) {
    let until = Instant::now() + DELETIONS;
    loop {
        let left = look_for_leftovers(scene, agents);
        if left.is_empty() || Instant::now() > until {
            return found.extend(left.into_iter().map(|text| Violation::new("I4", text)));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn look_for_leftovers(scene: &Scene, agents: &[AgentView]) -> Vec<String> {
    let place = &scene.place;
    let ids: BTreeSet<&str> = agents.iter().map(|agent| agent.status.agent_id.as_str()).collect();
    let marks: Vec<String> = ids.iter().map(|id| format!("MOSAIC_AGENT_ID={id}")).collect();
    let mut left = place.processes(scene.pid(), &marks);
    for group in control_groups() {
        let name = group.display().to_string();
        if ids.iter().any(|id| name.contains(id)) {
            left.push(format!("control group {name}"));
        }
    }
    let data = place.data();
    for agent in children(&data.join("agents")) {
        let id = agent.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let record = agents.iter().find(|record| record.status.agent_id == id);
        if !record.is_some_and(keeps_its_tree) {
            left.push(format!("directory agents/{id} with {:?}", children(&agent)));
        }
    }
    // A restored copy is made aside and renamed into place: what is whole is the caller's.
    let half =
        |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(".new-"));
    left.extend(
        children(&data.join("restored"))
            .iter()
            .filter(|path| half(path))
            .map(|path| format!("half-made {}", path.display())),
    );
    left.extend(children(&data.join("trash")).iter().map(|path| format!("trash {}", path.display())));
    left.extend(children(&data.join("t")).iter().map(|path| format!("temporary {}", path.display())));
    left.extend(children(&place.tmp()).iter().map(|path| format!("temporary {}", path.display())));
    for repository in children(&data.join("repos")) {
        left.extend(repository_leftovers(scene, &repository, &ids));
    }
    left
}

/// An agent whose work nobody could receive keeps its tree, and its record names it.
fn keeps_its_tree(agent: &AgentView) -> bool {
    agent.status.warnings.iter().any(|warning| warning.contains("so its tree stays"))
}

fn children(dir: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}

fn repository_leftovers(scene: &Scene, repository: &Path, ids: &BTreeSet<&str>) -> Vec<String> {
    let mut left = Vec::new();
    let mut folders = vec![repository.to_owned()];
    while let Some(folder) = folders.pop() {
        for path in children(&folder) {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let is_half_made = [".new-", "tmp_", "incoming-"].iter().any(|begin| name.starts_with(begin));
            if name.ends_with(".lock") || is_half_made {
                left.push(format!("in a bare repository: {}", path.display()));
            } else if path.is_dir() && !path.is_symlink() {
                folders.push(path);
            }
        }
    }
    let refs = scene.place.remote.try_run(repository, &["for-each-ref", "--format=%(refname)"]);
    for name in refs.unwrap_or_default().lines() {
        let of_agent = name.starts_with("refs/agents/") || name.starts_with("refs/mosaic/salvage/");
        if of_agent && !ids.iter().any(|id| name.contains(id)) {
            left.push(format!("ref without a record: {name}"));
        }
    }
    left
}

/// Returns every directory of the second control group hierarchy, where there is one.
fn control_groups() -> Vec<PathBuf> {
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let roots = mounts.lines().filter_map(|line| {
        let mut fields = line.split(' ');
        let (_, path, kind) = (fields.next()?, fields.next()?, fields.next()?);
        (kind == "cgroup2").then(|| PathBuf::from(path))
    });
    let (mut folders, mut all): (Vec<PathBuf>, Vec<PathBuf>) = (roots.collect(), Vec::new());
    while let Some(folder) = folders.pop() {
        for path in children(&folder).into_iter().filter(|path| path.is_dir()) {
            folders.push(path.clone());
            all.push(path);
        }
    }
    all
}

/// I7: every line that an agent said it had written is on the pushed branch, or kept in the server's bare repository under the
/// agent's name, or still in a tree that its record names.
fn work(scene: &Scene, agents: &[AgentView], found: &mut Vec<Violation>) -> Outcome<()> {
    let git = |dir: &Path, args: &[&str]| scene.place.remote.try_run(dir, args).unwrap_or_default();
    for agent in agents {
        let id = agent.status.agent_id.as_str();
        let lines: Vec<Vec<String>> =
            scene.place.log("wrote").into_iter().filter(|fields| fields[1] == id).collect();
        if lines.is_empty() {
            continue;
        }
        let mut kept = String::new();
        if let Some(branch) = &agent.status.branch {
            kept += &git(
                &scene.place.remote.remote(),
                &["log", "-p", "--format=", &format!("refs/heads/{branch}"), "--"],
            );
        }
        for repository in children(&scene.place.data().join("repos")) {
            let (own, salvage) =
                (format!("--glob=refs/agents/{id}/*"), format!("--glob=refs/mosaic/salvage/{id}*"));
            // A salvage is a commit with several parents (ADR 9). Without `-m` git shows no change of such a commit,
            // and what only the working tree had would count as lost.
            kept += &git(&repository, &["log", "-m", "-p", "--format=", &own, &salvage, "--"]);
        }
        if keeps_its_tree(agent) {
            let tree = scene.place.data().join("agents").join(id).join("tree");
            let files: BTreeSet<&str> = lines.iter().map(|fields| fields[2].as_str()).collect();
            kept.extend(
                files.iter().map(|file| std::fs::read_to_string(tree.join(file)).unwrap_or_default()),
            );
        }
        for line in lines.iter().filter(|fields| !kept.contains(&fields[3])) {
            let text = format!("\"{}\" in {} is nowhere: {}", line[3], line[2], brief(agent));
            found.push(Violation::new("I7", text));
        }
        completed_means_pushed(&scene.place, agent, found);
    }
    Ok(())
}

pub(super) fn completed_means_pushed(place: &Testbed, agent: &AgentView, found: &mut Vec<Violation>) {
    if agent.status.status != Status::Completed {
        return;
    }
    let tip = agent.status.branch.as_deref().and_then(|branch| place.remote.tip(branch));
    if tip.is_none() || tip != agent.pushed_commit {
        let text = format!("completed, but its branch is at {tip:?}: {}", brief(agent));
        found.push(Violation::new("I7", text));
    }
}

/// Returns what an agent's program printed, when that is what the entry tells.
fn output(entry: TranscriptEntry) -> Option<String> {
    match entry.event {
        TranscriptEvent::Output { text, .. } => Some(text),
        _ => None,
    }
}

/// Checks the lines that agents printed while servers died: every line is told once. Not part of the sweep, as a
/// transcript that could not be written is no fault of the agent's.
pub(crate) fn transcripts(scene: &mut Scene, agents: &[AgentView]) -> Outcome<Vec<Violation>> {
    let api = scene.api()?;
    let mut found = Vec::new();
    let ended: BTreeSet<String> =
        scene.place.log("end").into_iter().map(|fields| fields[2].clone()).collect();
    for agent in agents {
        let id = agent.status.agent_id.as_str();
        let page: TranscriptPage = api.get(&format!("/v1/agents/{id}/transcript?limit=200&kinds=output"))?;
        let entries = page.items.into_iter().filter_map(|item| serde_json::from_value(item).ok());
        let said: Vec<String> = entries.filter_map(output).collect();
        for fields in scene.place.log("start").into_iter().filter(|fields| fields[1] == id) {
            let times =
                |word: &str| said.iter().filter(|text| **text == format!("{word} {}", fields[2])).count();
            let (first, last) = (times("working"), times("done"));
            let whole = ended.contains(&fields[2]);
            if first > 1 || last > 1 || (whole && first == 0) {
                let text = format!(
                    "run {} of {id} is told {first} times at its start, {last} at its end",
                    fields[2]
                );
                found.push(Violation::new("TOLD", text));
            }
        }
    }
    Ok(found)
}
