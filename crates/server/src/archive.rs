//! Whole records from the archives of other nodes, asked for and answered over the same way that requests are passed on
//! by ([`crate::forward`]). Only nodes of the fleet are answered: records go out as they are.

use std::collections::BTreeMap;
use std::fmt::Display;
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
use mosaic_api::{ArchiveRequest, ArchivedRecords, Code};
use mosaic_core::domain::ids::{AgentId, NodeId, Timestamp};
use mosaic_core::limits;
use mosaic_core::ports::archive::ArchivePeers;
use mosaic_core::ports::fleet::Fleet;
use mosaic_core::ports::store::{ArchiveError, Versioned};
use tokio::sync::OnceCell;
use tokio::time::timeout;

use crate::body::Json;
use crate::caller::Caller;
use crate::context::Context;
use crate::forward::{self, PeerError};
use crate::options::PeerKey;
use crate::problem::Problem;

/// Where the records are asked for.
const PATH: &str = "/v1/archive/read";

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
    let is_no_list = |e: &dyn Display| Problem::field("/agents", format!("must be a list of agent ids: {e}"));
    let asked: ArchiveRequest = serde_json::from_value(body).map_err(|e| is_no_list(&e))?;
    let agents = asked.agents.iter().map(|id| id.parse()).collect::<Result<Vec<AgentId>, _>>();
    let agents = agents.map_err(|e| is_no_list(&e))?;
    if agents.len() > limits::STORE_PAGE {
        return Err(Problem::field("/agents", format!("names more than {} agents", limits::STORE_PAGE)));
    }
    let store = &context.orchestrator.ports().store;
    let records = store.archived(&agents).await?;
    let records = records.iter().map(serde_json::to_value).collect::<Result<_, _>>();
    let records = records.map_err(|_| Problem::internal())?;
    let ended_before = match asked.ended_before {
        Some(before) => Some(store.archived_before(Timestamp(before)).await?),
        None => None,
    };
    Ok(Answer(ArchivedRecords { records, ended_before }).into_response())
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

    async fn key(&self) -> Result<&PeerKey, PeerError> {
        let read = async || self.fleet.peer_secret().await?.map(PeerKey::new).ok_or(PeerError::NoKey);
        self.key.get_or_try_init(read).await
    }

    async fn ask(&self, node: &NodeId, asked: &ArchiveRequest) -> Result<ArchivedRecords, PeerError> {
        let nodes = self.fleet.nodes().await?;
        let state = nodes.into_iter().find(|state| state.info.node == *node).ok_or(PeerError::Unknown)?;
        let address = state.info.url.as_deref().and_then(forward::address).ok_or(PeerError::NoAddress)?;
        let key = self.key().await?;
        let request = Request::builder()
            .method(Method::POST)
            .uri(PATH)
            .header(HOST, address)
            .header(AUTHORIZATION, key.bearer())
            .header(forward::FORWARDED, self.node.as_str())
            .header(CONTENT_TYPE, "application/json")
            .body(Body::from(serde_json::to_vec(asked)?))?;
        let (answer, _connection) =
            forward::send(address, &forward::Challenge::new(key, node), request).await?;
        if !answer.status().is_success() {
            return Err(PeerError::Status(answer.status()));
        }
        let bytes = to_bytes(Body::new(answer.into_body()), limits::ARCHIVE_BYTES).await?;
        Ok(serde_json::from_slice(&bytes)?)
    }

    /// Asks a node with a deadline.
    async fn ask_in_time(&self, node: &NodeId, asked: &ArchiveRequest) -> Result<ArchivedRecords, PeerError> {
        timeout(limits::ARCHIVE_ANSWER, self.ask(node, asked)).await.map_err(|_| PeerError::Silent)?
    }
}

#[async_trait]
impl ArchivePeers for HttpArchives {
    async fn read(&self, node: &NodeId, agents: &[AgentId]) -> Result<Vec<Versioned>, ArchiveError> {
        let mut found = Vec::with_capacity(agents.len());
        for part in agents.chunks(limits::HTTP_PAGE) {
            let agents = part.iter().map(AgentId::to_string).collect();
            let asked = ArchiveRequest { agents, ended_before: None };
            let records = self.ask_in_time(node, &asked).await.map_err(ArchiveError::peer)?.records;
            let records = records.into_iter().map(serde_json::from_value::<Versioned>);
            found.extend(records.collect::<Result<Vec<_>, _>>().map_err(ArchiveError::peer)?);
        }
        Ok(found)
    }

    async fn ended_before(&self, before: Timestamp) -> BTreeMap<NodeId, Result<u64, ArchiveError>> {
        let nodes = match self.fleet.nodes().await {
            Ok(nodes) => nodes,
            Err(e) => return BTreeMap::from([(self.node.clone(), Err(e.into()))]),
        };
        // One that has left says nothing, and that is no fault of a removal here.
        let others = nodes.into_iter().filter(|node| node.alive || !node.info.draining);
        let others = others.map(|node| node.info.node).filter(|node| *node != self.node);
        let asked = ArchiveRequest { agents: Vec::new(), ended_before: Some(before.0) };
        let count = async |node: NodeId| {
            let answer = self.ask_in_time(&node, &asked).await;
            let count = answer.and_then(|found| found.ended_before.ok_or(PeerError::Uncounted));
            (node, count.map_err(ArchiveError::peer))
        };
        join_all(others.map(count)).await.into_iter().collect()
    }
}
