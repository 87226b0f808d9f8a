//! Settings of the HTTP service: the accepted tokens, host names, and the key that the nodes of a fleet share.

use axum::http::HeaderValue;
use mosaic_core::domain::access::{TokenDigest, token_digest};
use mosaic_core::domain::ids::Timestamp;

/// Settings of the HTTP service.
#[derive(Debug, Clone)]
pub struct ServerOptions {
    /// The accepted tokens.
    pub auth: Auth,
    /// Host names under which the server may be called, besides IP literals, `localhost` and `*.localhost`.
    pub allowed_hosts: Vec<String>,
    /// The port that the server listens on, for its proof towards clients.
    pub port: u16,
    /// The program's version, for `/health`.
    pub version: &'static str,
    /// When the server was started.
    pub started_at: Timestamp,
    /// The address under which clients see the server, such as `https://mosaic.example`, without a slash at the
    /// end; a page from there counts as the same origin.
    pub public_url: Option<String>,
    /// The key that the fleet's nodes show each other; none where there is one node.
    pub peer_key: Option<PeerKey>,
}

/// The tokens that the server accepts.
#[derive(Clone)]
pub enum Auth {
    /// Tokens with one of these SHA-256 digests.
    Tokens(Vec<TokenDigest>),
    /// None is asked for: every client that reaches the port may call. For loopback only.
    Off,
}

impl Auth {
    /// Accepts this one token; keeps its digest only.
    pub fn token(secret: &str) -> Self {
        Self::Tokens(vec![token_digest(secret.as_bytes())])
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

/// The key that nodes of one fleet show each other.
#[derive(Clone)]
pub struct PeerKey(String);

impl PeerKey {
    /// Takes the fleet's secret; see [`mosaic_core::ports::fleet::Fleet::peer_secret`].
    pub fn new(secret: String) -> Self {
        Self(secret)
    }

    pub(crate) fn secret(&self) -> &[u8] {
        self.0.as_bytes()
    }

    pub(crate) fn bearer(&self) -> HeaderValue {
        let mut value = HeaderValue::from_str(&format!("Bearer {}", self.0))
            .unwrap_or_else(|_| HeaderValue::from_static("Bearer -"));
        value.set_sensitive(true);
        value
    }
}

impl std::fmt::Debug for PeerKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PeerKey(…)")
    }
}
