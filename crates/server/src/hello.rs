//! Proof towards clients: the server shows that it knows a token before a client sends it. A program that holds the
//! port of a server that is gone cannot.

use axum::Json as Answer;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use mosaic_api::Hello;
use mosaic_core::domain::access::{node_proof, server_proof, token_digest};
use mosaic_core::domain::ids::{AgentId, NodeId};

use crate::context::Context;
use crate::options::Auth;
use crate::params::Params;
use crate::problem::Problem;

/// Shortest and longest nonce, in characters: 128 bits in hexadecimal digits at least.
const NONCE: std::ops::RangeInclusive<usize> = 32..=128;

/// `GET /v1/hello`.
pub(crate) async fn show(State(context): State<Context>, params: Params) -> Result<Response, Problem> {
    let mut reader = params.reader(&["nonce", "agent", "node"]);
    let nonce = reader.text("nonce").unwrap_or_default();
    if !NONCE.contains(&nonce.len()) || !nonce.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        reader.fault("nonce", "invalid", "a nonce is 32 to 128 hexadecimal digits");
    }
    let agent: Option<AgentId> = reader.parsed("agent", str::parse);
    let node: Option<NodeId> = reader.parsed("node", str::parse);
    reader.finish()?;
    let port = context.options.port;
    if let Some(node) = node {
        // Under its own name only. A node whose address is listed for another one by now would prove to be that one
        // otherwise.
        let key = context.options.peer_key.as_ref().filter(|_| node == context.orchestrator.settings().node);
        let proofs = key.map(|key| node_proof(&token_digest(key.secret()), nonce, node.as_str()));
        return Ok(Answer(Hello { auth: "node".to_owned(), port, proofs: proofs.into_iter().collect() })
            .into_response());
    }
    let (auth, tokens) = match (&context.options.auth, agent) {
        (Auth::Tokens(tokens), None) => ("token", tokens.clone()),
        (Auth::Off, None) => ("off", Vec::new()),
        (_, Some(agent)) => {
            let token = context.orchestrator.agent_token(agent);
            ("token", token.iter().map(|token| token_digest(token.as_bytes())).collect())
        }
    };
    let proofs = tokens.iter().map(|token| server_proof(token, nonce, port)).collect();
    Ok(Answer(Hello { auth: auth.to_owned(), port, proofs }).into_response())
}
