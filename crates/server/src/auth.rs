//! Who may call. A bearer token is compared by digest in constant time; a route is closed unless the route table
//! says otherwise, and so is everything that is no route at all.

use axum::extract::{Request, State};
use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::problem::Problem;
use crate::router::Context;

/// Who may call the server.
#[derive(Clone)]
pub enum Auth {
    /// Whoever has a token with one of these SHA-256 digests.
    Tokens(Vec<[u8; 32]>),
    /// Everybody who reaches the port. For loopback only.
    Off,
}

impl Auth {
    /// Accepts this one token; keeps its digest only.
    pub fn token(secret: &str) -> Self {
        Self::Tokens(vec![digest(secret.as_bytes())])
    }
}

impl std::fmt::Debug for Auth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tokens(tokens) => write!(f, "Tokens({} digests)", tokens.len()),
            Self::Off => f.write_str("Off"),
        }
    }
}

/// What a caller needs for a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Nothing.
    Public,
    /// A token.
    Admin,
}

fn digest(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// Lets a request through if it carries a valid token, or none is needed on this server.
pub(crate) fn authorize(auth: &Auth, headers: &HeaderMap) -> Result<(), Problem> {
    let Auth::Tokens(tokens) = auth else { return Ok(()) };
    let mut sent = headers.get_all(AUTHORIZATION).iter();
    let (first, second) = (sent.next(), sent.next());
    let token = first.and_then(|value| {
        let (scheme, token) = value.as_bytes().split_at_checked(7)?;
        scheme.eq_ignore_ascii_case(b"bearer ").then_some(token)
    });
    let (Some(token), None) = (token, second) else { return Err(Problem::unauthenticated(first.is_some())) };
    let sent = digest(token);
    // Every digest is compared, so that the time does not tell which one was near.
    let fits = tokens.iter().fold(subtle::Choice::from(0), |fits, known| fits | known.ct_eq(&sent));
    if bool::from(fits) { Ok(()) } else { Err(Problem::unauthenticated(true)) }
}

/// The door in front of every route of the table.
pub(crate) async fn guard(
    State((context, scope)): State<(Context, Scope)>,
    request: Request,
    next: Next,
) -> Response {
    if scope == Scope::Admin
        && let Err(problem) = authorize(&context.options.auth, request.headers())
    {
        return problem.into_response();
    }
    next.run(request).await
}
