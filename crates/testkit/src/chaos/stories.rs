//! The stories: short lives that together touch every step of spawn, run, kill, clean-up and settle. Each is played by
//! callers who do not know that the server breaks under them.

use mosaic_api::{AgentView, Code, KillAll, Status, SwitchEngaged};
use serde_json::json;

use super::scene::{AGAIN, Scene, has_ended};
use super::{Outcome, Programs, afterwards, while_};

/// A short life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Story {
    /// Work that passes its gate and is pushed.
    Push,
    /// A gate that fails once and is satisfied by a fix round.
    Repair,
    /// A secret in a commit, taken out by a fix round.
    Secret,
    /// An agent that crashes once and is tried again.
    Crash,
    /// A running agent with committed and uncommitted work is killed.
    KillRunning,
    /// A waiting agent is killed.
    KillWaiting,
    /// Running and waiting agents are killed all at once.
    KillAll,
    /// The kill switch is engaged while one agent runs and one waits, and released.
    Switch,
    /// The server gets SIGTERM while an agent runs.
    Sigterm,
    /// The server with the failpoint finds an agent that runs and one that waits.
    Recover,
    /// The server with the failpoint finds an agent that ended while there was none.
    Meanwhile,
    /// The server with the failpoint finds an agent whose shim died with it.
    Shimless,
    /// An agent hides work from git in every way it can and ends by itself.
    Hidden,
    /// A running agent is frozen and thawed.
    Freeze,
    /// A frozen agent with committed and uncommitted work is killed.
    FreezeKill,
    /// A killed agent's work is restored.
    Restore,
    /// A pushed agent is removed, and one whose work is kept nowhere else.
    Remove,
    /// Ended agents are pruned.
    Prune,
}

impl Story {
    /// All of them.
    pub const ALL: [Self; 18] = [
        Self::Push,
        Self::Repair,
        Self::Secret,
        Self::Crash,
        Self::KillRunning,
        Self::KillWaiting,
        Self::KillAll,
        Self::Switch,
        Self::Sigterm,
        Self::Recover,
        Self::Meanwhile,
        Self::Shimless,
        Self::Hidden,
        Self::Freeze,
        Self::FreezeKill,
        Self::Restore,
        Self::Remove,
        Self::Prune,
    ];

    /// Returns its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Push => "push",
            Self::Repair => "repair",
            Self::Secret => "secret",
            Self::Crash => "crash",
            Self::KillRunning => "kill-running",
            Self::KillWaiting => "kill-waiting",
            Self::KillAll => "kill-all",
            Self::Switch => "switch",
            Self::Sigterm => "sigterm",
            Self::Recover => "recover",
            Self::Meanwhile => "meanwhile",
            Self::Shimless => "shimless",
            Self::Hidden => "hidden",
            Self::Freeze => "freeze",
            Self::FreezeKill => "freeze-kill",
            Self::Restore => "restore",
            Self::Remove => "rm",
            Self::Prune => "prune",
        }
    }

    /// Finds a story by its name.
    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|story| story.name() == name)
    }

    /// Tells whether the program can play it: one that is not there yet has no such route.
    pub(crate) fn is_possible(self, programs: &Programs) -> Outcome<bool> {
        if self != Self::Switch {
            return Ok(true);
        }
        let mut scene = Scene::new(programs, 1)?;
        Ok(scene.call("GET", "/v1/killswitch", None, None)?.status == 200)
    }

    /// Returns how many agents its servers run at once.
    pub(crate) fn slots(self) -> u32 {
        match self {
            // With one slot, which the holding agent has, the second agent is certain to wait.
            Self::KillWaiting | Self::Recover | Self::Switch => 1,
            _ => 2,
        }
    }

    /// Plays it up to where everything may end by itself.
    pub(crate) fn play(self, scene: &mut Scene, failpoint: &str) -> Outcome<()> {
        match self {
            Self::Push => simple(scene, failpoint, "push-1"),
            Self::Repair => simple(scene, failpoint, "repair-1"),
            Self::Secret => simple(scene, failpoint, "secret-1"),
            Self::Crash => simple(scene, failpoint, "crash-1"),
            Self::KillRunning => {
                scene.start_broken(failpoint)?;
                let id = scene.spawn("commit-hold-1", 1)?;
                scene.await_log("hold", 1)?;
                scene.kill(&id)?;
                scene.place.go("commit-hold-1")
            }
            Self::KillWaiting => {
                scene.start_broken(failpoint)?;
                scene.spawn("hold-1", 1)?;
                scene.await_log("hold", 1)?;
                let waiting = scene.spawn("push-2", 1)?;
                scene.kill(&waiting)?;
                scene.place.go("hold-1")
            }
            Self::KillAll => kill_all(scene, failpoint),
            Self::Switch => switch(scene, failpoint),
            Self::Sigterm => {
                scene.start_broken(failpoint)?;
                scene.spawn("commit-hold-1", 1)?;
                scene.await_log("hold", 1)?;
                scene.terminate();
                scene.place.go("commit-hold-1")
            }
            Self::Recover => {
                killed_while_holding(scene)?;
                scene.start_broken(failpoint)?;
                scene.place.go("commit-hold-1")
            }
            Self::Meanwhile => {
                killed_while_holding(scene)?;
                scene.place.go("commit-hold-1")?;
                // The agent has written its last line before the next server starts, so its end must be read from files
                // and not from a program that runs.
                scene.place.await_log("end", 1, scene.deadline);
                scene.start_broken(failpoint)
            }
            Self::Shimless => {
                killed_while_holding(scene)?;
                // The shim dies while its program holds, so that no process writes down how the program ends.
                scene.place.kill_parents("hold");
                scene.place.go("commit-hold-1")?;
                scene.start_broken(failpoint)
            }
            Self::Hidden => simple(scene, failpoint, "hidden-1"),
            Self::Freeze => {
                let id = frozen(scene, failpoint)?;
                order(scene, &id, "thaw")?;
                scene.place.go("commit-hold-1")
            }
            Self::FreezeKill => {
                let id = frozen(scene, failpoint)?;
                scene.kill(&id)?;
                scene.place.go("commit-hold-1")
            }
            Self::Restore => afterwards::restore(scene, failpoint),
            Self::Remove => afterwards::remove(scene, failpoint),
            Self::Prune => afterwards::prune(scene, failpoint),
        }
    }

    /// Says what is wrong with how its agents ended, when the server only died: nothing that an agent did was at fault, so
    /// no attempt may have been counted and every work must have arrived.
    pub(crate) fn judge(self, scene: &Scene, agents: &[AgentView]) -> Vec<String> {
        let mut wrong = Vec::new();
        for agent in agents {
            let (of, task) = (&agent.status, &agent.status.task_id);
            let doomed = scene.doomed.contains(&of.agent_id);
            // A lost supervisor costs an attempt, as an agent's own crash does.
            let attempts: &[u32] = match (task.split('-').next(), self) {
                (Some("crash"), _) => &[2],
                (_, Self::Shimless) => &[1, 2],
                _ => &[1],
            };
            let fits = match of.status {
                Status::Completed => attempts.contains(&of.attempt),
                Status::Killed => doomed,
                _ => false,
            };
            if !fits {
                wrong.push(format!(
                    "{task} ended as {} ({:?}), attempt {}: {:?}",
                    of.status, of.end_reason, of.attempt, of.error
                ));
            }
        }
        wrong
    }
}

fn simple(scene: &mut Scene, failpoint: &str, task: &str) -> Outcome<()> {
    scene.start_broken(failpoint)?;
    scene.spawn(task, 1).map(drop)
}

/// Plays until a running agent with committed and uncommitted work is frozen; returns its id.
fn frozen(scene: &mut Scene, failpoint: &str) -> Outcome<String> {
    scene.start_broken(failpoint)?;
    let id = scene.spawn("commit-hold-1", 1)?;
    scene.await_log("hold", 1)?;
    order(scene, &id, "freeze")?;
    Ok(id)
}

/// Freezes or thaws an agent. A refusal that passes, as while a new server adopts the agent, is asked again; once the
/// agent has ended there is nothing to freeze.
fn order(scene: &mut Scene, id: &str, verb: &str) -> Outcome<()> {
    let reason = json!({"reason": "chaos"});
    loop {
        let answer = scene.call("POST", &format!("/v1/agents/{id}/{verb}"), None, Some(&reason))?;
        if answer.is_success() {
            return Ok(());
        }
        let record = scene.call("GET", &format!("/v1/agents/{id}"), None, None)?;
        if record.read::<AgentView>().is_ok_and(|agent| has_ended(&agent)) {
            return Ok(());
        }
        let is_retryable = answer.problem().is_some_and(|problem| problem.retryable);
        if !is_retryable || std::time::Instant::now() > scene.deadline {
            return Err(format!("{verb} of {id} was answered {answer}"));
        }
        std::thread::sleep(AGAIN);
    }
}

/// Plays until an ordinary server was killed while its agent holds.
fn killed_while_holding(scene: &mut Scene) -> Outcome<()> {
    scene.start_plain()?;
    scene.spawn("commit-hold-1", 1)?;
    scene.await_log("hold", 1)?;
    scene.spawn("push-2", 1)?;
    scene.kill_9();
    Ok(())
}

fn kill_all(scene: &mut Scene, failpoint: &str) -> Outcome<()> {
    scene.start_broken(failpoint)?;
    let tasks = ["hold-1", "commit-hold-2", "push-3"];
    for task in &tasks[..2] {
        let id = scene.spawn(task, 1)?;
        scene.doomed.insert(id);
    }
    scene.await_log("hold", 2)?;
    let waiting = scene.spawn(tasks[2], 1)?;
    scene.doomed.insert(waiting);
    let reason = json!({"reason": "chaos"});
    let answer = scene.call("POST", "/v1/agents/kill-all", None, Some(&reason))?;
    let answer: KillAll = answer.read().map_err(while_("kill-all"))?;
    // Only an answer that claims success is held to it; one that failed for an agent says so itself.
    if answer.failed == 0 {
        gone_now(scene, "kill-all");
    }
    scene.place.go("hold-1")?;
    scene.place.go("commit-hold-2")
}

/// Looks whether every program that had to end is gone, now that the answer said so. What it left may still be being
/// kept: that is what the answer calls pending.
fn gone_now(scene: &mut Scene, order: &str) {
    for fields in scene.place.log("start").into_iter().filter(|fields| scene.doomed.contains(&fields[1])) {
        let line = std::fs::read_to_string(format!("/proc/{}/cmdline", fields[2])).unwrap_or_default();
        if line.contains("agent.sh") && line.contains(&scene.place.dir().display().to_string()) {
            scene
                .faults
                .push(format!("{order} was answered, but process {} of {} is alive", fields[2], fields[1]));
        }
    }
}

fn switch(scene: &mut Scene, failpoint: &str) -> Outcome<()> {
    scene.start_broken(failpoint)?;
    let running = scene.spawn("commit-hold-1", 1)?;
    scene.doomed.insert(running);
    scene.await_log("hold", 1)?;
    scene.spawn("push-2", 1)?;
    let reason = json!({"reason": "chaos"});
    let engaged = scene.call("POST", "/v1/killswitch/engage", None, Some(&reason))?;
    let answer: SwitchEngaged = engaged.read().map_err(while_("the kill switch"))?;
    if answer.report.failed == 0 {
        gone_now(scene, "the kill switch");
    }
    let body = scene.place.task("push-3", 1);
    let refused = scene.call("POST", "/v1/agents", Some("push-3"), Some(&body))?;
    if !refused.is_refused(409, Code::DispatchStopped) {
        scene.faults.push(format!("under the kill switch ({engaged}) a spawn was answered {refused}"));
    }
    let answer = scene.call("POST", "/v1/killswitch/release", None, Some(&json!({})))?;
    if !answer.is_success() {
        return Err(format!("the release was answered {answer}"));
    }
    scene.place.go("commit-hold-1")
}
