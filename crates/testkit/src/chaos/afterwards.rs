//! The parts of stories that come after an agent's end: its work is restored, it is removed, ended agents are pruned.
//! What an answer promised is checked at once; what is left of removed agents is the sweep's part.

use std::path::Path;

use mosaic_api::{AgentView, Code, Pruned, Restored};
use serde_json::json;

use super::api::Answer;
use super::scene::Scene;
use super::{Outcome, while_};

/// Plays until a killed agent with committed and uncommitted work and a completed one have ended, under a server that
/// does not break; returns both agents' ids, the killed one first.
fn two_ended(scene: &mut Scene) -> Outcome<(String, String)> {
    scene.start_plain()?;
    let killed = scene.spawn("commit-hold-1", 1)?;
    let pushed = scene.spawn("push-2", 1)?;
    scene.await_log("hold", 1)?;
    scene.kill(&killed)?;
    if !scene.settle()? {
        return Err("the agents of this story did not end before it began".to_owned());
    }
    // The server that ended the agents is gone, so all that the broken one does next it reads from the store and the
    // disk, and its steps are counted from its start.
    scene.kill_9();
    Ok((killed, pushed))
}

/// A killed agent's work is restored: the copy has every line that the agent wrote, whatever broke meanwhile.
pub(super) fn restore(scene: &mut Scene, failpoint: &str) -> Outcome<()> {
    let (killed, _) = two_ended(scene)?;
    scene.start_broken(failpoint)?;
    let answer = scene.call("POST", &format!("/v1/agents/{killed}/restore"), None, Some(&json!({})))?;
    if answer.status != 201 {
        return Err(format!("the restore was answered {answer}"));
    }
    let Restored { path, .. } = answer.read()?;
    for line in scene.place.log("wrote").into_iter().filter(|line| line[1] == killed) {
        let text = std::fs::read_to_string(Path::new(&path).join(&line[2])).unwrap_or_default();
        if !text.contains(&line[3]) {
            scene.faults.push(format!("\"{}\" of {} is not in the restored {path}", line[3], line[2]));
        }
    }
    Ok(())
}

/// A pushed agent is removed; one with work that is kept nowhere else is refused, and removed once it is named.
pub(super) fn remove(scene: &mut Scene, failpoint: &str) -> Outcome<()> {
    let (killed, pushed) = two_ended(scene)?;
    scene.start_broken(failpoint)?;
    let refused = scene.call("DELETE", &format!("/v1/agents/{killed}"), None, None)?;
    if !refused.is_refused(409, Code::UnmergedWork) {
        scene.faults.push(format!("unmerged work did not hold up its removal: {refused}"));
    }
    let record = scene.call("GET", &format!("/v1/agents/{killed}"), None, None)?;
    let name = record.read::<AgentView>()?.status.name;
    removed(scene, &pushed, "")?;
    removed(scene, &killed, &format!("?discard={name}"))
}

/// Removes one agent. A second answer may be that it is gone: the first one then got lost on its way.
fn removed(scene: &mut Scene, id: &str, query: &str) -> Outcome<()> {
    let answer = scene.call("DELETE", &format!("/v1/agents/{id}{query}"), None, None)?;
    if answer.status != 200 && !answer.is_refused(410, Code::AgentPruned) {
        return Err(format!("the removal of {id} was answered {answer}"));
    }
    scene.removed.insert(id.to_owned());
    scene.acknowledged.retain(|_, agent| agent != id);
    Ok(())
}

/// Everything that has ended is pruned: the pushed agent goes, the one with work that is kept nowhere else stays.
pub(super) fn prune(scene: &mut Scene, failpoint: &str) -> Outcome<()> {
    let (killed, pushed) = two_ended(scene)?;
    scene.start_broken(failpoint)?;
    let answer = scene.call("POST", "/v1/prune", None, Some(&json!({"olderThan": "0s"})))?;
    let pruned: Pruned = answer.read().map_err(while_("the prune"))?;
    let kept = scene.call("GET", &format!("/v1/agents/{killed}"), None, None)?;
    if kept.status != 200 {
        scene.faults.push(format!("an agent with unmerged work was pruned: {kept}"));
    }
    // A removal that failed is told in the answer; the caller asks again, as the answer says.
    if !pruned.errors.is_empty() {
        return removed(scene, &pushed, "");
    }
    gone(scene, &pushed, &answer)
}

fn gone(scene: &mut Scene, id: &str, answer: &Answer) -> Outcome<()> {
    let record = scene.call("GET", &format!("/v1/agents/{id}"), None, None)?;
    if record.status == 410 {
        scene.removed.insert(id.to_owned());
        scene.acknowledged.retain(|_, agent| agent != id);
    } else {
        scene.faults.push(format!("{id} was not pruned ({answer}): {record}"));
    }
    Ok(())
}
