//! The secret scan, as a pure question about text.

use serde::{Deserialize, Serialize};

/// A secret that was found. It carries no part of the secret that could be used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Secret {
    /// The rule's id, such as `aws-access-key-id`.
    pub rule: String,
    /// The line within the text, from 1.
    pub line: u64,
    /// The secret, masked: at most its first four characters and an ellipsis.
    pub masked: String,
    /// Where it stands in the text, in bytes.
    pub span: (usize, usize),
}

/// Finds secrets in text.
pub trait SecretScanner: Send + Sync {
    /// Finds secrets. `path` helps rules that look at file names. Time is linear in the text.
    fn scan(&self, path: Option<&str>, text: &str) -> Vec<Secret>;

    /// Returns the text with every secret that the scan finds replaced by its masked form.
    fn mask(&self, text: &str) -> String {
        let mut found = self.scan(None, text);
        found.sort_by_key(|s| std::cmp::Reverse(s.span.0));
        let mut out = text.to_owned();
        let mut limit = out.len();
        for secret in found {
            if secret.span.1 <= limit && secret.span.0 < secret.span.1 {
                out.replace_range(secret.span.0..secret.span.1, &secret.masked);
                limit = secret.span.0;
            }
        }
        out
    }
}
