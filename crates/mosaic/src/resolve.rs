//! Which agent is meant: `@last`, a full id, a name, a task id, or a unique start of a name or id (at least four
//! characters). Never a guess: what is ambiguous is answered with the candidates.

use serde_json::Value;

use crate::client::{Client, escape};
use crate::plain;
use crate::problem::Problem;
use crate::view::{View, now, span};

/// Shortest start of a name or id.
const PREFIX: usize = 4;
/// Candidates that are fetched; more would not fit a screen either.
const CANDIDATES: usize = 20;

/// What the candidates say about what was typed.
#[derive(Debug, PartialEq)]
enum Pick {
    One(usize),
    None,
    Many(Vec<usize>),
}

/// Chooses among candidates: an exact name or id first, then an exact task id, then a start.
fn pick(typed: &str, candidates: &[Value]) -> Pick {
    let typed = typed.to_lowercase();
    let of = |value: &Value, field: &str| View::new(value).text(field).to_lowercase();
    let rules: [&dyn Fn(&Value) -> bool; 3] =
        [&|v| of(v, "name") == typed || of(v, "agentId") == typed, &|v| of(v, "taskId") == typed, &|v| {
            typed.chars().count() >= PREFIX
                && (of(v, "name").starts_with(&typed) || of(v, "agentId").starts_with(&typed))
        }];
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

fn items(page: &Value) -> Vec<Value> {
    page.get("items").and_then(Value::as_array).cloned().unwrap_or_default()
}

fn not_found(typed: &str) -> Problem {
    let what = format!("there is no agent \"{}\"", plain::cut(&plain::line(typed), 80));
    Problem::NotFound { what, hint: Some("all of them: mosaic ps -a".to_owned()) }
}

fn ambiguous(typed: &str, candidates: &[&Value]) -> Problem {
    let mut what = format!("\"{}\" may mean any of {} agents:", plain::line(typed), candidates.len());
    for value in candidates {
        let view = View::new(value);
        let age = view.time("spawnedAt").map_or(String::new(), |at| format!("{} ago", span(now().since(at))));
        what.push_str(&format!(
            "\n  {}  {}  {}  {}  {age}",
            view.shown("agentId"),
            view.name(),
            view.shown("taskId"),
            view.shown("status")
        ));
    }
    Problem::usage_hint(what, "type more of the name or of the id")
}

fn is_uuid(typed: &str) -> bool {
    typed.len() == 36 && uuid::Uuid::try_parse(typed).is_ok()
}

/// Finds the agent and returns its object.
pub(crate) fn agent(client: &Client, typed: &str) -> Result<Value, Problem> {
    if typed == "@last" {
        let newest = items(&client.get("/v1/agents?limit=1")?);
        return newest.into_iter().next().ok_or_else(|| not_found(typed));
    }
    if typed.is_empty() || typed.starts_with('@') {
        return Err(Problem::usage(format!(
            "\"{}\" is no agent: a name, an id, the start of one, or @last",
            plain::line(typed)
        )));
    }
    if is_uuid(typed) {
        return match client.get(&format!("/v1/agents/{}", escape(&typed.to_lowercase()))) {
            Err(Problem::Api(api)) if api.status == 404 => Err(not_found(typed)),
            other => other,
        };
    }
    let mut candidates = items(&client.get(&format!("/v1/agents?limit={CANDIDATES}&q={}", escape(typed)))?);
    let hex = typed.chars().count() >= PREFIX && typed.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-');
    if hex {
        let prefix = escape(&typed.to_lowercase());
        for value in items(&client.get(&format!("/v1/agents?limit={CANDIDATES}&idPrefix={prefix}"))?) {
            if candidates.iter().all(|c| View::new(c).id() != View::new(&value).id()) {
                candidates.push(value);
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
                what: format!("there is no agent \"{}\"", plain::line(typed)),
                hint: Some(hint),
            })
        }
        Pick::None => Err(not_found(typed)),
    }
}

/// Finds the agent as [`agent`] does, for an order that must get through: a full id is enough while the server cannot look
/// it up, because its store is away.
pub(crate) fn agent_to_stop(client: &Client, typed: &str) -> Result<Value, Problem> {
    match agent(client, typed) {
        Err(Problem::Api(api)) if api.status >= 500 && is_uuid(typed) => {
            Ok(serde_json::json!({"agentId": typed.to_lowercase(), "name": typed.to_lowercase()}))
        }
        Err(Problem::Api(mut api)) if api.status >= 500 => {
            api.hint = Some(
                "give the whole id, which needs no look-up, or end everything: mosaic kill-all".to_owned(),
            );
            Err(Problem::Api(api))
        }
        found => found,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn candidates() -> Vec<Value> {
        vec![
            json!({"agentId": "7d0c6c1e-4a52-4d0e-9a55-0d7c9f2f3f9a", "name": "fix-divide-7d0c", "taskId": "fix"}),
            json!({"agentId": "7d0c0000-4a52-4d0e-9a55-0d7c9f2f3f9a", "name": "fix-div-7d0c", "taskId": "US-2"}),
            json!({"agentId": "aaaa0000-4a52-4d0e-9a55-0d7c9f2f3f9a", "name": "other-aaaa", "taskId": "US-2"}),
        ]
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
