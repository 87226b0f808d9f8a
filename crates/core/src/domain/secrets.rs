//! Secrets that were found, without the secrets: digests that tell one value from another, the fingerprint by which a finding
//! is allowed, and the file in which a repository allows its own.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::ids::CommitId;

/// File of a repository that lists the findings it allows, one fingerprint a line with a reason after it. It counts as it
/// stands in the base commit; an agent's own version of it does not.
pub const ALLOWED_FILE: &str = ".mosaic/allowed-secrets";
/// Rounds of SHA-256 behind a fingerprint: it is shown, and a weak password must not be guessed from it by the million.
const ROUNDS: usize = 2_000;

/// A value under a rule, as a digest. Never shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ValueDigest([u8; 32]);

impl ValueDigest {
    /// Computes the digest of a value that a rule found.
    pub fn of(rule: &str, value: &str) -> Self {
        Self(chain(&["mosaic secret value 1", rule, value]).finalize().into())
    }

    /// Computes the digest of a value whichever rule found it and whatever its layout: blanks, line breaks, quotes and the
    /// backslashes of string literals are no part of it, so that a key is the same in a file of its own and in JSON.
    pub fn of_content(value: &str) -> Self {
        Self(chain(&["mosaic secret content 1", &content(value)]).finalize().into())
    }
}

/// Returns a value without its layout.
fn content(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    let mut rest = value.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            // A line break that is written out; any other backslash protects the character after it.
            '\\' => {
                rest.next_if(|next| matches!(next, 'n' | 'r' | 't'));
            }
            c if c.is_whitespace() || matches!(c, '"' | '\'' | '`') => {}
            c => out.push(c),
        }
    }
    out
}

/// Names a finding: rule, path and value together. Thirty-two hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Fingerprint(String);

impl Fingerprint {
    /// Computes the fingerprint of a value that a rule found in a file, or in a message (`None`).
    pub fn of(rule: &str, path: Option<&str>, value: &str) -> Self {
        let place = path.map_or("message".to_owned(), |path| format!("file {path}"));
        let mut hash = chain(&["mosaic secret 1", rule, &place, value]).finalize();
        for _ in 0..ROUNDS {
            hash = Sha256::digest(hash);
        }
        Self(base16ct::lower::encode_string(&hash[..16]))
    }

    /// Reads a fingerprint; `None` when the text is none.
    pub fn parse(text: &str) -> Option<Self> {
        let lower = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        (text.len() == 32 && text.bytes().all(lower)).then(|| Self(text.to_owned()))
    }

    /// Returns the digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Feeds parts to a digest so that no two lists of parts look the same.
fn chain(parts: &[&str]) -> Sha256 {
    parts.iter().fold(Sha256::new(), |hash, part| {
        hash.chain_update((part.len() as u64).to_le_bytes()).chain_update(part.as_bytes())
    })
}

/// Description of a secret besides its place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SecretFinding {
    /// The rule that found it.
    pub rule: String,
    /// The commit that adds it.
    pub commit: CommitId,
    /// By this it can be allowed.
    pub fingerprint: Fingerprint,
    /// It is a value that the server itself keeps secret: no repository can allow it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub own: bool,
}

/// An operator's word that a finding is no secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AllowedSecret {
    /// The finding.
    pub fingerprint: Fingerprint,
    /// Why.
    pub reason: String,
}

/// Reads the file of allowed findings: the first word of a line is a fingerprint, the rest says why; `#` begins a comment.
pub fn allowed_in(file: &[u8]) -> BTreeSet<Fingerprint> {
    let text = String::from_utf8_lossy(file);
    text.lines().filter_map(|line| Fingerprint::parse(line.split_whitespace().next()?)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_depends_on_rule_path_and_value() {
        let one = Fingerprint::of("jwt", Some("a/b"), "value");
        assert_eq!((one.as_str().len(), Fingerprint::parse(one.as_str())), (32, Some(one.clone())));
        for other in [
            Fingerprint::of("jws", Some("a/b"), "value"),
            Fingerprint::of("jwt", Some("a"), "value"),
            Fingerprint::of("jwt", None, "value"),
            Fingerprint::of("jwt", Some("a/b"), "values"),
            Fingerprint::of("jwt", Some("a/bv"), "alue"),
        ] {
            assert_ne!(one, other);
        }
        assert!(ValueDigest::of("a", "bc") != ValueDigest::of("ab", "c"));
        let lines = ValueDigest::of_content("-----BEGIN-----\nMII+/=\nx\n");
        for same in [
            "-----BEGIN-----\r\nMII+/=\r\nx",
            "  -----BEGIN-----\n    MII+/=\n    x",
            r"-----BEGIN-----\nMII+\/=\nx",
            "\"-----BEGIN-----MII+/=x\"",
        ] {
            assert_eq!(ValueDigest::of_content(same), lines, "{same:?}");
        }
        assert_ne!(ValueDigest::of_content("-----BEGIN-----\nMII+/=\ny\n"), lines);
    }

    #[test]
    fn a_file_of_allowed_findings_is_read_line_by_line() {
        let one = Fingerprint::of("jwt", Some("a"), "x");
        let file = format!(
            "# why these\n\n  {}  fixture of the tests\nno-fingerprint x\n{}x\n",
            one.as_str(),
            one.as_str()
        );
        assert_eq!(allowed_in(file.as_bytes()), BTreeSet::from([one]));
        assert!(allowed_in(b"\xff\xfe").is_empty());
    }
}
