//! Whole records from the archives of other nodes, asked for and answered over the same way that requests are passed on
//! by ([`crate::forward`]). Only nodes of the fleet are answered: records go out as they are.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use axum::Extension;
use axum::Json as Answer;
use axum::body::{Body, to_bytes};
use axum::extract::State;
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use axum::http::{Method, Request};
use axum::response::{IntoResponse, Response};
use futures_util::future::join_all;
use mosaic_api::Code;
use mosaic_core::domain::ids::{AgentId, NodeId, Timestamp};
use mosaic_core::limits;
use mosaic_core::ports::archive::ArchivePeers;
use mosaic_core::ports::fleet::Fleet;
use mosaic_core::ports::store::Versioned;
use serde::{Deserialize, Serialize};
use tokio::sync::OnceCell;
use tokio::time::timeout;

use crate::body::Json;
use crate::caller::Caller;
use crate::context::Context;
use crate::forward;
use crate::options::PeerKey;
use crate::problem::Problem;

/// Where the records are asked for.
const PATH: &str = "/v1/archive/read";

/// The agents whose records are asked for.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Asked {
    agents: Vec<AgentId>,
    /// Asks for the number of records of agents that ended before this time, too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ended_before: Option<Timestamp>,
}

/// Those that the archive has.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Found {
    records: Vec<Versioned>,
    /// The number that was asked for; none from a build that does not count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ended_before: Option<u64>,
}

/// `POST /v1/archive/read`, for other nodes.
pub(crate) async fn read(
    State(context): State<Context>,
    Extension(caller): Extension<Caller>,
    Json(body): Json,
) -> Result<Response, Problem> {
    if !matches!(caller, Caller::Peer(..)) {
        let problem = Problem::new(Code::Forbidden, "archives are read by the nodes of the fleet");
        return Err(problem.hint("GET /v1/agents lists what is archived, too, on any node"));
    }
    let asked: Asked = serde_json::from_value(body)
        .map_err(|e| Problem::field("/agents", format!("must be a list of agent ids: {e}")))?;
    if asked.agents.len() > limits::STORE_PAGE {
        return Err(Problem::field("/agents", format!("names more than {} agents", limits::STORE_PAGE)));
    }
    let store = &context.orchestrator.ports().store;
    let records = store.archived(&asked.agents).await?;
    let ended_before = match asked.ended_before {
        Some(before) => Some(store.archived_before(before).await?),
        None => None,
    };
    Ok(Answer(Found { records, ended_before }).into_response())
}

/// The archives of the other nodes, over HTTP.
pub struct HttpArchives {
    fleet: Arc<dyn Fleet>,
    node: NodeId,
    key: OnceCell<PeerKey>,
}

impl HttpArchives {
    /// Makes the way to them, for this node.
    pub fn new(fleet: Arc<dyn Fleet>, node: NodeId) -> Self {
        Self { fleet, node, key: OnceCell::new() }
    }

    async fn key(&self) -> Result<&PeerKey, String> {
        let read = async || {
            let secret = self.fleet.peer_secret().await.map_err(|e| e.to_string())?;
            secret.map(PeerKey::new).ok_or_else(|| "this node has no key for it".to_owned())
        };
        self.key.get_or_try_init(read).await
    }

    async fn ask(&self, node: &NodeId, asked: &Asked) -> Result<Found, String> {
        let nodes = self.fleet.nodes().await.map_err(|e| e.to_string())?;
        let state = nodes.into_iter().find(|state| state.info.node == *node);
        let state = state.ok_or_else(|| "the fleet has no such node any more".to_owned())?;
        let address = state.info.url.as_deref().and_then(forward::address);
        let address =
            address.ok_or_else(|| "it says no http address under which it is reached".to_owned())?;
        let asked = serde_json::to_vec(asked).map_err(|e| e.to_string())?;
        let key = self.key().await?;
        let request = Request::builder()
            .method(Method::POST)
            .uri(PATH)
            .header(HOST, address)
            .header(AUTHORIZATION, key.bearer())
            .header(forward::FORWARDED, self.node.as_str())
            .header(CONTENT_TYPE, "application/json")
            .body(Body::from(asked))
            .map_err(|e| e.to_string())?;
        let (answer, _connection) =
            forward::send(address, &forward::Challenge::new(key, node), request).await?;
        if !answer.status().is_success() {
            return Err(format!("it answers {}", answer.status()));
        }
        let bytes = to_bytes(Body::new(answer.into_body()), limits::ARCHIVE_BYTES).await;
        serde_json::from_slice(&bytes.map_err(|e| e.to_string())?).map_err(|e| e.to_string())
    }

    /// Asks a node with a deadline.
    async fn ask_in_time(&self, node: &NodeId, asked: &Asked) -> Result<Found, String> {
        let answer = timeout(limits::ARCHIVE_ANSWER, self.ask(node, asked)).await;
        answer.map_err(|_| "it does not answer".to_owned())?
    }
}

#[async_trait]
impl ArchivePeers for HttpArchives {
    async fn read(&self, node: &NodeId, agents: &[AgentId]) -> Result<Vec<Versioned>, String> {
        let mut found = Vec::with_capacity(agents.len());
        for part in agents.chunks(limits::HTTP_PAGE) {
            let asked = Asked { agents: part.to_vec(), ended_before: None };
            found.extend(self.ask_in_time(node, &asked).await?.records);
        }
        Ok(found)
    }

    async fn ended_before(&self, before: Timestamp) -> BTreeMap<NodeId, Result<u64, String>> {
        let nodes = match self.fleet.nodes().await {
            Ok(nodes) => nodes,
            Err(e) => return BTreeMap::from([(self.node.clone(), Err(e.to_string()))]),
        };
        let others = nodes.into_iter().map(|node| node.info.node).filter(|node| *node != self.node);
        let asked = Asked { agents: Vec::new(), ended_before: Some(before) };
        let count = async |node: NodeId| {
            let answer = self.ask_in_time(&node, &asked).await;
            let unsaid = || "its build does not count what its archive has".to_owned();
            let count = answer.and_then(|found| found.ended_before.ok_or_else(unsaid));
            (node, count)
        };
        join_all(others.map(count)).await.into_iter().collect()
    }
}
