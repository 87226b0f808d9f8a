//! Names in an answer: of task, agent and commits. A coordinator need not say them; those that it says must be the asked ones.

use mosaic_api::CheckRequest;
use serde_json::Value;

use super::fault::CheckFault;

/// Fewest digits of a commit that are taken for its abbreviation.
const ABBREVIATED: usize = 7;

/// Compares the names in a part of an answer: an object, or the objects of a list.
pub(super) fn check(part: &Value, asked: &CheckRequest) -> Result<(), CheckFault> {
    match part {
        Value::Array(list) => list.iter().try_for_each(|one| fields(one, asked)),
        one => fields(one, asked),
    }
}

fn fields(one: &Value, asked: &CheckRequest) -> Result<(), CheckFault> {
    let Value::Object(fields) = one else { return Ok(()) };
    for (name, value) in fields {
        let Value::String(said) = value else { continue };
        // Coordinators spell names in their own language's way: `headCommit`, `head_commit`.
        let name = name.replace(['_', '-'], "").to_ascii_lowercase();
        let (what, asked, same) = match name.as_str() {
            "taskid" => ("task", &asked.task_id, *said == asked.task_id),
            "agentid" => ("agent", &asked.agent_id, said.eq_ignore_ascii_case(&asked.agent_id)),
            "headcommit" | "headsha" => ("commit", &asked.head_commit, is_commit(said, &asked.head_commit)),
            "basecommit" | "basesha" => {
                ("base commit", &asked.base_commit, is_commit(said, &asked.base_commit))
            }
            // The word may mean something else, such as a commit's message.
            "commit" | "sha" if looks_like_commit(said) => {
                ("commit", &asked.head_commit, is_commit(said, &asked.head_commit))
            }
            _ => continue,
        };
        if !same {
            let said = said.chars().filter(|c| !c.is_control()).take(64).collect();
            return Err(CheckFault::Stale { what, asked: asked.clone(), said });
        }
    }
    Ok(())
}

fn looks_like_commit(text: &str) -> bool {
    text.len() >= ABBREVIATED && text.bytes().all(|b| b.is_ascii_hexdigit())
}

fn is_commit(said: &str, asked: &str) -> bool {
    looks_like_commit(said) && asked.starts_with(&said.to_ascii_lowercase())
}
