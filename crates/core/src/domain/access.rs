//! The token an agent has for itself: derived from a secret of the server and the agent's id, so that nothing needs
//! to be kept per agent and nobody can make one without the secret. Also the proof by which a server shows that it
//! knows a token, so that a client sends the token to no other program.

use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};

use super::ids::AgentId;

/// Prefix of every agent's token; the secret scan looks for it.
const START: &str = "mosaic_agent_";

/// The secret that agents' tokens are derived from. Never shown.
#[derive(Clone)]
pub struct AgentSecret([u8; 32]);

impl AgentSecret {
    /// Wraps the secret.
    pub fn new(secret: [u8; 32]) -> Self {
        Self(secret)
    }

    /// Returns the secret itself, for what looks that it does not leave the server.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// Returns the token of an agent: `mosaic_agent_`, its id, and the id's HMAC.
    pub fn token(&self, agent: AgentId) -> String {
        let id = agent.to_string().replace('-', "");
        let mac = hmac(&self.0, format!("mosaic agent token 1 {id}").as_bytes());
        format!("{START}{id}_{}", base16ct::lower::encode_string(&mac))
    }

    /// Returns a keyed digest of a text, in hexadecimal digits: equal texts are recognised, and nothing else can be
    /// learnt from it.
    pub fn digest(&self, text: &str) -> String {
        base16ct::lower::encode_string(&hmac(&self.0, format!("mosaic digest 1 {text}").as_bytes()))
    }
}

impl std::fmt::Debug for AgentSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[set]")
    }
}

/// Returns whose token this claims to be. It proves nothing until it is compared with [`AgentSecret::token`].
pub fn claimed(token: &[u8]) -> Option<AgentId> {
    let rest = std::str::from_utf8(token).ok()?.strip_prefix(START)?;
    let (id, mac) = rest.split_once('_')?;
    let lower = |text: &str| text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    if id.len() != 32 || mac.len() != 64 || !lower(id) || !lower(mac) {
        return None;
    }
    let dashed = [&id[..8], &id[8..12], &id[12..16], &id[16..20], &id[20..]].join("-");
    dashed.parse().ok()
}

/// Derives the API token that all nodes of a fleet take from the key that they show each other. Whoever can read the store
/// has that key and can make it; the key cannot be learnt from the token.
pub fn fleet_token(peer_secret: &str) -> String {
    let key: [u8; 32] = Sha256::digest(peer_secret.as_bytes()).into();
    base16ct::lower::encode_string(&hmac(&key, b"mosaic fleet token 1"))
}

/// SHA-256 of a token: all that a server keeps of it, and the key of [`server_proof`].
pub type TokenDigest = [u8; 32];

/// Computes the digest of a token.
pub fn token_digest(token: &[u8]) -> TokenDigest {
    Sha256::digest(token).into()
}

/// Computes the answer of a server that knows the token to a client's nonce, in hexadecimal digits. It names the port that
/// the server listens on, so that a program on another port cannot pass on the answer of the real server.
pub fn server_proof(token: &TokenDigest, nonce: &str, port: u16) -> String {
    base16ct::lower::encode_string(&hmac(token, format!("mosaic server proof 1 {port} {nonce}").as_bytes()))
}

/// Computes the answer of a node that knows the fleet's key to another node's nonce, in hexadecimal digits. It names the node, so
/// that a program at a node's address cannot pass on what another one answers.
pub fn node_proof(key: &TokenDigest, nonce: &str, node: &str) -> String {
    base16ct::lower::encode_string(&hmac(key, format!("mosaic node proof 1 {node} {nonce}").as_bytes()))
}

/// Computes HMAC-SHA-256 (RFC 2104).
fn hmac(key: &[u8], text: &[u8]) -> [u8; 32] {
    let mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes a key of any length");
    mac.chain_update(text).finalize().into_bytes().into()
}

/// Access to the API that agents are given to see themselves.
#[derive(Debug, Clone)]
pub struct AgentAccess {
    /// Where the API answers.
    pub url: String,
    /// The secret from which their tokens are derived.
    pub secret: AgentSecret,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mac_is_that_of_rfc_4231() {
        let cases: [(&[u8], &[u8], &str); 2] = [
            (&[0x0b; 20], b"Hi There", "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"),
            (
                b"Jefe",
                b"what do ya want for nothing?",
                "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
            ),
        ];
        for (key, text, expected) in cases {
            assert_eq!(base16ct::lower::encode_string(&hmac(key, text)), expected);
        }
    }

    #[test]
    fn the_token_of_a_fleet_follows_from_its_key_and_does_not_tell_it() {
        let token = fleet_token("a key");
        assert_eq!((token.len(), token == fleet_token("a key")), (64, true));
        assert!(token != fleet_token("another key") && !token.contains("a key"));
    }

    #[test]
    fn a_proof_depends_on_token_nonce_and_port() {
        let token = token_digest(b"a token");
        let proof = server_proof(&token, "nonce", 3001);
        assert_eq!((proof.len(), &proof), (64, &server_proof(&token, "nonce", 3001)));
        for other in [
            server_proof(&token_digest(b"another"), "nonce", 3001),
            server_proof(&token, "nonce2", 3001),
            server_proof(&token, "nonce", 3002),
        ] {
            assert_ne!(proof, other);
        }
    }

    #[test]
    fn a_token_names_its_agent_and_depends_on_secret_and_agent() {
        let id = |n: u8| format!("7d0c6c1e-4a52-4d0e-9a55-0d7c9f2f3f{n:02x}").parse::<AgentId>().unwrap();
        let secret = AgentSecret::new([7; 32]);
        let token = secret.token(id(1));
        assert_eq!(claimed(token.as_bytes()), Some(id(1)));
        assert_eq!(token, AgentSecret::new([7; 32]).token(id(1)));
        assert_ne!(token, secret.token(id(2)));
        assert_ne!(token, AgentSecret::new([8; 32]).token(id(1)));
        for bad in [
            "",
            "mosaic_agent_",
            &token[1..],
            &token[..token.len() - 1],
            &token.to_uppercase(),
            &format!("{token} "),
        ] {
            assert_eq!(claimed(bad.as_bytes()), None, "{bad}");
        }
        assert_eq!(format!("{secret:?}"), "[set]");
    }
}
