//! Two nodes on one store: what lies on one is readable, and can be changed, through the other.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::body::Body;
use axum::http::Request;
use mosaic_core::domain::access::AgentAccess;
use mosaic_core::domain::access::AgentSecret;
use mosaic_core::domain::ids::{AgentId, NodeId, Timestamp};
use mosaic_core::domain::journal::LogRecord;
use mosaic_core::ports::fleet::{Cordon, Fleet, HeartbeatReply, JoinError, NodeInfo, NodeState};
use mosaic_core::ports::store::{Lease, StoreError};
use mosaic_core::ports::transcripts::Line;
use mosaic_server::PeerKey;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::faulty_store::FaultyStore;
use crate::world::{World, ask};

/// Nodes at these addresses, whatever they say of themselves.
struct Nodes(Vec<(&'static str, Option<String>)>);

#[async_trait]
impl Fleet for Nodes {
    fn term(&self) -> Option<Duration> {
        None
    }
    async fn join(&self, _: &NodeInfo) -> Result<(), JoinError> {
        Ok(())
    }
    async fn heartbeat(&self, _: &NodeInfo, _: &[Lease]) -> Result<HeartbeatReply, StoreError> {
        Ok(HeartbeatReply::default())
    }
    async fn leave(&self, _: &NodeId) -> Result<(), StoreError> {
        Ok(())
    }
    async fn nodes(&self) -> Result<Vec<NodeState>, StoreError> {
        let state = |(name, url): &(&'static str, Option<String>)| NodeState {
            info: NodeInfo {
                node: name.parse().expect("a word"),
                instance: (*name).to_owned(),
                directory: None,
                boot: None,
                url: url.clone(),
                version: "1.2.3".to_owned(),
                slots: 2,
                running: 0,
                labels: Default::default(),
                clock_offset_ms: None,
                clock_error_ms: None,
                archives: true,
                format: 1,
                started_at: Timestamp(1),
                draining: false,
                health: Default::default(),
            },
            seen_at: Timestamp(1_800_000_000_000),
            alive: true,
            leases_end_at: None,
            cordon: None,
        };
        Ok(self.0.iter().map(state).collect())
    }
    async fn cordon(&self, _: &NodeId, _: Option<Cordon>, _: LogRecord) -> Result<bool, StoreError> {
        Ok(false)
    }
    async fn lapsed(&self, _: usize) -> Result<Vec<AgentId>, StoreError> {
        Ok(Vec::new())
    }
}

const KEY: &str = "the-key-of-this-fleet";

/// Two nodes; the second one listens. Its agents' files lie there.
struct Pair {
    asked: World,
    home: World,
    _serving: JoinSet<()>,
}

async fn pair(key: Option<&str>) -> Pair {
    let store = Arc::new(FaultyStore::new(100));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
    let url = format!("http://{}", listener.local_addr().expect("it is bound"));
    let fleet: Arc<dyn Fleet> = Arc::new(Nodes(vec![("asked", None), ("home", Some(url))]));
    let secret = key.map(|key| PeerKey::new(key.to_owned()));
    let home = World::node("home", Arc::clone(&store), Arc::clone(&fleet), |options| {
        options.peer_key = Some(PeerKey::new(KEY.to_owned()));
    });
    let asked = World::node("asked", store, fleet, |options| options.peer_key = secret);
    let (mut serving, router) = (JoinSet::new(), home.router.clone());
    serving.spawn(async move {
        let served = mosaic_server::serve(
            listener,
            router,
            mosaic_server::ConnectionLimits::of(1024, 4),
            std::future::pending::<()>(),
        )
        .await;
        served.expect("it serves until the test ends");
    });
    Pair { asked, home, _serving: serving }
}

/// An agent that runs on the second node and has said something there.
async fn agent(pair: &Pair) -> AgentId {
    let id = pair.asked.spawned("T-1").await;
    pair.home.held().await;
    let said = mosaic_core::ports::runtime::AgentEvent::Text { text: "said at home".to_owned() };
    let line = Line { n: 1, at: Timestamp(1), attempt: 1, event: said };
    pair.home.transcripts.lines.lock().entry(id).or_default().push(line);
    id
}

#[tokio::test]
async fn what_lies_on_another_node_is_read_through_this_one() {
    let pair = pair(Some(KEY)).await;
    let id = agent(&pair).await;
    let path = format!("/v1/agents/{id}/transcript");
    let there = pair.home.get(&path).await;
    assert!(there.text().contains("said at home"), "{}", there.text());
    let here = pair.asked.get(&path).await;
    assert_eq!((here.status, here.json()), (200, there.json()));
    let answer = pair.asked.get(&format!("/v1/agents/{id}/diff")).await;
    assert_eq!(
        (answer.status, answer.json()),
        (200, pair.home.get(&format!("/v1/agents/{id}/diff")).await.json())
    );
    pair.asked.get("/v1/agents/00000000-0000-4000-8000-000000000000/diff").await.is(404, "agent_not_found");
}

#[tokio::test]
async fn errors_of_the_other_node_arrive_as_they_are() {
    let pair = pair(Some(KEY)).await;
    let id = agent(&pair).await;
    pair.asked.get(&format!("/v1/agents/{id}/gates/lint/log")).await.is(404, "log_not_found");
    pair.asked.get(&format!("/v1/agents/{id}/transcript?kinds=nonsense")).await.is(400, "validation_failed");
    pair.asked.order("DELETE", &format!("/v1/agents/{id}")).await.is(409, "agent_active");
    pair.asked.order("POST", &format!("/v1/agents/{id}/thaw")).await;
    let entries = pair.home.audit.entries();
    assert!(
        !entries.is_empty() && entries.iter().all(|entry| entry.actor.starts_with("node/asked")),
        "{entries:?}"
    );
}

#[tokio::test]
async fn a_node_that_is_away_is_named() {
    let mut pair = pair(Some(KEY)).await;
    let id = agent(&pair).await;
    pair._serving.shutdown().await;
    let answer = pair.asked.get(&format!("/v1/agents/{id}/diff")).await;
    answer.is(503, "node_unreachable");
    assert_eq!(answer.json()["node"], "home");
}

#[tokio::test]
async fn the_fleet_key_is_needed_and_opens_nothing_by_itself() {
    let stranger = pair(Some("another-key")).await;
    let id = agent(&stranger).await;
    stranger.asked.get(&format!("/v1/agents/{id}/diff")).await.is(503, "node_unreachable");
    let keyless = pair(None).await;
    let id = agent(&keyless).await;
    keyless.asked.get(&format!("/v1/agents/{id}/diff")).await.is(503, "node_unreachable");
    // The key alone, without a node's name, is a wrong token.
    let request = Request::builder().uri("/v1/agents").header("host", "localhost");
    let request = request.header("authorization", format!("Bearer {KEY}"));
    keyless.home.send(request.body(Body::empty()).expect("it is whole")).await.is(401, "unauthenticated");
}

/// A program at the address of a node, which keeps what it is sent and answers like one.
async fn impostor(proofs: Vec<String>) -> (String, Arc<std::sync::Mutex<Vec<u8>>>, JoinSet<()>) {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
    let url = format!("http://{}", listener.local_addr().expect("it is bound"));
    let (heard, mut serving) = (Arc::new(std::sync::Mutex::new(Vec::new())), JoinSet::new());
    let keeps = Arc::clone(&heard);
    serving.spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.expect("it listens");
            let mut piece = [0; 4096];
            while let Ok(n @ 1..) = stream.read(&mut piece).await {
                keeps.lock().expect("nobody panicked").extend_from_slice(&piece[..n]);
                let body = serde_json::json!({"auth": "node", "port": 1, "proofs": proofs}).to_string();
                let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json";
                let answer = format!("{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
                stream.write_all(answer.as_bytes()).await.expect("it listens");
            }
        }
    });
    (url, heard, serving)
}

#[tokio::test]
async fn a_program_at_the_address_of_a_node_gets_neither_the_key_nor_the_request() {
    let store = Arc::new(FaultyStore::new(100));
    let (url, heard, _serving) = impostor(vec!["00".repeat(32)]).await;
    let fleet: Arc<dyn Fleet> = Arc::new(Nodes(vec![("asked", None), ("home", Some(url))]));
    let key =
        |options: &mut mosaic_server::ServerOptions| options.peer_key = Some(PeerKey::new(KEY.to_owned()));
    let home = World::node("home", Arc::clone(&store), Arc::clone(&fleet), key);
    let asked = World::node("asked", store, fleet, key);
    let id = asked.spawned("T-1").await;
    home.held().await;
    for path in ["transcript", "diff"] {
        asked.get(&format!("/v1/agents/{id}/{path}")).await.is(503, "node_unreachable");
    }
    asked.order("POST", &format!("/v1/agents/{id}/thaw")).await.is(503, "node_unreachable");
    // A decision is named after its agent, whose node answers it.
    let answer = format!("/v1/attention/{id}.stalled.1/answer");
    asked.post(&answer, &serde_json::json!({"answer": "wait"})).await.is(503, "node_unreachable");
    let heard = String::from_utf8_lossy(&heard.lock().expect("nobody panicked")).into_owned();
    assert!(heard.contains("/v1/hello?nonce="), "{heard}");
    assert!(!heard.contains(KEY) && !heard.contains(&id.to_string()), "{heard}");
}

#[tokio::test]
async fn a_node_proves_the_key_under_its_own_name_only() {
    let pair = pair(Some(KEY)).await;
    let nonce = "a".repeat(64);
    let of = async |node: &str| pair.home.get(&format!("/v1/hello?nonce={nonce}&node={node}")).await.json();
    assert_eq!(of("home").await["proofs"].as_array().map(Vec::len), Some(1));
    assert_eq!(of("asked").await["proofs"], serde_json::json!([]));
}

#[tokio::test]
async fn a_request_is_passed_on_once() {
    let pair = pair(Some(KEY)).await;
    let id = agent(&pair).await;
    let request = ask("GET", &format!("/v1/agents/{id}/transcript")).header("x-mosaic-forwarded", "home");
    let answer = pair.asked.send(request.body(Body::empty()).expect("it is whole")).await;
    assert_eq!(answer.status, 200);
    assert!(!answer.text().contains("said at home"), "it was answered where it arrived: {}", answer.text());
}

#[tokio::test]
async fn an_agents_own_token_reaches_its_own_files_only() {
    let pair = pair(Some(KEY)).await;
    let id = agent(&pair).await;
    let access = || AgentAccess { url: "http://localhost".to_owned(), secret: AgentSecret::new([7; 32]) };
    pair.asked.orchestrator.grant_access(access());
    let token = pair.asked.orchestrator.agent_token(id).expect("access was granted");
    let with = |path: String| {
        let request = Request::builder().uri(path).header("host", "localhost");
        request.header("authorization", format!("Bearer {token}")).body(Body::empty()).expect("it is whole")
    };
    assert_eq!(pair.asked.send(with(format!("/v1/agents/{id}/transcript"))).await.status, 200);
    let other = pair.asked.spawned("T-2").await;
    pair.asked.send(with(format!("/v1/agents/{other}/transcript"))).await.is(403, "forbidden");
}
