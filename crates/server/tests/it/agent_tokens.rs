//! Access by an agent's own token: to the agent itself, for reading, as long as it has not ended. The routes come from
//! the table, and each needs a decision here: a new one without fails.

use axum::body::Body;
use axum::http::Request;
use mosaic_core::domain::access::AgentAccess;
use mosaic_core::domain::access::AgentSecret;
use mosaic_core::domain::agent::{End, State, Status};
use mosaic_core::domain::ids::AgentId;
use mosaic_core::domain::outcome::EndReason;
use mosaic_server::{Auth, Scope, routes};

use crate::world::{TOKEN, World};

/// Decision about each route of the table.
const DECISIONS: &[(&str, &str, Scope)] = &[
    ("GET", "/health", Scope::Public),
    ("GET", "/health/ready", Scope::Public),
    ("GET", "/v1/hello", Scope::Public),
    ("GET", "/openapi.json", Scope::Public),
    // What an agent may see of itself. Nothing here may change anything.
    ("GET", "/agents/{id}/status", Scope::Own),
    ("GET", "/v1/agents/{id}", Scope::Own),
    ("GET", "/v1/agents/{id}/transcript", Scope::Own),
    ("GET", "/v1/agents/{id}/diff", Scope::Own),
    ("GET", "/v1/agents/{id}/gates", Scope::Own),
    ("GET", "/v1/agents/{id}/gates/{gate}/log", Scope::Own),
    // Other agents' results, and names of other repositories.
    ("GET", "/v1/gates", Scope::Admin),
    ("GET", "/v1/agents/{id}/resources", Scope::Own),
    // Everything else is the operator's.
    ("POST", "/agents/spawn", Scope::Admin),
    ("POST", "/agents/{id}/kill", Scope::Admin),
    ("POST", "/agents/kill-all", Scope::Admin),
    ("GET", "/v1/agents", Scope::Admin),
    ("POST", "/v1/agents", Scope::Admin),
    ("POST", "/v1/agents/kill-all", Scope::Admin),
    ("POST", "/v1/agents/{id}/kill", Scope::Admin),
    ("POST", "/v1/agents/{id}/retry", Scope::Admin),
    ("DELETE", "/v1/agents/{id}", Scope::Admin),
    ("POST", "/v1/prune", Scope::Admin),
    ("POST", "/v1/agents/{id}/restore", Scope::Admin),
    ("POST", "/v1/killswitch/engage", Scope::Admin),
    ("POST", "/v1/agents/{id}/freeze", Scope::Admin),
    ("POST", "/v1/agents/{id}/thaw", Scope::Admin),
    ("GET", "/v1/state", Scope::Admin),
    ("GET", "/v1/killswitch", Scope::Admin),
    ("POST", "/v1/killswitch/release", Scope::Admin),
    ("GET", "/v1/attention", Scope::Admin),
    ("POST", "/v1/attention/{id}/answer", Scope::Admin),
    ("GET", "/v1/events", Scope::Admin),
    ("GET", "/v1/queue", Scope::Admin),
    ("POST", "/v1/queue/pause", Scope::Admin),
    ("POST", "/v1/queue/resume", Scope::Admin),
    ("POST", "/v1/drain", Scope::Admin),
    ("POST", "/v1/archive/read", Scope::Admin),
    ("GET", "/v1/queue/export", Scope::Admin),
    ("POST", "/v1/queue/export", Scope::Admin),
    ("POST", "/v1/queue/import", Scope::Admin),
    ("GET", "/v1/nodes", Scope::Admin),
    ("DELETE", "/v1/nodes/{node}", Scope::Admin),
    ("POST", "/v1/nodes/{node}/cordon", Scope::Admin),
    ("POST", "/v1/nodes/{node}/uncordon", Scope::Admin),
    ("POST", "/v1/nodes/{node}/drain", Scope::Admin),
    ("GET", "/v1/audit", Scope::Admin),
    ("GET", "/v1/audit/verify", Scope::Admin),
    ("GET", "/v1/tasks/{taskId}", Scope::Admin),
    ("DELETE", "/v1/tasks/{taskId}", Scope::Admin),
];

const SECRET: [u8; 32] = [7; 32];

/// Sends a request with this token and no body; returns status and code.
async fn sent(world: &World, method: &str, path: &str, token: Option<&str>) -> (u16, String) {
    let mut request = Request::builder().method(method).uri(path).header("host", "localhost");
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    let answer = world.send(request.body(Body::empty()).expect("the request is whole")).await;
    let code = serde_json::from_slice::<serde_json::Value>(&answer.body).ok();
    let code = code.and_then(|body| Some(body["code"].as_str()?.to_owned())).unwrap_or_default();
    (answer.status, code)
}

/// A world with three agents: one that runs, another that runs, one that has ended.
async fn three(world: &World) -> [AgentId; 3] {
    let access = AgentAccess { url: "http://localhost".to_owned(), secret: AgentSecret::new(SECRET) };
    world.orchestrator.grant_access(access);
    let mut ids = Vec::new();
    for task in ["T-own", "T-other", "T-ended"] {
        ids.push(world.spawned(task).await);
    }
    for _ in 0..3 {
        let (lease, agent) = world.leased().await;
        let at = world.orchestrator.now();
        let end = End { status: Status::Failed, reason: EndReason::Done, error: None, at };
        let state = if agent.id == ids[2] { State::Settled { end } } else { agent.state.clone() };
        if agent.id == ids[2] {
            world.write(&lease, agent, state).await;
        }
    }
    [ids[0], ids[1], ids[2]]
}

fn concrete(path: &str, id: &str) -> String {
    path.replace("{id}", id)
        .replace("{gate}", "tests")
        .replace("{taskId}", "T-own")
        .replace("{node}", "laptop")
        .replace("/v1/hello", "/v1/hello?nonce=00112233445566778899aabbccddeeff")
}

fn forbidden() -> (u16, String) {
    (403, "forbidden".to_owned())
}

fn unauthenticated() -> (u16, String) {
    (401, "unauthenticated".to_owned())
}

#[tokio::test]
async fn every_route_has_its_answer_for_every_kind_of_token() {
    let world = World::new();
    let [own, other, ended] = three(&world).await;
    let token = |id: AgentId| world.orchestrator.agent_token(id).expect("agents have tokens here");
    let wrong = AgentSecret::new([8; 32]).token(own);
    let mut checked = 0;
    for route in routes() {
        let (method, template) = (route.method.as_str(), route.path);
        let decision = DECISIONS.iter().find(|(m, path, _)| (*m, *path) == (method, template));
        let Some((_, _, scope)) = decision else {
            panic!("{method} {template} is new: decide here who may call it")
        };
        assert_eq!(route.scope, *scope, "{method} {template}");
        for id in [own, other, ended] {
            let path = concrete(template, &id.to_string());
            let what = format!("{method} {path}");
            let with = async |token: Option<&str>| sent(&world, method, &path, token).await;
            if *scope == Scope::Public {
                for token in
                    [None, Some(wrong.as_str()), Some(token(own).as_str()), Some(token(ended).as_str())]
                {
                    assert_eq!(with(token).await.0, 200, "{what}");
                }
                continue;
            }
            assert_eq!(with(None).await, unauthenticated(), "{what} without a token");
            assert_eq!(with(Some(&wrong)).await, unauthenticated(), "{what} with a token of another secret");
            assert_eq!(
                with(Some(&token(ended))).await,
                unauthenticated(),
                "{what} with the token of one that ended"
            );
            assert_eq!(
                with(Some(&AgentSecret::new(SECRET).token(AgentId(Default::default())))).await,
                unauthenticated(),
                "{what} with a token of nobody"
            );
            for caller in [own, other] {
                let answer = with(Some(&token(caller))).await;
                if *scope == Scope::Own && caller == id && template.contains("{id}") {
                    assert!(
                        answer.0 != 401 && answer.0 != 403,
                        "{what}: its own agent is answered {answer:?}"
                    );
                } else {
                    assert_eq!(answer, forbidden(), "{what} with the token of {caller}");
                }
            }
            checked += 1;
        }
    }
    // Nothing of it had an effect: nobody was killed, spawned, paused or removed.
    assert_eq!(world.audit.told(), Vec::<String>::new());
    for (id, status) in [(own, "spawning"), (other, "spawning"), (ended, "failed")] {
        assert_eq!(world.get(&format!("/agents/{id}/status")).await.json()["status"], status);
    }
    println!("{checked} combinations of route and agent, each with six kinds of token");
}

#[tokio::test]
async fn what_is_no_route_tells_an_agent_nothing() {
    let world = World::new();
    let [own, ..] = three(&world).await;
    let token = world.orchestrator.agent_token(own).expect("agents have tokens here");
    for (method, path) in [
        ("GET", "/nothing".to_owned()),
        ("POST", format!("/v1/agents/{own}")),
        ("DELETE", format!("/v1/agents/{own}")),
        ("PUT", "/agents/spawn".to_owned()),
        ("POST", "/health".to_owned()),
        ("GET", format!("/v1/agents/{own}/../kill")),
        ("GET", format!("/v1/agents/{own}/")),
        ("POST", "/v1/killswitch/engage".to_owned()),
    ] {
        assert_eq!(sent(&world, method, &path, Some(&token)).await, forbidden(), "{method} {path}");
    }
    // The id may be written in other ways; it is compared as what it is.
    let upper = format!("/v1/agents/{}", own.to_string().to_uppercase());
    assert!([200, 400].contains(&sent(&world, "GET", &upper, Some(&token)).await.0));
}

#[tokio::test]
async fn an_agents_token_stays_one_when_nobody_else_needs_a_token() {
    let world = World::with(10, |options| options.auth = Auth::Off);
    let [own, other, _] = three(&world).await;
    let token = world.orchestrator.agent_token(own).expect("agents have tokens here");
    assert_eq!(sent(&world, "POST", "/agents/kill-all", Some(&token)).await, forbidden());
    assert_eq!(sent(&world, "GET", &format!("/v1/agents/{other}"), Some(&token)).await, forbidden());
    assert_eq!(sent(&world, "GET", &format!("/v1/agents/{own}"), Some(&token)).await.0, 200);
}

#[tokio::test]
async fn without_access_no_agent_has_a_token() {
    let world = World::new();
    let id = world.spawned("T-1").await;
    assert_eq!(world.orchestrator.agent_token(id), None);
    let made_up = AgentSecret::new([0; 32]).token(id);
    let path = format!("/v1/agents/{id}");
    assert_eq!(sent(&world, "GET", &path, Some(&made_up)).await, unauthenticated());
    assert_eq!(sent(&world, "GET", &path, Some(TOKEN)).await.0, 200);
}
