//! Which agent is meant: `@last`, a full id, a name, a task id, or a unique start of a name or id (at least four
//! characters). Never a guess: what is ambiguous is answered with the candidates.

use mosaic_api::{Page, StatusView};

use crate::client::{Client, escape};
use crate::problem::Problem;
use crate::sanitize;
use crate::sent::Agent;
use crate::view::{AgentStatus, name_of, now, span, time};

/// Shortest start of a name or id.
const PREFIX: usize = 4;
/// Candidates that are fetched; more would not fit a screen either.
const CANDIDATES: usize = 20;

/// Result of matching the typed text against the candidates.
#[derive(Debug, PartialEq)]
enum Pick {
    One(usize),
    None,
    Many(Vec<usize>),
}

/// Chooses among candidates: an exact name or id first, then an exact task id, then a start.
fn pick(typed: &str, candidates: &[Agent]) -> Pick {
    let typed = typed.to_lowercase();
    let names = |agent: &Agent| [&agent.status.name, &agent.status.agent_id].map(|name| name.to_lowercase());
    let rules: [&dyn Fn(&Agent) -> bool; 3] = [
        &|agent| names(agent).contains(&typed),
        &|agent| agent.status.task_id.to_lowercase() == typed,
        &|agent| typed.chars().count() >= PREFIX && names(agent).iter().any(|name| name.starts_with(&typed)),
    ];
    for rule in rules {
        let found: Vec<usize> = (0..candidates.len()).filter(|&i| rule(&candidates[i])).collect();
        match found.as_slice() {
            [] => {}
            [one] => return Pick::One(*one),
            _ => return Pick::Many(found),
        }
    }
    Pick::None
}

/// Reads a page of agents.
fn items(client: &Client, path: &str) -> Result<Vec<Agent>, Problem> {
    Ok(client.get::<Page<Agent>>(path)?.items.clone())
}

fn not_found(typed: &str) -> Problem {
    let what = format!("there is no agent \"{}\"", sanitize::cut(&sanitize::line(typed), 80));
    Problem::NotFound { what, hint: Some("all of them: mosaic ps -a".to_owned()) }
}

fn ambiguous(typed: &str, candidates: &[&Agent]) -> Problem {
    let mut what = format!("\"{}\" may mean any of {} agents:", sanitize::line(typed), candidates.len());
    for agent in candidates {
        let StatusView { agent_id, task_id, status, spawned_at, .. } = &agent.status;
        let age = time(spawned_at).map_or(String::new(), |at| format!("{} ago", span(now().since(at))));
        let (id, name, task) = (sanitize::line(agent_id), agent.status.short_name(), sanitize::line(task_id));
        what.push_str(&format!("\n  {id}  {name}  {task}  {status}  {age}"));
    }
    Problem::usage_hint(what, "type more of the name or of the id")
}

fn is_uuid(typed: &str) -> bool {
    typed.len() == 36 && uuid::Uuid::try_parse(typed).is_ok()
}

/// Finds the agent and returns its object.
pub(crate) fn agent(client: &Client, typed: &str) -> Result<Agent, Problem> {
    if typed == "@last" {
        let newest = items(client, "/v1/agents?limit=1")?;
        return newest.into_iter().next().ok_or_else(|| not_found(typed));
    }
    if typed.is_empty() || typed.starts_with('@') {
        return Err(Problem::usage(format!(
            "\"{}\" is no agent: a name, an id, the start of one, or @last",
            sanitize::line(typed)
        )));
    }
    if is_uuid(typed) {
        return match client.get(&format!("/v1/agents/{}", escape(&typed.to_lowercase()))) {
            Err(Problem::Api(api)) if api.status == 404 => Err(not_found(typed)),
            other => other,
        };
    }
    let mut candidates = items(client, &format!("/v1/agents?limit={CANDIDATES}&q={}", escape(typed)))?;
    let hex = typed.chars().count() >= PREFIX && typed.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-');
    if hex {
        let prefix = escape(&typed.to_lowercase());
        for agent in items(client, &format!("/v1/agents?limit={CANDIDATES}&idPrefix={prefix}"))? {
            if candidates.iter().all(|known| known.status.agent_id != agent.status.agent_id) {
                candidates.push(agent);
            }
        }
    }
    match pick(typed, &candidates) {
        Pick::One(i) => Ok(candidates.swap_remove(i)),
        Pick::Many(found) => {
            Err(ambiguous(typed, &found.iter().map(|&i| &candidates[i]).collect::<Vec<_>>()))
        }
        Pick::None if typed.chars().count() < PREFIX => {
            let hint = format!("at least {PREFIX} characters of a name or an id are needed");
            Err(Problem::NotFound {
                what: format!("there is no agent \"{}\"", sanitize::line(typed)),
                hint: Some(hint),
            })
        }
        Pick::None => Err(not_found(typed)),
    }
}

/// An agent that an order to stop is about.
pub(crate) struct ToStop {
    /// Its id.
    pub(crate) id: String,
    /// Its name, as one line.
    pub(crate) name: String,
    /// The branch that it is pushed to, as one line; empty when it is not known.
    pub(crate) branch: String,
    /// The server has commits of it.
    pub(crate) has_commits: bool,
}

impl From<&Agent> for ToStop {
    fn from(agent: &Agent) -> Self {
        Self {
            id: agent.status.agent_id.clone(),
            name: agent.status.short_name(),
            branch: crate::view::shown(&agent.status.branch),
            has_commits: agent.head_commit.is_some(),
        }
    }
}

/// Finds the agent as [`agent`] does, for an order that must get through: a full id is enough while the server cannot look
/// it up, because its store is away.
pub(crate) fn agent_to_stop(client: &Client, typed: &str) -> Result<ToStop, Problem> {
    match agent(client, typed) {
        Err(Problem::Api(api)) if api.status >= 500 && is_uuid(typed) => {
            let id = typed.to_lowercase();
            Ok(ToStop { name: name_of(&id, &id), id, branch: String::new(), has_commits: false })
        }
        Err(Problem::Api(mut api)) if api.status >= 500 => {
            api.hint = Some(
                "give the whole id, which needs no look-up, or end everything: mosaic kill-all".to_owned(),
            );
            Err(Problem::Api(api))
        }
        found => found.map(|agent| ToStop::from(&agent)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn candidates() -> Vec<Agent> {
        let all = [
            json!({"agentId": "7d0c6c1e-4a52-4d0e-9a55-0d7c9f2f3f9a", "name": "fix-divide-7d0c", "taskId": "fix"}),
            json!({"agentId": "7d0c0000-4a52-4d0e-9a55-0d7c9f2f3f9a", "name": "fix-div-7d0c", "taskId": "US-2"}),
            json!({"agentId": "aaaa0000-4a52-4d0e-9a55-0d7c9f2f3f9a", "name": "other-aaaa", "taskId": "US-2"}),
        ];
        all.into_iter().map(crate::samples::agent).collect()
    }

    #[test]
    fn an_exact_name_wins_over_starts() {
        let c = candidates();
        assert_eq!(pick("fix-div-7d0c", &c), Pick::One(1));
        assert_eq!(pick("FIX-DIVIDE", &c), Pick::One(0));
        assert_eq!(pick("fix", &c), Pick::One(0), "the task id");
        assert_eq!(pick("us-2", &c), Pick::Many(vec![1, 2]));
        assert_eq!(pick("7d0c", &c), Pick::Many(vec![0, 1]));
        assert_eq!(pick("7d0c6", &c), Pick::One(0));
        assert_eq!(pick("oth", &c), Pick::None, "too short");
        assert_eq!(pick("nothing", &c), Pick::None);
    }

    #[test]
    fn candidates_are_printed() {
        let c = candidates();
        let text = ambiguous("7d0c", &[&c[0], &c[1]]).render();
        assert!(
            text.contains("any of 2 agents")
                && text.contains("fix-divide-7d0c")
                && text.contains("type more"),
            "{text}"
        );
    }
}
