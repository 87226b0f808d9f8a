//! Secret scanners of fakes: one that finds nothing, and one that knows a single secret.

use mosaic_core::ports::scanner::{Secret, SecretScanner};

use super::world::Part;

impl SecretScanner for Part {
    fn scan(&self, _: Option<&str>, _: &str) -> Vec<Secret> {
        Vec::new()
    }
}

/// The only secret that [`OneSecret`] knows.
pub const SECRET: &str = "open-sesame-1001";

/// A scanner that knows [`SECRET`] and nothing else.
pub struct OneSecret;

impl SecretScanner for OneSecret {
    fn scan(&self, _: Option<&str>, text: &str) -> Vec<Secret> {
        let told = |(at, _)| Secret {
            rule: "sesame".to_owned(),
            line: 1,
            masked: "open…".to_owned(),
            span: (at, at + SECRET.len()),
            pieces: Vec::new(),
            known: false,
        };
        text.match_indices(SECRET).map(told).collect()
    }
}
