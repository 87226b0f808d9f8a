//! A server in a fake world, and how a test talks to it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request};
use futures_util::StreamExt;
use mosaic_core::Orchestrator;
use mosaic_core::domain::agent::{Agent, State, Turn};
use mosaic_core::domain::ids::AgentId;
use mosaic_core::ports::Ports;
use mosaic_core::ports::fleet::Fleet;
use mosaic_core::ports::runtime::Runtime;
use mosaic_core::ports::store::{Change, Lease, Safety, Store};
use mosaic_core::settings::Settings;
use mosaic_server::{Auth, ServerOptions, router};
use mosaic_testkit::fakes::audit::FakeAudit;
use mosaic_testkit::fakes::clock::{HastyClock, RealIds};
use mosaic_testkit::fakes::host::StubHost;
use mosaic_testkit::fakes::orders::MemoryOrders;
use mosaic_testkit::fakes::readable_repositories::ReadableRepositories;
use mosaic_testkit::fakes::scanner::OneSecret;
use mosaic_testkit::fakes::transcripts::MemoryTranscripts;
use mosaic_testkit::fakes::unused::{Unused, UnusedWithoutCost};
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::faulty_store::FaultyStore;

/// The token every test uses.
pub(crate) const TOKEN: &str = "correct-horse-battery-staple";
/// Longest time a test waits for anything.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// A server with everything around it.
pub(crate) struct World {
    pub(crate) router: Router,
    pub(crate) orchestrator: Arc<Orchestrator>,
    pub(crate) store: Arc<FaultyStore>,
    pub(crate) host: Arc<StubHost>,
    pub(crate) repositories: Arc<ReadableRepositories>,
    pub(crate) transcripts: Arc<MemoryTranscripts>,
    pub(crate) audit: Arc<FakeAudit>,
    pub(crate) orders: Arc<MemoryOrders>,
}

/// The contract's published example.
pub(crate) fn example() -> Value {
    json!({
        "taskId": "US-001", "agentType": "worker", "gateProfile": "standard",
        "context": {"repository": "https://git.example.com/repo.git", "branch": "main",
                    "workItems": ["US-001"], "skills": ["typescript"]}
    })
}

/// The example under another task id.
pub(crate) fn task(id: &str) -> Value {
    let mut body = example();
    body["taskId"] = json!(id);
    body
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with(100, |_| {})
    }

    pub(crate) fn with(queue_entries: u64, change: impl FnOnce(&mut ServerOptions)) -> Self {
        let store = Arc::new(FaultyStore::new(queue_entries));
        Self::node("laptop", store, Arc::new(mosaic_testkit::fakes::fleet::FakeFleet::new()), change)
    }

    /// One node of several on one store.
    pub(crate) fn node(
        name: &str,
        store: Arc<FaultyStore>,
        fleet: Arc<dyn Fleet>,
        change: impl FnOnce(&mut ServerOptions),
    ) -> Self {
        let host = Arc::new(StubHost { free: AtomicU64::new(1 << 40), no_git: AtomicBool::new(false) });
        let repositories = Arc::new(ReadableRepositories::default());
        let transcripts = Arc::new(MemoryTranscripts::default());
        let audit = Arc::new(FakeAudit::default());
        let orders = Arc::new(MemoryOrders::default());
        let runtimes: BTreeMap<String, Arc<dyn Runtime>> =
            [("demo", Arc::new(Unused) as Arc<dyn Runtime>), ("command", Arc::new(UnusedWithoutCost))]
                .map(|(name, runtime)| (name.to_owned(), runtime))
                .into();
        let ports = Ports {
            store: store.clone(),
            external_queue: Arc::new(mosaic_core::ports::external_queue::NoExternalQueue),
            clock: Arc::new(HastyClock),
            chance: Arc::new(RealIds),
            trees: repositories.clone(),
            intake: repositories.clone(),
            commits: repositories.clone(),
            publisher: repositories.clone(),
            kept_work: repositories.clone(),
            sandbox: Arc::new(Unused),
            processes: Arc::new(Unused),
            runtimes,
            gatekeeper: Arc::new(Unused),
            scanner: Arc::new(OneSecret),
            transcripts: transcripts.clone(),
            host: host.clone(),
            audit: audit.clone(),
            orders: orders.clone(),
            fleet,
        };
        let (node, runtime) = (name.parse().expect("it is a word"), "demo".parse().expect("it is a word"));
        let settings = Settings { kill_grace: Duration::from_millis(500), ..Settings::of(node, 2, runtime) };
        let orchestrator = Orchestrator::new(ports, settings);
        let mut options = ServerOptions {
            port: 3001,
            auth: Auth::token(TOKEN),
            allowed_hosts: vec!["mosaic.example".to_owned()],
            version: "1.2.3",
            started_at: orchestrator.now(),
            public_url: None,
            peer_key: None,
        };
        change(&mut options);
        let router = router(orchestrator.clone(), options);
        Self { router, orchestrator, store, host, repositories, transcripts, audit, orders }
    }

    /// Sends a request as it is.
    pub(crate) async fn send(&self, request: Request<Body>) -> HttpAnswer {
        let work = async {
            let response = self.router.clone().oneshot(request).await.expect("a router does not fail");
            let (parts, body) = response.into_parts();
            let mut bytes = Vec::new();
            let mut chunks = body.into_data_stream();
            while let Some(chunk) = chunks.next().await {
                bytes.extend_from_slice(&chunk.expect("the body can be read"));
            }
            HttpAnswer { status: parts.status.as_u16(), headers: parts.headers, body: bytes }
        };
        tokio::time::timeout(DEADLINE, work).await.expect("the answer came in time")
    }

    pub(crate) async fn get(&self, path: &str) -> HttpAnswer {
        self.send(ask("GET", path).body(Body::empty()).expect("the request is whole")).await
    }

    pub(crate) async fn get_as(&self, path: &str, accept: &str) -> HttpAnswer {
        self.send(
            ask("GET", path).header("accept", accept).body(Body::empty()).expect("the request is whole"),
        )
        .await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> HttpAnswer {
        let request = ask("POST", path).header("content-type", "application/json");
        self.send(request.body(Body::from(body.to_string())).expect("the request is whole")).await
    }

    pub(crate) async fn order(&self, method: &str, path: &str) -> HttpAnswer {
        self.send(ask(method, path).body(Body::empty()).expect("the request is whole")).await
    }

    /// Spawns an agent of this task; returns its id.
    pub(crate) async fn spawned(&self, id: &str) -> AgentId {
        let answer = self.post("/agents/spawn", &task(id)).await;
        assert_eq!(answer.status, 201, "{}", answer.text());
        answer.json()["agentId"].as_str().expect("there is an id").parse().expect("it is one")
    }

    /// Takes the next waiting agent as a slot would; nobody drives it.
    pub(crate) async fn leased(&self) -> (Lease, Agent) {
        let node = self.orchestrator.settings().node.clone();
        let now = self.orchestrator.now();
        let taken = self.store.lease(&node, now).await.expect("the store is up");
        let (lease, record) = taken.expect("something waits");
        (lease, record.agent)
    }

    /// Takes the next waiting agent and lets its tree be made indefinitely: nobody drives it, so no order is confirmed.
    pub(crate) async fn held(&self) {
        let (lease, agent) = self.leased().await;
        self.write(&lease, agent, State::Checkout { turn: Turn::First }).await;
    }

    /// Writes a leased agent's new state.
    pub(crate) async fn write(&self, lease: &Lease, mut agent: Agent, state: State) -> Agent {
        agent.state = state;
        let (agent_id, task) = (Some(agent.id), Some(agent.spec.task_id.clone()));
        let kind = format!("agent.{}", agent.status().as_str());
        let (at, data) = (self.orchestrator.now(), json!({"name": &agent.name}));
        let fact = mosaic_core::domain::journal::LogRecord::stored(kind, agent_id, task, at, data);
        let change = Change { safety: Safety::Process, agent: agent.clone(), facts: vec![fact] };
        self.store.advance(lease, change).await.expect("the lease holds");
        agent
    }
}

/// Starts a request with Host and token.
pub(crate) fn ask(method: &str, path: &str) -> axum::http::request::Builder {
    Request::builder()
        .method(method)
        .uri(path)
        .header("host", "localhost:3001")
        .header("authorization", format!("Bearer {TOKEN}"))
}

/// Answer of the server to one request.
pub(crate) struct HttpAnswer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl HttpAnswer {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {}", self.text()))
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("the header is text"))
    }

    /// Checks that it is a problem of this status and code, whole and with nothing that should not be there.
    #[track_caller]
    pub(crate) fn is(&self, status: u16, code: &str) -> &Self {
        assert_eq!(self.status, status, "{}", self.text());
        assert_eq!(self.header("content-type"), "application/problem+json");
        let body = self.json();
        assert_eq!(body["code"], code, "{body}");
        assert_eq!((&body["status"], &body["statusCode"]), (&json!(status), &json!(status)));
        assert_eq!(body["detail"], body["message"]);
        assert_eq!(body["retryable"].as_bool(), Some(self.headers.contains_key("retry-after")), "{body}");
        assert!(body["type"].as_str().is_some_and(|t| t.ends_with(&format!("/problems/{code}"))), "{body}");
        assert!(
            body["instance"].as_str().is_some_and(|i| i.ends_with(self.header("x-request-id"))),
            "{body}"
        );
        for part in ["title", "detail"] {
            assert!(body[part].as_str().is_some_and(|t| !t.is_empty()), "{part} is missing in {body}");
        }
        self
    }
}
