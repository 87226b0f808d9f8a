//! The secret scan, as a pure question about text.

use std::ops::Range;

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
    /// Where its parts stand, when something is between them that must stay; empty when it is in one piece.
    #[serde(default)]
    pub pieces: Vec<(usize, usize)>,
    /// It is a value that the server itself keeps secret, and not one that only looks like a secret.
    #[serde(default)]
    pub known: bool,
}

impl Secret {
    /// Returns what is hidden, in order of place, each with what is shown instead.
    pub fn marks(&self) -> Vec<(Range<usize>, &str)> {
        match self.pieces.split_first() {
            None => vec![(self.span.0..self.span.1, self.masked.as_str())],
            Some((first, rest)) => std::iter::once((first.0..first.1, self.masked.as_str()))
                .chain(rest.iter().map(|part| (part.0..part.1, "…")))
                .collect(),
        }
    }
}

/// Returns a text with what was found in it replaced by its masked form. One copy of the text, however much was found.
pub fn replace(text: &str, found: Vec<Secret>) -> String {
    let mut marks: Vec<(Range<usize>, &str)> = found.iter().flat_map(Secret::marks).collect();
    marks.sort_by_key(|(span, _)| span.start);
    let (mut out, mut copied) = (String::with_capacity(text.len()), 0);
    for (span, masked) in marks {
        if span.start >= copied && span.end <= text.len() {
            out.push_str(&text[copied..span.start]);
            out.push_str(masked);
        }
        copied = copied.max(span.end.min(text.len()));
    }
    out.push_str(&text[copied..]);
    out
}

/// Finds secrets in text.
pub trait SecretScanner: Send + Sync {
    /// Finds secrets. `path` helps rules that look at file names. Time is linear in the text.
    fn scan(&self, path: Option<&str>, text: &str) -> Vec<Secret>;

    /// Returns the text with every secret that the scan finds replaced by its masked form.
    fn mask(&self, text: &str) -> String {
        replace(text, self.scan(None, text))
    }
}
