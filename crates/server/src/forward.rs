//! Requests about what lies on one node only (transcript, diff, logs, trees, processes) are answered by that node, and
//! reach it through whichever node was asked. Between nodes it is plain HTTP with the fleet's own key, for a network
//! that nobody else is on. The other end proves first that it knows that key and is the node that is meant: whoever only
//! has its address by now is sent nothing.

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{FromRequestParts, RawPathParams, Request, State};
use axum::http::header::{AUTHORIZATION, CONNECTION, CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use axum::http::{HeaderMap, HeaderName, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use mosaic_api::Code;
use mosaic_core::domain::access::{node_proof, token_digest};
use mosaic_core::domain::ids::{AgentId, NodeId, Timestamp};
use mosaic_core::limits;
use mosaic_core::ports::fleet::NodeState;
use mosaic_core::ports::store::StoreError;
use serde_json::Value;
use thiserror::Error;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::body;
use crate::caller::{Caller, USER};
use crate::context::Context;
use crate::options::PeerKey;
use crate::problem::Problem;
use crate::shell::RequestId;

/// Names the node that passed a request on; such a request is answered where it arrives.
pub(crate) const FORWARDED: HeaderName = HeaderName::from_static("x-mosaic-forwarded");

/// Headers of the caller that the other node must know, too.
const PASSED_ON: [&str; 7] =
    ["accept", "content-type", "last-event-id", "if-none-match", "idempotency-key", "range", "if-range"];

/// Longest answer to a challenge, in bytes.
const HELLO_BYTES: usize = 16 * 1024;

/// Passes a request on to the node where the agent's files lie, unless that is this one.
pub(crate) async fn to_home(State(context): State<Context>, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    let named = RawPathParams::from_request_parts(&mut parts, &context).await.ok();
    let agent = named.and_then(|names| {
        names.iter().find(|(name, _)| *name == "id").and_then(|(_, value)| agent_in(value))
    });
    let request = Request::from_parts(parts, body);
    // Passed on once at most: two nodes that disagree about the home of an agent would send its request to and fro.
    let Some(agent) = agent.filter(|_| !request.headers().contains_key(FORWARDED)) else {
        return next.run(request).await;
    };
    match home(&context, agent).await {
        Ok(None) => next.run(request).await,
        Ok(Some(node)) => pass_on(&context, &node, request).await.unwrap_or_else(Problem::into_response),
        Err(problem) => problem.into_response(),
    }
}

/// Returns the agent that a path names: by its id, or by the name of a decision about it, which begins with that.
fn agent_in(value: &str) -> Option<AgentId> {
    value.split('.').next().and_then(|id| id.parse().ok())
}

/// Tells whether another node passed the request on; then it is answered where it arrived.
pub(crate) fn was_passed_on(headers: &HeaderMap) -> bool {
    headers.contains_key(FORWARDED)
}

/// Passes a request on to the node of this name.
pub(crate) async fn to_node(context: &Context, node: &NodeId, request: Request) -> Result<Response, Problem> {
    let nodes = context.orchestrator.ports().fleet.nodes().await?;
    match nodes.into_iter().find(|state| state.info.node == *node) {
        Some(state) => pass_on(context, &state, request).await,
        None => Err(away(node, "it is not one of the nodes any more", None)),
    }
}

/// Returns the other node where the agent's files lie; nothing when they lie here, or it is not known where.
async fn home(context: &Context, agent: AgentId) -> Result<Option<NodeState>, Problem> {
    let o = &context.orchestrator;
    // The handler reads the record as well, and answers for the error that it finds.
    let Ok(record) = o.ports().store.glance(agent).await else { return Ok(None) };
    let Some(home) = record.home.filter(|home| *home != o.settings().node) else { return Ok(None) };
    // The only node there ever was may have another name by now.
    let nodes = o.ports().fleet.nodes().await?;
    Ok(nodes.into_iter().find(|state| state.info.node == home))
}

/// Sends the request to another node and returns its answer, as it comes.
async fn pass_on(context: &Context, node: &NodeState, request: Request) -> Result<Response, Problem> {
    let name = &node.info.node;
    let key =
        context.options.peer_key.as_ref().ok_or_else(|| unreachable(node, "this node has no key for it"))?;
    let address = node.info.url.as_deref().and_then(address);
    let address =
        address.ok_or_else(|| unreachable(node, "it says no http address under which it is reached"))?;
    let mut asked = Request::builder().method(request.method().clone());
    asked = asked.uri(request.uri().path_and_query().map_or("/", |whole| whole.as_str()));
    // The token of the caller stays here. This node has checked it, and the other one trusts the key of the fleet.
    asked = asked.header(HOST, address).header(AUTHORIZATION, key.bearer());
    asked = asked.header(FORWARDED, context.orchestrator.settings().node.as_str());
    for header in PASSED_ON {
        for value in request.headers().get_all(header) {
            asked = asked.header(header, value);
        }
    }
    if let Some(RequestId(id)) = request.extensions().get::<RequestId>() {
        asked = asked.header("x-request-id", id);
    }
    if let Some(user) = request.extensions().get::<Caller>().and_then(Caller::name) {
        asked = asked.header(USER, user);
    }
    let (_, bytes) = body::read(request, context).await?;
    let asked = asked.body(Body::from(bytes)).map_err(|_| Problem::internal())?;
    let fault = |e: PeerError| unreachable(node, &e.to_string());
    let challenge = Challenge::new(key, name);
    let sent = timeout(limits::PEER_ANSWER, send(address, &challenge, asked)).await;
    let (answer, connection) = sent.map_err(|_| fault(PeerError::Silent))?.map_err(fault)?;
    tracing::debug!(node = %name, status = answer.status().as_u16(), "request passed on");
    let answer = relayed(answer, connection);
    if answer.status().as_u16() == Code::StoreUnavailable.status() {
        cut_off(node, answer).await
    } else {
        Ok(answer)
    }
}

/// Looks whether a node that cannot answer is cut off from the store: then it is as good as away, and named.
async fn cut_off(node: &NodeState, answer: Response) -> Result<Response, Problem> {
    let (parts, body) = answer.into_parts();
    let bytes = to_bytes(body, limits::BODY_BYTES).await;
    let bytes = bytes.map_err(|_| unreachable(node, "its answer was broken off"))?;
    let said: Value = serde_json::from_slice(&bytes).unwrap_or_default();
    match said["code"].as_str() == Some(Code::StoreUnavailable.as_str()) {
        true => Err(unreachable(node, "it answers, but is cut off from the store")),
        false => Ok(Response::from_parts(parts, Body::from(bytes))),
    }
}

/// Takes `host:port` out of a node's address.
pub(crate) fn address(url: &str) -> Option<&str> {
    url.strip_prefix("http://").map(|rest| rest.trim_end_matches('/')).filter(|rest| !rest.contains('/'))
}

/// The task that moves a connection's bytes; it ends with whoever holds this.
pub(crate) type Connection = JoinSet<Result<(), hyper::Error>>;

/// Reasons why another node was not asked, or gave no answer that can be used.
#[derive(Debug, Error)]
pub(crate) enum PeerError {
    #[error("it does not answer")]
    Silent,
    #[error(
        "what answers at its address does not prove that it is this node of the fleet; it was sent nothing"
    )]
    Impostor,
    #[error("this node has no key for it")]
    NoKey,
    #[error("the fleet has no such node any more")]
    Unknown,
    #[error("it says no http address under which it is reached")]
    NoAddress,
    #[error("it answers {0}")]
    Status(StatusCode),
    #[error("its build does not count what its archive has")]
    Uncounted,
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Connect(#[from] std::io::Error),
    #[error(transparent)]
    Http(#[from] hyper::Error),
    #[error(transparent)]
    Request(#[from] axum::http::Error),
    #[error(transparent)]
    Body(#[from] axum::Error),
    #[error(transparent)]
    Json(#[from] serde_json::Error),
}

/// Challenge that the other end must answer before it is sent the key.
pub(crate) struct Challenge<'a> {
    key: &'a PeerKey,
    node: &'a NodeId,
    nonce: String,
}

/// Makes a nonce that never occurred before.
fn nonce() -> String {
    let half = || uuid::Uuid::new_v4().simple().to_string();
    half() + &half()
}

/// The part of the answer that counts; `hello.rs` has the other end.
#[derive(serde::Deserialize)]
struct Hello {
    proofs: Vec<String>,
}

impl<'a> Challenge<'a> {
    /// Makes a challenge to a node that must know this key.
    pub(crate) fn new(key: &'a PeerKey, node: &'a NodeId) -> Self {
        Self { key, node, nonce: nonce() }
    }

    /// Asks for the proof on this connection.
    async fn ask(&self, address: &str, sender: &mut http1::SendRequest<Body>) -> Result<(), PeerError> {
        let uri = format!("/v1/hello?nonce={}&node={}", self.nonce, self.node);
        let question = Request::builder().uri(uri).header(HOST, address).body(Body::empty());
        let answer = sender.send_request(question?).await?;
        let bytes = axum::body::to_bytes(Body::new(answer.into_body()), HELLO_BYTES).await?;
        let proofs = serde_json::from_slice(&bytes).map_or(Vec::new(), |hello: Hello| hello.proofs);
        let expected = node_proof(&token_digest(self.key.secret()), &self.nonce, self.node.as_str());
        // Only a program that knows the key can make the expected value, so timing tells nothing new.
        if proofs.contains(&expected) {
            return Ok(());
        }
        Err(PeerError::Impostor)
    }
}

/// Sends a request once the other end has proved what the challenge asks.
pub(crate) async fn send(
    address: &str,
    challenge: &Challenge<'_>,
    request: Request,
) -> Result<(hyper::Response<Incoming>, Connection), PeerError> {
    let target = if address.contains(':') { address.to_owned() } else { format!("{address}:80") };
    let stream = timeout(limits::PEER_CONNECT, TcpStream::connect(target)).await;
    let stream = stream.map_err(|_| PeerError::Silent)??;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let mut moving = JoinSet::new();
    moving.spawn(connection);
    challenge.ask(address, &mut sender).await?;
    // The same connection: nobody else can have the other end by now.
    sender.ready().await?;
    let answer = sender.send_request(request).await?;
    Ok((answer, moving))
}

/// Hands the other node's answer on. A body of which nothing comes for [`limits::PEER_STALL`] is broken off: live
/// streams have a heartbeat.
fn relayed(answer: hyper::Response<Incoming>, connection: Connection) -> Response {
    let (mut parts, body) = answer.into_parts();
    // These headers describe the connection between the two nodes. hyper writes those of the connection to the caller.
    for hop in [CONNECTION, TRANSFER_ENCODING, CONTENT_LENGTH] {
        parts.headers.remove(hop);
    }
    let chunks = Body::new(body).into_data_stream();
    let chunks = futures_util::stream::unfold((chunks, connection), |(mut chunks, connection)| async move {
        let chunk: Result<Bytes, axum::Error> = match timeout(limits::PEER_STALL, chunks.next()).await {
            Ok(chunk) => chunk?,
            Err(late) => Err(axum::Error::new(late)),
        };
        Some((chunk, (chunks, connection)))
    });
    Response::from_parts(parts, Body::from_stream(chunks))
}

fn unreachable(node: &NodeState, why: &str) -> Problem {
    away(&node.info.node, why, Some(node.seen_at))
}

/// Says that what is asked for lies on a node that cannot be reached.
fn away(node: &NodeId, why: &str, seen_at: Option<Timestamp>) -> Problem {
    let seen = seen_at.map_or(String::new(), |at| format!(" (last heartbeat at {at})"));
    let text = format!("what is asked for lies on node {node}, which cannot be reached: {why}{seen}");
    Problem::new(Code::NodeUnreachable, text)
        .hint(format!(
            "mosaic nodes shows which nodes are alive; what lies on {node} is there again once it is"
        ))
        .with("node", node.as_str())
        .with("lastSeenAt", seen_at.map(Timestamp::to_rfc3339))
}

/// Returns the node that passed the request on, as that says.
pub(crate) fn passed_on_by(headers: &HeaderMap) -> Option<NodeId> {
    headers.get(FORWARDED)?.to_str().ok()?.parse().ok()
}
