//! Authentication of callers. A bearer token is compared by digest in constant time; a route is closed unless the route
//! table says otherwise, and so is everything that is no route at all. An agent has a token of its own, with which it
//! sees itself and can stop, start and change nothing.

use axum::extract::{FromRequestParts, RawPathParams, Request, State};
use axum::http::header::{AUTHORIZATION, CONNECTION};
use axum::http::{HeaderMap, HeaderValue};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use mosaic_api::Code;
use mosaic_core::Orchestrator;
use mosaic_core::domain::access::{claimed, token_digest};
use mosaic_core::domain::ids::AgentId;
use mosaic_core::ports::store::StoreError;
use subtle::ConstantTimeEq;

use crate::caller::{Caller, user};
use crate::connection_pool::{Holder, Visit};
use crate::context::Context;
use crate::forward::passed_on_by;
use crate::options::Auth;
use crate::problem::Problem;
use crate::reserved_connections::{Lanes, ReservedConnection};

/// Access that a caller needs for a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Nothing.
    Public,
    /// The operator's token, or that of the agent whose id stands in the path.
    Own,
    /// The operator's token.
    Admin,
}

/// Returns the one bearer token that was sent.
fn bearer(headers: &HeaderMap) -> Result<&[u8], Problem> {
    let mut sent = headers.get_all(AUTHORIZATION).iter();
    let (first, second) = (sent.next(), sent.next());
    let token = first.and_then(|value| {
        let (scheme, token) = value.as_bytes().split_at_checked(7)?;
        scheme.eq_ignore_ascii_case(b"bearer ").then_some(token)
    });
    match (token, second) {
        (Some(token), None) => Ok(token),
        _ => Err(Problem::unauthenticated(first.is_some())),
    }
}

/// Finds out who calls. With authentication off only a token of an agent changes anything: it stays an agent's.
pub(crate) async fn identify(context: &Context, headers: &HeaderMap) -> Result<Caller, Problem> {
    let token = bearer(headers);
    if let Ok(token) = token
        && let Some(agent) = agent(&context.orchestrator, token).await?
    {
        return Ok(Caller::Agent(agent));
    }
    if let (Ok(token), Some(key), Some(node)) = (&token, &context.options.peer_key, passed_on_by(headers))
        && bool::from(token_digest(key.secret()).ct_eq(&token_digest(token)))
    {
        return Ok(Caller::Peer(node, user(headers)));
    }
    let Auth::Tokens(tokens) = &context.options.auth else { return Ok(Caller::Anyone(user(headers))) };
    let sent = token_digest(token?);
    // Every digest is compared, so that the time does not tell which one was near.
    let fits = tokens.iter().fold(subtle::Choice::from(0), |fits, known| fits | known.ct_eq(&sent));
    if bool::from(fits) { Ok(Caller::Operator(user(headers))) } else { Err(Problem::unauthenticated(true)) }
}

/// Returns the agent whose token this is, unless it has ended.
async fn agent(orchestrator: &Orchestrator, token: &[u8]) -> Result<Option<AgentId>, Problem> {
    let Some(id) = claimed(token) else { return Ok(None) };
    let Some(own) = orchestrator.agent_token(id) else { return Ok(None) };
    if !bool::from(token_digest(own.as_bytes()).ct_eq(&token_digest(token))) {
        return Ok(None);
    }
    match orchestrator.glance(id).await {
        Ok(record) => Ok((!record.agent.is_terminal()).then_some(id)),
        // The id in a token is a claim of its caller, so an unknown one makes a wrong token and not a page that is
        // missing.
        Err(StoreError::NotFound(_)) => Ok(None),
        Err(e) => Err(e.into()),
    }
}

/// Lets only those pass who may call everything.
pub(crate) async fn authorize(context: &Context, headers: &HeaderMap) -> Result<Caller, Problem> {
    match identify(context, headers).await? {
        Caller::Agent(_) => Err(forbidden()),
        caller => Ok(caller),
    }
}

fn forbidden() -> Problem {
    Problem::new(Code::Forbidden, "an agent's token shows the agent itself and nothing else")
        .hint("end your own work instead, or ask the operator")
}

/// Says whose share of the server's connections a request takes.
fn holder(caller: &Caller, visit: &Visit) -> Holder {
    match caller {
        Caller::Agent(id) => Holder::Agent(*id),
        Caller::Operator(_) => Holder::Operator,
        Caller::Peer(node, _) => Holder::Node(node.clone()),
        Caller::Anyone(_) => Holder::Address(visit.peer()),
    }
}

/// Refuses a request of a caller who has as many under way as one caller may have; the connection is closed.
fn too_many() -> Response {
    let text = "this caller has as many requests under way as one caller may have";
    let refused =
        Problem::new(Code::Busy, text).hint("end streams that are not read, or try again in a moment");
    let mut response = refused.into_response();
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

/// The door in front of every route of the table.
pub(crate) async fn guard(
    State((context, scope, lanes)): State<(Context, Scope, Lanes)>,
    request: Request,
    next: Next,
) -> Response {
    if scope == Scope::Public {
        return next.run(request).await;
    }
    let (mut parts, body) = request.into_parts();
    let caller = match identify(&context, &parts.headers).await {
        Ok(caller) => caller,
        Err(problem) => return problem.into_response(),
    };
    if let Caller::Agent(id) = caller {
        let asked = RawPathParams::from_request_parts(&mut parts, &context).await.ok();
        let asked = asked.and_then(|names| {
            names.iter().find(|(name, _)| *name == "id").and_then(|(_, value)| value.parse().ok())
        });
        if scope != Scope::Own || asked != Some(id) {
            return forbidden().into_response();
        }
    }
    // Only after the caller is known: a request of a stranger must not keep a connection that is reserved for orders to
    // stop.
    if let Some(reservation) = parts.extensions.get::<ReservedConnection>() {
        reservation.settle();
    }
    // Orders to stop count against no share. A caller that has used up its own must still be able to stop agents.
    if let Some(visit) = parts.extensions.get::<Visit>()
        && lanes != Lanes::All
        && !visit.charge(holder(&caller, visit))
    {
        return too_many();
    }
    parts.extensions.insert(caller);
    next.run(Request::from_parts(parts, body)).await
}
