//! Whole answers of the API, as snapshots: ids, times and other values of the moment are replaced. `just snapshots` writes
//! them anew.

use mosaic_core::domain::agent::{Attention, AttentionKind, State};
use mosaic_core::domain::ids::Timestamp;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::world::{HttpAnswer, World, task};

/// Replaces values of the moment: each id by its number in the text, times, and what depends on the machine.
struct Redaction {
    ids: Vec<String>,
}

impl Redaction {
    fn text(&mut self, text: &str) -> String {
        let mut out = text.to_owned();
        let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-' || c == ':' || c == '.'));
        for word in words.filter(|word| Timestamp::from_rfc3339(word).is_ok()) {
            out = out.replace(word, "[time]");
        }
        for part in text.split(|c: char| !(c.is_ascii_hexdigit() || c == '-')) {
            if part.len() == 36
                && Uuid::parse_str(part).is_ok()
                && !self.ids.iter().any(|known| known == part)
            {
                self.ids.push(part.to_owned());
            }
        }
        for (n, id) in self.ids.iter().enumerate() {
            out = out.replace(id, &format!("[id {}]", n + 1));
            // Branches end with the id's first group, names with the first half of it.
            out = out.replace(&format!("/{}", &id[..8]), &format!("/[id {}]", n + 1));
            out = out.replace(&format!("-{}", &id[..4]), &format!("-[id {}]", n + 1));
        }
        let request = text.split(|c: char| !c.is_ascii_hexdigit()).filter(|word| word.len() == 32);
        request.fold(out, |out, request| out.replace(request, "[request]"))
    }

    fn value(&mut self, value: Value) -> Value {
        match value {
            Value::String(text) => Value::String(self.text(&text)),
            Value::Array(items) => items.into_iter().map(|item| self.value(item)).collect(),
            Value::Object(fields) => {
                let of_the_moment = [
                    "uptimeMs",
                    "uptimeSeconds",
                    "offsetMs",
                    "uncertaintyMs",
                    "version",
                    "seq",
                    "eventSeq",
                    "took_ms",
                    "tookMs",
                ];
                let one = |(name, value): (String, Value)| {
                    let moment = value.is_number() && of_the_moment.contains(&name.as_str());
                    let value = if moment { json!("[number]") } else { self.value(value) };
                    (name, value)
                };
                Value::Object(fields.into_iter().map(one).collect())
            }
            other => other,
        }
    }
}

/// Returns status and body of an answer as a snapshot shows them.
fn shown(answer: &HttpAnswer) -> String {
    let body = Redaction { ids: Vec::new() }.value(answer.json());
    format!("{}\n{}", answer.status, serde_json::to_string_pretty(&body).expect("it is JSON"))
}

/// Makes a working agent that is silent.
async fn silent(world: &World) -> mosaic_core::domain::ids::AgentId {
    let id = world.spawned("A").await;
    let (lease, mut agent) = world.leased().await;
    let summary = "no output for 180 s".to_owned();
    agent.attention.push(Attention { kind: AttentionKind::Stalled, summary, since: Timestamp(1_000) });
    world.write(&lease, agent, State::Working).await;
    id
}

#[tokio::test]
async fn an_agent_is_spawned_and_shown() {
    let world = World::new();
    let spawned = world.post("/agents/spawn", &task("A")).await;
    insta::assert_snapshot!("spawned", shown(&spawned));
    let id = spawned.json()["agentId"].as_str().expect("an id").to_owned();
    insta::assert_snapshot!("status", shown(&world.get(&format!("/agents/{id}/status")).await));
    insta::assert_snapshot!("agent", shown(&world.get(&format!("/v1/agents/{id}")).await));
    insta::assert_snapshot!("list", shown(&world.get("/v1/agents").await));
    insta::assert_snapshot!("gates", shown(&world.get(&format!("/v1/agents/{id}/gates")).await));
    insta::assert_snapshot!("queue", shown(&world.get("/v1/queue").await));
    insta::assert_snapshot!("receipt", shown(&world.order("POST", &format!("/agents/{id}/kill")).await));
}

#[tokio::test]
async fn decisions_are_listed_and_answered() {
    let world = World::new();
    let id = silent(&world).await;
    insta::assert_snapshot!("attention", shown(&world.get("/v1/attention").await));
    let late = format!("/v1/attention/{id}.stalled.999/answer");
    insta::assert_snapshot!("late_answer", shown(&world.post(&late, &json!({"answer": "kill"})).await));
}

#[tokio::test]
async fn the_node_and_its_orders_are_shown() {
    let world = World::new();
    // An admission reads the standing orders; before that the state says that they are not read.
    world.spawned("A").await;
    insta::assert_snapshot!("state", shown(&world.get("/v1/state").await));
    insta::assert_snapshot!("nodes", shown(&world.get("/v1/nodes").await));
    insta::assert_snapshot!("kill_switch", shown(&world.get("/v1/killswitch").await));
    insta::assert_snapshot!("kill_all", shown(&world.order("POST", "/agents/kill-all").await));
}

#[tokio::test]
async fn problems_say_what_is_wrong() {
    let world = World::new();
    let wrong = world.post("/agents/spawn", &json!({"taskId": "", "agentTyp": "worker"})).await;
    insta::assert_snapshot!("problem_of_a_request", shown(&wrong));
    let unknown = "/agents/7d0c6c1e-4a52-4d0e-9a55-0d7c9f2f3f9a/status";
    insta::assert_snapshot!("problem_of_an_unknown_agent", shown(&world.get(unknown).await));
    insta::assert_snapshot!("problem_of_an_unknown_route", shown(&world.get("/v1/agnts").await));
}
