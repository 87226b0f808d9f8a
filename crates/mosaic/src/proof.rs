//! The challenge to a server, which proves that it knows the token before it is sent one. A program that took the port of
//! a server that is gone fails; so does one that asks the real server on another port, because the proof names the port.

use mosaic_api::Hello;
use mosaic_core::domain::access::{claimed, server_proof, token_digest};

use crate::problem::Problem;

/// A question with the answer that proves the token.
pub(crate) struct Challenge<'a> {
    token: &'a str,
    nonce: String,
}

impl<'a> Challenge<'a> {
    /// Makes a challenge with a nonce that never occurred before.
    pub(crate) fn new(token: &'a str) -> Result<Self, Problem> {
        let mut nonce = [0u8; 32];
        getrandom::fill(&mut nonce)
            .map_err(|e| Problem::Other(anyhow::anyhow!("the system gives no random bytes: {e}")))?;
        let nonce = base16ct::lower::encode_string(&nonce);
        Ok(Self { token, nonce })
    }

    /// Returns path and query of the question. An agent's token says whose it is, which is no secret.
    pub(crate) fn target(&self) -> String {
        let agent = claimed(self.token.as_bytes()).map_or(String::new(), |agent| format!("&agent={agent}"));
        format!("/v1/hello?nonce={}{agent}", self.nonce)
    }

    /// Tells whether an answer proves the token. `port` is the one that the proof must name, where that is known.
    pub(crate) fn is_met(&self, answer: &[u8], port: Option<u16>) -> bool {
        let Ok(hello) = serde_json::from_slice::<Hello>(answer) else { return false };
        let expected = server_proof(&token_digest(self.token.as_bytes()), &self.nonce, hello.port);
        // Only a program that knows the token can make the expected value, so timing tells nothing new.
        port.is_none_or(|port| port == hello.port) && hello.proofs.contains(&expected)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_token_this_nonce_and_this_port_meet_a_challenge() {
        let challenge = Challenge::new("a-token-of-some-length").unwrap();
        let answer = |token: &str, nonce: &str, port: u16| {
            let proof = server_proof(&token_digest(token.as_bytes()), nonce, port);
            serde_json::json!({"auth": "token", "port": port, "proofs": ["00", proof]}).to_string()
        };
        let nonce = challenge.nonce.clone();
        let good = answer("a-token-of-some-length", &nonce, 3001);
        assert!(challenge.is_met(good.as_bytes(), Some(3001)) && challenge.is_met(good.as_bytes(), None));
        assert!(!challenge.is_met(good.as_bytes(), Some(3002)), "another port: a program that passed it on");
        let said = good.replace(":3001", ":3002");
        assert!(!challenge.is_met(said.as_bytes(), Some(3002)), "a port that is only said");
        for bad in [
            answer("another-token-of-a-length", &nonce, 3001),
            answer("a-token-of-some-length", &"0".repeat(64), 3001),
            "{\"auth\":\"off\"}".to_owned(),
            "{\"items\":[],\"nextCursor\":null}".to_owned(),
            String::new(),
        ] {
            assert!(!challenge.is_met(bad.as_bytes(), None), "{bad}");
        }
        assert_ne!(Challenge::new("x").unwrap().nonce, nonce);
    }

    #[test]
    fn an_agents_token_names_its_agent() {
        let token = format!("mosaic_agent_{}_{}", "7d0c6c1e4a524d0e9a550d7c9f2f3f9a", "0".repeat(64));
        let target = Challenge::new(&token).unwrap().target();
        assert!(target.ends_with("&agent=7d0c6c1e-4a52-4d0e-9a55-0d7c9f2f3f9a"), "{target}");
        assert!(!target.contains(&"0".repeat(64)));
    }
}
